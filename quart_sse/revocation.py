"""Whose streams end, so that clients that come back are judged again.

Every process receives a revocation. It must reach every stream that it means: those that are open,
those that are just being opened by clients that were judged before it came, and those of a process
that could not hear it.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from .app_channels import AppChannels
from .broker import Control
from .connection import Connection
from .connections import Connections
from .ending import Ending

#: Seconds within which the streams end that a lost revocation may have meant.
SPREAD = 30.0
#: Revocations that are remembered, for streams whose clients were judged before they came.
REMEMBERED = 256


class Revocation(NamedTuple):
    """After this the clients that it means are judged again."""

    at: float  #: when this process was told of it, by ``time.monotonic``
    ending: Ending
    identity: str | None = None
    topic: str | None = None
    browser: str | None = None  #: of this browser alone; None: of every

    def means(self, connection: Connection) -> bool:
        """Whether a connection must end."""
        if self.topic is not None:
            return self.topic in connection.subscription or self.topic in connection.inside
        is_other = self.browser is not None and self.browser != connection.browser
        # Of streams that a browser opens before it has its cookie, only one gives it that.
        if is_other and (self.identity is None or not connection.is_browser_new):
            return False
        # Signed out in a browser that no longer says of whom: of all whom it has streams of.
        return connection.identity is not None and self.identity in (None, connection.identity)


class Revocations:
    """The revocations that this process tells, and those that it has been told of.

    Args:
        control: Tells every process.
        connections: Those of this process.
        channels: The app's channels.
    """

    def __init__(self, control: Control, connections: Connections, channels: AppChannels) -> None:
        self._control = control
        self._connections = connections
        self._channels = channels
        self._recent: deque[Revocation] = deque(maxlen=REMEMBERED)
        control.handle("disconnect", self._take_disconnect, {"identity"})
        control.handle("logout", self._take_logout, {"identity", "browser"})
        control.handle("recheck", self._take_recheck, {"topic"})
        control.handle_loss(self._end_doubtful)

    async def disconnect(self, identity: str) -> None:
        """End every stream of a user, in every process.

        Raises:
            BrokerUnavailable: If other processes were not, or may not have been, told.
        """
        await self._control.tell("disconnect", {"identity": identity})

    async def logout(self, identity: str | None, browser: str | None) -> None:
        """End the streams that a user has in one browser, in every process.

        Args:
            identity: None for all whom the browser has streams of.
            browser: None for all browsers of the user.

        Raises:
            BrokerUnavailable: If other processes were not, or may not have been, told.
        """
        told = {"identity": identity, "browser": browser}
        known = {key: value for key, value in told.items() if value is not None}
        await self._control.tell("logout", known)

    async def recheck(self, topic: str) -> None:
        """End every stream of a topic, in every process.

        Raises:
            BrokerUnavailable: If other processes were not, or may not have been, told.
        """
        await self._control.tell("recheck", {"topic": topic})

    def check(self, connection: Connection) -> None:
        """End a stream that is just opened, if a revocation came since its client was judged."""
        recent = self._recent
        if len(recent) == recent.maxlen and recent[0].at > connection.judged_at:
            _end(connection, Ending.RECHECK)  # there may have been more of them
        for revocation in recent:
            if revocation.at >= connection.judged_at and revocation.means(connection):
                _end(connection, revocation.ending)

    def _take_disconnect(self, told: Mapping[str, Any]) -> None:
        identity = _text(told["identity"])
        self._take(Revocation(time.monotonic(), Ending.DISCONNECT, identity))

    def _take_logout(self, told: Mapping[str, Any]) -> None:
        identity, browser = _text(told.get("identity")), _text(told.get("browser"))
        self._take(Revocation(time.monotonic(), Ending.DISCONNECT, identity, None, browser))

    def _take_recheck(self, told: Mapping[str, Any]) -> None:
        topic = _text(told["topic"])
        self._take(Revocation(time.monotonic(), Ending.RECHECK, None, topic))

    def _take(self, revocation: Revocation) -> None:
        if (revocation.identity, revocation.topic, revocation.browser) == (None, None, None):
            raise ValueError("It names no user, topic or browser.")
        self._recent.append(revocation)
        for connection in self._candidates(revocation):
            if revocation.means(connection):
                _end(connection, revocation.ending)

    def _candidates(self, revocation: Revocation) -> list[Connection]:
        """Return the connections among which are those that a revocation means."""
        if revocation.topic is not None:
            return list(self._connections)
        if revocation.identity is not None:
            return self._connections.of("identity", revocation.identity)
        return self._connections.of("browser", revocation.browser)

    def _end_doubtful(self) -> None:
        """End every stream that lost revocations may have meant, spread over some time."""
        now = asyncio.get_running_loop().time()
        for connection in self._connections:
            topics = [*connection.subscription, *connection.inside]
            if connection.identity is not None or self._channels.is_private(topics):
                ends_at = now + SPREAD * random.random()
                connection.ends_at = min(connection.ends_at, ends_at)


def _end(connection: Connection, ending: Ending) -> None:
    connection.discard()  # it may be for those who may not read it any more
    connection.end(ending)


def _text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{value!r} is no text.")
    return value
