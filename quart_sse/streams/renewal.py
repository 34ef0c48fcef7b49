"""Renewal: new tokens for pages whose streams stay open, up to a maximum lifetime."""

import asyncio
import math
from collections.abc import Callable

from ..access import Admission, ConnectElement, ConnectElements, Grant, Signer, Token
from ..config import Config
from ..hub import Connection
from ..wire import Position, encode_renewal, member_key

#: Age at which a token is renewed, as a part of its lifetime.
RENEW = 0.8


class Renewal:
    """Renews the tokens of pages whose streams stay open.

    Args:
        elements: Makes connect elements with new tokens.
        signer: Tells the age of tokens.
        config: The app's settings.
    """

    def __init__(self, elements: ConnectElements, signer: Signer, config: Config) -> None:
        self._elements = elements
        self._signer = signer
        self._config = config

    def renew_in_time(
        self,
        connection: Connection,
        admission: Admission,
        tokens: list[Token | None],
        root: str,
    ) -> None:
        """Schedule the renewal of a stream's tokens at 80 % of the oldest one's lifetime.

        Housekeeping calls ``connection.renew`` at ``connection.renew_at``, and the stream then
        replaces the connect element of each page. A stream without a signed token needs no renewal.

        Args:
            connection: The stream's connection, whose ``renew_at`` and ``renew`` are set.
            admission: What was granted, and by which tokens.
            tokens: The tokens of the URL in their order; None for each that did not verify.
            root: Root path of the stream's pages.
        """
        signed, refused = [], set(admission.refused_fragments)
        for number, token in enumerate(tokens):
            granted = admission.granted_to(number)
            is_good = bool(granted) or number in admission.empty_tokens
            if token is not None and token.is_signed and is_good:
                signed.append((number, token, granted))
        if not signed:
            return

        async def renew_one(token: Token, granted: list[str]) -> ConnectElement:
            # Tabs find their stream by the key, so it stays the same although a topic may have been
            # refused since.
            identity = connection.identity if token.is_bound else None
            # The new token must not name a refused outer fragment: its signature would be younger,
            # and could grant what the old one no longer does.
            topics = {
                topic: [
                    name for name in token.topics[topic] if member_key(topic, name) not in refused
                ]
                for topic in granted
            }
            key = self._elements.key(token.topics, identity)
            return await self._elements.make(
                topics,
                root=root,
                identity=identity,
                address=connection.remote_address or "",
                key=key,
                first=token.first,
            )

        async def renew() -> Callable[[Position], bytes]:
            made = [
                (number, token.page, granted, await renew_one(token, granted))
                for number, token, granted in signed
            ]

            def write(since: Position) -> bytes:
                messages = []
                for number, page, granted, element in made:
                    mask = connection.pages[number].listing(sorted(granted)).mask
                    own = since._replace(granted=mask)
                    new = (str(element.element(own)), element.key, element.token, str(own))
                    messages.append(encode_renewal(page, *new, number))
                return b"".join(messages)

            return write

        oldest = max(self._signer.age(token) for _, token, _ in signed)
        left = RENEW * self._config.token_lifetime - oldest
        connection.renew_at = asyncio.get_running_loop().time() + max(left, 0.0)
        connection.renew = renew

    def end_of_signatures(self, admission: Admission, tokens: list[Token | None]) -> float:
        """Return the time at which the first of a stream's signatures can no longer be renewed.

        Only tokens count whose signature alone grants a topic; public topics and topics with an
        ``authorize`` do not expire.

        Returns:
            Seconds on the event loop's clock; infinity if the stream needs no signature.
        """
        ends = [
            self._signer.left(token)
            for number, token in enumerate(tokens)
            if token is not None
            and (
                # That of a user holds as long as the user is signed in.
                (number in admission.empty_tokens and not token.is_bound)
                or any(
                    admission.grants[topic] is Grant.SIGNED
                    for topic in admission.granted_to(number)
                )
            )
        ]
        return asyncio.get_running_loop().time() + min(ends, default=math.inf)
