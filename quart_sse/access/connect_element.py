"""The connect element: the empty element of a page that opens its connection.

Its attributes never change in place, and each render gives it a new id, because htmx 2 and htmx 4
leak connections when a connect element changes where it stands.
"""

import logging
import secrets
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import quote

from markupsafe import Markup

from ..broker import Broker, Claim, Shelf, reference_of
from ..channels import AppChannels
from ..config import Config
from ..error_log import OnceLog
from ..errors import BrokerUnavailable, ConfigError
from ..hub import counted_as
from ..logs import LogLine
from ..wire import Position
from .tokens import KEPT, Signer, write_topics

LIST_UNKEPT = LogLine(
    "access",
    "list-unkept",
    logging.DEBUG,
    "The broker is away, and the topics of a page do not fit into its URL; its stream is refused "
    "until the page is loaded again: %(why)s",
    why=str,
)
LISTS_FULL = LogLine(
    "access",
    "lists-full",
    logging.WARNING,
    "The broker keeps no more lists of topics for %(of)s: they have %(mebibytes)d MiB, and each "
    "%(owner)s %(share)d MiB. Further pages are not live until lists expire "
    "(QUART_SSE_TOKEN_LIFETIME). Show fewer topics on a page, or raise QUART_SSE_MAX_QUERY as far "
    "as servers and proxies take longer URLs%(note)s. This is logged once.",
    of=str,
    mebibytes=int,
    owner=str,
    share=int,
    note=str,
)

#: Length from which a list of public topics is signed, too, in characters: signing compresses it.
LONG = 2048
#: Room in the query for everything but the token, in bytes.
MARGIN = 256

_HTMX_2 = Markup(
    '<div id="sse-{id}" hx-ext="sse" sse-connect="{url}" sse-swap="message"'
    ' sse-close="sse-stop" hx-swap="none"{files} hidden></div>'
)
# htmx 4 does not retry a first connect that failed, so two triggers do: one after an answer that is
# no stream, one after a network error. A trigger that fires periodically would undo ``sse-stop``.
_HTMX_4 = Markup(
    '<div id="sse-{id}" hx-sse:connect="{url}" hx-sse:close="sse-stop" hx-swap="none"'
    ' hx-trigger="load, htmx:after:request delay:10s, htmx:error delay:10s" hx-sync="this:drop"'
    "{files} hidden></div>"
)


class ConnectElement(NamedTuple):
    """A connect element whose URL lacks only the position that the stream starts at.

    Attributes:
        id: Random id of the page, which is a part of the element's ``id``.
        template: The element's HTML with the fields ``id``, ``url`` and ``files``, for one version
            of htmx.
        url: URL of the stream without ``since``.
        key: Key by which the tabs of one browser share a stream, from :meth:`ConnectElements.key`.
        token: The token in the URL.
        is_signed: Whether the token is signed; no shared cache may keep such a page.
    """

    id: str
    template: Markup
    url: str
    key: str
    token: str
    is_signed: bool

    def url_from(self, since: Position | None) -> str:
        """Return the URL of the stream with the position that it starts at.

        Args:
            since: As for :meth:`element`.
        """
        text = "0" if since is None else quote(str(since), safe="~")
        return f"{self.url}&since={text}"

    def element(self, since: Position | None, files: str = "") -> Markup:
        """Return the element's HTML, with the position that the stream starts at.

        Args:
            since: Position of the page's content; None if it is unknown, so that the stream sends
                every fragment.
            files: Further script files for quart-sse.js, as ``Scripts.take_further`` writes them.
        """
        url = self.url_from(since)
        named = Markup(' data-sse-files="{}"').format(files) if files else ""
        return self.template.format(id=self.id, url=url, files=named)


