"""The empty element that holds a page's connection.

An empty element whose attributes never change in place, with an id that is new in each render:
changing it in place leaks connections in htmx 2 and in htmx 4.
"""

import secrets
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import quote

from markupsafe import Markup

from .app_channels import AppChannels
from .broker import Broker
from .config import Config
from .errors import ConfigError
from .position import Position
from .signer import KEPT, UNSIGNED, Signer, write_topics

#: Bytes of a list of topics that stand in the URL as they are; longer ones are compressed.
LONG = 2048
#: Bytes of a query that are left for all but the token.
MARGIN = 256

_HTMX_2 = Markup(
    '<div id="sse-{id}" hx-ext="sse" sse-connect="{url}" sse-swap="message"'
    ' sse-close="sse-stop" hx-swap="none" hidden></div>'
)
# htmx 4 never retries a failed first connect by itself, so triggers do: an answer that is no
# stream, and none at all. Nothing that comes again by itself, for that would undo a stop.
_HTMX_4 = Markup(
    '<div id="sse-{id}" hx-sse:connect="{url}" hx-sse:close="sse-stop" hx-swap="none"'
    ' hx-trigger="load, htmx:after:request delay:10s, htmx:error delay:10s" hx-sync="this:drop"'
    " hidden></div>"
)


class ConnectElement(NamedTuple):
    """A connect element that only lacks the position that it starts at."""

    id: str
    template: Markup
    url: str
    is_signed: bool  #: no shared cache may keep a page that holds it

    def element(self, since: Position | None) -> Markup:
        """Return the element.

        Args:
            since: What the page contains; None if that is not known.
        """
        text = "0" if since is None else quote(str(since), safe="~")
        return self.template.format(id=self.id, url=f"{self.url}&since={text}")


class ConnectElements:
    """Makes the connect elements of one app.

    Args:
        channels: The app's channels.
        signer: Signs topics.
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

    def key(self, topics: Mapping[str, Iterable[str]], identity: str | None) -> str:
        """Return what is the same for pages that ask for the same.

        A browser's tabs share one token of all elements that have the same. It stands in URLs, so
        it must not give the identity away: an unkeyed hash of a number is found in a second.

        Args:
            topics: Topic -> the fragments that the page shows.
            identity: The identity that the token is bound to; None for any.
        """
        return self._signer.name(f"{write_topics(topics)} {identity}")

    async def make(
        self,
        topics: Mapping[str, Iterable[str]],
        *,
        root: str,
        identity: str | None,
        key: str | None = None,
        first: float | None = None,
    ) -> ConnectElement:
        """Return the element that opens one connection for topics and their fragments.

        Args:
            topics: Topic -> the fragments that the page shows.
            root: The app's root path.
            identity: Who the page was made for.
            key: That of the element which this one replaces, as :meth:`key` gave it.
            first: When the page was made whose element this one replaces; None if this is its
                first.

        Raises:
            ConfigError: If there are more topics than one connection may have.
            BrokerUnavailable: If the list of topics must be kept at the broker, and it is away.
            MissingSecretKeyError: If topics must be signed and the app has no secret key.
        """
        config, signer = self._config, self._signer
        if len(topics) > config.max_topics:
            raise ConfigError(
                "QUART_SSE_MAX_TOPICS",
                config.max_topics,
                f"at least {len(topics)}, which is what this page shows; or show fewer topics",
            )
        page = secrets.token_urlsafe(9)
        shown = {topic: frozenset(names) for topic, names in topics.items()}
        text = write_topics(shown)
        is_signed = self._channels.is_private(shown) or (len(text) > LONG and signer.has_key)
        token = signer.sign(text, identity, page, first) if is_signed else UNSIGNED + text
        if len(token) > config.max_query - MARGIN:
            kept = KEPT + await self._broker.keep_text(text, config.token_lifetime)
            token = signer.sign(kept, identity, page, first) if is_signed else UNSIGNED + kept
        template = _HTMX_4 if config.htmx == 4 else _HTMX_2
        key = key or self.key(shown, identity if is_signed else None)
        url = f"{root}{config.url_prefix}?t={quote(token, safe='~')}&k={key}"
        return ConnectElement(page, template, url, is_signed)
