"""Tokens of pages that stay open: others in time, and the end of all renewals."""

import asyncio
import math
from collections.abc import Callable

from .access import Admission, Grant
from .config import Config
from .connection import Connection
from .event import encode_replacement
from .leaf import ConnectElement, ConnectElements
from .naming import member_key
from .position import Position
from .signer import Signer, Token

#: The part of a token's lifetime after which its page gets another.
RENEW = 0.8


class Renewal:
    """Renews the tokens of pages whose streams stay open.

    Args:
        elements: Makes connect elements with new tokens.
        signer: Knows how old tokens are.
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
        """Let the pages of a stream get new tokens at 80 % of the old ones' life."""
        signed, refused = [], set(admission.refused_fragments)
        for number, token in enumerate(tokens):
            granted = admission.granted_to(number)
            if token is not None and token.is_signed and granted:
                signed.append((token, granted))
        if not signed:
            return

        async def renew_one(token: Token, granted: list[str]) -> ConnectElement:
            # Tabs know what is theirs by its key, so it stays even if a topic has been refused
            # since.
            identity = connection.identity if token.is_bound else None
            # A fragment that was refused for what it contains would else be named by a token that
            # is younger than the one which is too old for it.
            topics = {
                topic: [
                    name for name in token.topics[topic] if member_key(topic, name) not in refused
                ]
                for topic in granted
            }
            key = self._elements.key(token.topics, identity)
            return await self._elements.make(
                topics, root=root, identity=identity, key=key, first=token.first
            )

        async def renew() -> Callable[[Position], bytes]:
            made = [(token.page, await renew_one(token, granted)) for token, granted in signed]
            return lambda since: b"".join(
                encode_replacement(f"sse-{page}", str(element.element(since)))
                for page, element in made
            )

        oldest = max(self._signer.age(token) for token, _ in signed)
        left = RENEW * self._config.token_lifetime - oldest
        connection.renew_at = asyncio.get_running_loop().time() + max(left, 0.0)
        connection.renew = renew

    def end_of_signatures(self, admission: Admission, tokens: list[Token | None]) -> float:
        """Return the loop time until which no signature of a stream is renewed further."""
        ends = [
            self._signer.left(token)
            for number, token in enumerate(tokens)
            if token is not None
            and any(
                admission.grants[topic] is Grant.SIGNED for topic in admission.granted_to(number)
            )
        ]
        return asyncio.get_running_loop().time() + min(ends, default=math.inf)