class ConnectElements:
    """Makes the connect elements of one app.

    Args:
        channels: The app's channels, public and private.
        signer: Signs the lists of topics.
        broker: Keeps lists of topics that are too long for a URL.
        config: The app's settings.
    """

    def __init__(
        self, channels: AppChannels, signer: Signer, broker: Broker, config: Config
    ) -> None:
        self._channels = channels
        self._signer = signer
        self._broker = broker
        self._config = config
        self._once = OnceLog()

    @property
    def can_sign(self) -> bool:
        """Whether the app has a secret key, without which no page gets events of its user."""
        return self._signer.has_key

    def key(self, topics: Mapping[str, Iterable[str]], identity: str | None) -> str:
        """Return the key by which the tabs of one browser share a stream.

        Equal topics and identities give equal keys, and the connect elements of one key share one
        token. The key stands in URLs, so it must not reveal the identity: a guess finds the
        number behind an unkeyed hash in a second.

        Args:
            topics: Topic -> names of the fragments that the page shows.
            identity: The identity that the token is bound to; None if it is not bound.

        Returns:
            12 hexadecimal digits.
        """
        return self._signer.name(f"{write_topics(topics)} {identity}")

    def name_of(self, identity: str | None) -> str:
        """Return a name for a user that does not reveal the identity; "" for a visitor."""
        return "" if identity is None else self._signer.name(f"user {identity}")

    async def make(
        self,
        topics: Mapping[str, Iterable[str]],
        *,
        root: str,
        identity: str | None,
        address: str = "",
        key: str | None = None,
        first: float | None = None,
    ) -> ConnectElement:
        """Return the connect element of a page, for one connection to all its topics.

        The token is signed if a channel is private or the page has no topic. If the app has a
        secret key, it is also signed for a user who is signed in, whose events the page is sent,
        and if the list is long enough to be compressed. Any other only says that a page has
        written it, so that equal pages stay equal. A token that exceeds the URL's room even so
        becomes a reference to a list that the broker keeps. If the broker is away or has no room
        for the list, the page is served all the same, and its stream is refused (``sse-stop``).

        Args:
            topics: Topic -> names of the fragments that the page shows.
            root: The app's root path, ``""`` or such as ``"/app"``.
            identity: Identity of the user for whom the page was rendered; None for a visitor.
            address: IP address of the page's client; ``""`` if it is not known.
            key: Key of the replaced connect element, from :meth:`key`; None for a new page.
            first: Time at which the page's first token was signed, in seconds since 1970; None
                for a new page.

        Raises:
            ConfigError: If the page shows more than ``QUART_SSE_MAX_TOPICS`` topics, or in an app
                without a secret key more than ``QUART_SSE_MAX_UNSIGNED_TOPICS``.
            BrokerUnavailable: If the broker is away or has no room for the list of a renewed token;
                the page then keeps the old one.
            MissingSecretKeyError: If the token must be signed, and the app has no secret key.

        Example:
            ``await elements.make({"board": ["list"]}, root="", identity="7")``
        """
        config, signer = self._config, self._signer
        self._check(len(topics))
        page = secrets.token_urlsafe(9)
        shown = {topic: frozenset(names) for topic, names in topics.items()}
        text = write_topics(shown)
        is_signed = (
            not shown
            or self._channels.is_private(shown)
            or (signer.has_key and (identity is not None or len(text) > LONG))
        )
        token = signer.sign(text, identity, page, first) if is_signed else signer.vouch(text)
        if len(token) > config.max_query - MARGIN:
            claim = self._claim(shown, identity, address)
            if not await self._keep(text, claim) and first is not None:
                raise BrokerUnavailable("The broker does not keep the list of a renewed token.")
            kept = KEPT + reference_of(text)
            token = signer.sign(kept, identity, page, first) if is_signed else signer.vouch(kept)
        template = _HTMX_4 if config.htmx == 4 else _HTMX_2
        key = key or self.key(shown, identity if is_signed else None)
        url = f"{root}{config.url_prefix}?t={quote(token, safe='~')}&k={key}&n={len(topics)}"
        return ConnectElement(page, template, url, key, token, is_signed)

    def _check(self, number: int) -> None:
        """Check the number of a page's topics, of which nothing would say why it stays still.

        Raises:
            ConfigError: If there are too many.
        """
        config = self._config
        key, most, remedy = "QUART_SSE_MAX_TOPICS", config.max_topics, "show fewer topics"
        if not self._signer.has_key and config.max_unsigned_topics < most:
            key, most = "QUART_SSE_MAX_UNSIGNED_TOPICS", config.max_unsigned_topics
            remedy = "set app.secret_key"
        if number > most:
            raise ConfigError(
                key, most, f"at least {number}, the number of topics on this page; or {remedy}"
            )

    def _claim(self, shown: Iterable[str], identity: str | None, address: str) -> Claim:
        """Return for whom a list of topics is kept."""
        if identity is not None and self._signer.has_key:
            return Claim(Shelf.USERS, self._signer.name(f"identity {identity}"))
        shelf = Shelf.SIGNED if self._channels.is_private(shown) else Shelf.OPEN
        return Claim(shelf, self._signer.name(f"address {counted_as(address) or address}"))

    async def _keep(self, text: str, claim: Claim) -> bool:
        """Return whether the broker keeps a list; if not, the log says why."""
        try:
            if await self._broker.keep_text(text, self._config.token_lifetime, claim):
                return True
        except BrokerUnavailable as error:
            LIST_UNKEPT.log(why=str(error))
            return False
        shelf, is_user = claim.shelf, claim.shelf is Shelf.USERS
        self._once.warn(
            shelf.key,
            LISTS_FULL,
            of=shelf.of,
            mebibytes=shelf.most >> 20,
            owner="user" if is_user else "address",
            share=shelf.share >> 20,
            note="" if is_user else "; behind a proxy, let the app know its clients' addresses",
        )
        return False
