"""What the extension holds for one app."""

import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from quart import Quart, current_app, has_app_context, has_request_context

from .broker import Broker, Keep
from .broker.control import Control
from .config import Config
from .connection import Connection
from .ending import Ending
from .error_log import ErrorLog
from .errors import SetupError
from .fragment import FragmentSpec
from .hub import Hub
from .limits import Limits
from .revocation import Revocations
from .signer import Signer

KEY = "quart_sse"


class ChannelLike(Protocol):
    """What the rooms below the channel must know of one."""

    @property
    def name(self) -> str:
        """The channel's name."""

    @property
    def public(self) -> bool:
        """Whether anybody may listen."""

    @property
    def authorizer(self) -> Callable[..., Any] | None:
        """Asked at every connect, with the topic's parameters."""

    @property
    def specs(self) -> Mapping[str, FragmentSpec]:
        """Fragment -> how it was declared."""

    def keep(self, config: Config) -> Keep:
        """How the history of its topics is kept."""

    def values(self, app: Quart, topic: str) -> dict[str, Any] | None:
        """The parameters of one of its topics; None if there can be no such topic."""

    def known_values(self, app: Quart, topic: str) -> dict[str, Any]:
        """The parameters of a topic that is known to be one."""

    def fragment_url(self, app: Quart, values: Mapping[str, Any], fragment: str) -> str:
        """The path of a fragment of one of its topics, without the app's root path."""


@dataclass(slots=True)
class State:
    """The extension's state of one app: ``app.extensions["quart_sse"]``."""

    app: Quart
    config: Config
    broker: Broker
    control: Control
    hub: Hub
    limits: Limits
    revocations: Revocations
    #: name -> channel; shared by all apps of one extension
    channels: Mapping[str, ChannelLike]
    signer: Signer
    #: Tells who the current user is; None if the app never said how.
    identify: Callable[[], Awaitable[str | None]]
    #: Sees to it that the regular work is done while a stream is open.
    wake_sweeper: Callable[[], None]
    #: seconds since 1970 at which this process began
    began: float = field(default_factory=time.time)
    #: whether it was said that another process serves the same pages without a shared broker
    has_warned: bool = False
    #: when it was said last that the process has as many streams as it may, by ``time.monotonic``
    said_full_at: float = float("-inf")
    is_started: bool = False
    is_closing: bool = False
    #: connections that have gone and still count as present, with the loop time until when
    departed: deque[tuple[float, Connection]] = field(default_factory=deque)

    async def start(self) -> None:
        """Begin to receive from the broker: before serving, or with the first request."""
        if not self.is_started:
            self.is_started = True
            self.control.begin()
            await self.broker.start(self.hub)

    async def stop(self) -> None:
        """Leave the others, and receive no longer."""
        await self.control.end()
        await self.hub.close()
        await self.broker.stop()
        self.is_started = False

    def end_all(self) -> None:
        """End every stream; browsers come back after a moment, to whoever serves then."""
        for connection in list(self.hub.connections.values()):
            connection.end(Ending.SHUTDOWN)

    @property
    def errors(self) -> ErrorLog:
        """Where errors of the app's own functions are logged."""
        return self.hub.errors

    def channel_of(self, topic: str) -> ChannelLike | None:
        """Return the channel that a topic belongs to; None if none is declared."""
        return self.channels.get(topic.partition("?")[0])


def current_state() -> State:
    """Return the state of the current app.

    Raises:
        SetupError: Outside an app context, or if the app was never initialised.
    """
    if not has_app_context() and not has_request_context():
        raise SetupError(
            "quart_sse was used outside an app context, so it cannot know which app is meant. "
            "Wrap the call in 'async with app.app_context():'."
        )
    state = current_app.extensions.get(KEY)
    if not isinstance(state, State):
        raise SetupError(
            "This app was not initialised for quart_sse. Call sse.init_app(app) or SSE(app)."
        )
    return state
