"""The services of one app that topics and other targets use."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..broker import Keep
from ..config import Config
from ..host import Host
from ..hub import Hub
from ..publisher import MessagePublisher
from ..serving_loop import ServingLoop
from ..soon import Soon
from .presence import PresenceTracker
from .refreshing import Refreshing


class Pushes(Protocol):
    """Checks and renders pushed HTML; :class:`quart_sse.pages.Renderer` implements it."""

    def check(self, topic: str, fragment: str, html: str, item: str = "") -> str:
        """Return the HTML if it may go to all viewers; raise FragmentError otherwise."""

    async def render_template(
        self,
        topic: str,
        fragment: str,
        template: str,
        context: Mapping[str, Any],
        item: str = "",
    ) -> str:
        """Render a template as a shared fragment: outside the current request."""


class Known(Protocol):
    """The channels of the app; :class:`~quart_sse.channels.AppChannels` implements it."""

    def keep(self, topic: str) -> Keep:
        """Return how much history a topic or an audience keeps."""

    def known_values(self, topic: str) -> dict[str, Any]:
        """Return the parameters of a topic that exists."""


@dataclass(frozen=True, slots=True)
class Binding:
    """The services of one app that its topics use."""

    host: Host
    config: Config
    publisher: MessagePublisher
    hub: Hub
    channels: Known
    presence: PresenceTracker
    refreshing: Refreshing
    pushes: Pushes
    serving: ServingLoop
    soon: Soon
    reload_file: str  #: the further script file that reloads pages, as pages name it
