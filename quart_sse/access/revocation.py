"""Revocations end streams in every process, so that reconnecting clients are judged again.

A revocation must reach all streams that it means: streams that are open, streams that are opening
for clients that were judged before it, and streams of a process that did not receive it.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..broker import Control
from ..channels import AppChannels
from ..hub import Connection, Connections
from ..logs import LogLine
from ..wire import Ending

REVOKED = LogLine(
    "access",
    "streams-revoked",
    logging.DEBUG,
    "%(streams)d streams of this process are ended, and their clients judged again (%(reason)s).",
    reason=str,
    streams=int,
)
REVOCATIONS_LOST = LogLine(
    "access",
    "revocations-lost",
    logging.INFO,
    "Revocations may have been lost while the broker was away, so clients of private streams are "
    "judged again within %(seconds)g s.",
    seconds=float,
)

#: Period over which streams end after a revocation may have been lost, in seconds.
SPREAD = 30.0
#: Times after a logout at which it ends the streams that have opened since, in seconds. A request
#: for a stream that the browser sent before it received the answer still has the session's cookie,
#: and arrives as late as the network lets it.
ON_THEIR_WAY = (1.0, 5.0)
#: Number of recent revocations that a process checks opening streams against.
REMEMBERED = 256


class Revocation(NamedTuple):
    """One revocation, as this process received it.

    Attributes:
        at: Time of receipt, by ``time.monotonic``.
        ending: How the revoked streams end.
        identity: Identity whose streams end; None for every identity.
        topic: Topic whose streams end; None to go by identity and browser.
        browser: Id of the browser whose streams end; None for every browser.
    """

    at: float
    ending: Ending
    identity: str | None = None
    topic: str | None = None
    browser: str | None = None

    def means(self, connection: Connection) -> bool:
        """Whether this revocation ends a connection."""
        if self.topic is not None:
            return self.topic in connection.subscription or self.topic in connection.inside
        is_other = self.browser is not None and self.browser != connection.browser
        # A browser without its cookie may open several streams at once, each with an id of its own;
        # it keeps the cookie of one of them, so the identity decides for the others.
        if is_other and (self.identity is None or not connection.is_browser_new):
            return False
        # A logout after the session was cleared names no identity: it means all of the browser's.
        return connection.identity is not None and self.identity in (None, connection.identity)


class Revocations:
    """Sends revocations to every process, and ends the streams that received ones mean.

    Args:
        control: Sends control messages to every process, and receives them.
        connections: The open connections of this process.
        channels: The app's channels, public and private.
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

        Args:
            identity: The user's identity.

        Raises:
            BrokerUnavailable: If the broker is away; other processes may not have received the
                revocation.
        """
        await self._control.tell("disconnect", {"identity": identity})

    async def logout(self, identity: str | None, browser: str | None) -> None:
        """End the streams of a user in one browser, in every process.

        Args:
            identity: The user's identity; None for every identity with streams in the browser.
            browser: The browser's id; None for every browser of the user. One of the two is given.

        Raises:
            BrokerUnavailable: As for :meth:`disconnect`.
        """
        told = {"identity": identity, "browser": browser}
        known = {key: value for key, value in told.items() if value is not None}
        await self._control.tell("logout", known)

    async def recheck(self, topic: str) -> None:
        """End every stream of a topic, in every process, so that ``authorize`` judges again.

        Args:
            topic: Name of the topic; streams end that listen to it or show fragments of it inside
                others.

        Raises:
            BrokerUnavailable: As for :meth:`disconnect`.
        """
        await self._control.tell("recheck", {"topic": topic})

    def check(self, connection: Connection) -> None:
        """End an opening stream if a revocation arrived after its client was judged."""
        recent = self._recent
        if len(recent) == recent.maxlen and recent[0].at > connection.judged_at:
            _end(connection, Ending.RECHECK)  # an older one may have dropped out of the deque
        for revocation in recent:
            if revocation.at >= connection.judged_at and revocation.means(connection):
                _end(connection, revocation.ending)

    def _take_disconnect(self, told: Mapping[str, Any]) -> None:
        identity = _text(told["identity"])
        self._take(Revocation(time.monotonic(), Ending.DISCONNECT, identity))

    def _take_logout(self, told: Mapping[str, Any]) -> None:
        identity, browser = _text(told.get("identity")), _text(told.get("browser"))

        def end_streams() -> None:
            self._take(Revocation(time.monotonic(), Ending.DISCONNECT, identity, None, browser))

        end_streams()
        for delay in ON_THEIR_WAY:
            asyncio.get_running_loop().call_later(delay, end_streams)

    def _take_recheck(self, told: Mapping[str, Any]) -> None:
        topic = _text(told["topic"])
        self._take(Revocation(time.monotonic(), Ending.RECHECK, None, topic))

    def _take(self, revocation: Revocation) -> None:
        if (revocation.identity, revocation.topic, revocation.browser) == (None, None, None):
            raise ValueError("A revocation must name an identity, a topic or a browser.")
        self._recent.append(revocation)
        meant = [each for each in self._candidates(revocation) if revocation.means(each)]
        for connection in meant:
            _end(connection, revocation.ending)
        REVOKED.log(reason=revocation.ending.reason, streams=len(meant))

    def _candidates(self, revocation: Revocation) -> list[Connection]:
        """Return the connections that a revocation may mean, by the index of connections."""
        if revocation.topic is not None:
            return list(self._connections)
        if revocation.identity is not None:
            return self._connections.of("identity", revocation.identity)
        return self._connections.of("browser", revocation.browser)

    def _end_doubtful(self) -> None:
        """End every stream that a lost revocation may have meant, spread over ``SPREAD`` seconds.

        A connection without an identity, with public topics alone, would be granted the same again.
        """
        REVOCATIONS_LOST.log(seconds=SPREAD)
        now = asyncio.get_running_loop().time()
        for connection in self._connections:
            topics = [*connection.subscription, *connection.inside]
            if connection.identity is not None or self._channels.is_private(topics):
                ends_at = now + SPREAD * random.random()
                connection.ends_at = min(connection.ends_at, ends_at)


def _end(connection: Connection, ending: Ending) -> None:
    connection.discard()  # pending messages are no longer for this client
    connection.end(ending)


def _text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"A value must be a str, not {type(value).__name__}.")
    return value
