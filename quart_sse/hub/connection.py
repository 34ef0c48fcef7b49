"""One open stream of one browser: what it listens to, what it has still to be sent, its end."""

import asyncio
import base64
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping

from ..config import Config
from ..wire import PREAMBLE, Ending, Id, Position
from .batch import Batch, Part, Personal

#: Topic -> the fragments of it that the page shows.
Subscription = Mapping[str, frozenset[str]]


class Connection:
    """A stream's pending buffer, and the async iterator that the server drains it by.

    Facts are kept in order up to a bound; of a fragment only the newest version is kept. Over
    the bound the stream ends, and its browser comes back and resumes from history, so a slow
    client can never hold memory, delay another, or end up with a stale page.

    Args:
        subscription: Topic -> the fragments of it that the page shows.
        config: The bounds.
        loader: Makes the message by which this connection's viewer fetches a personal fragment.
        identity: Who it is, or None.
        browser: Something that tells this browser from others, or None.
        address: Where it comes from, or None.
        bare: Event names go out without topic: the stream is of one topic alone.
        root: The root path below which its pages are.
        metadata: What the application wants to remember of it.
    """

    # A process has thousands, and a dictionary of so many names would be shared by none of them.
    __slots__ = (
        "_ahead",
        "_bytes",
        "_events",
        "_farewell",
        "_loop",
        "_max_bytes",
        "_max_events",
        "_number",
        "_pending",
        "_versions",
        "_waiter",
        "address",
        "bare",
        "browser",
        "busy_since",
        "ends_at",
        "id",
        "identity",
        "inside",
        "introduction",
        "is_browser_new",
        "is_ended",
        "judged_at",
        "kick",
        "loader",
        "may_see",
        "metadata",
        "renew",
        "renew_at",
        "root",
        "subscription",
    )

    def __init__(
        self,
        subscription: Subscription,
        config: Config,
        *,
        loader: Callable[[Personal], bytes],
        identity: str | None = None,
        browser: str | None = None,
        address: str | None = None,
        bare: bool = False,
        root: str = "",
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        secret = secrets.token_urlsafe(18)
        self.id = id_of(secret)
        self.subscription = subscription
        #: What its client is sent first: its id, the secret that the id is made of, and the
        #: topics that each token has granted.
        self.introduction: dict[str, object] = {"id": self.id, "secret": secret}
        self.identity = identity
        self.browser = browser
        self.address = address
        self.bare = bare
        self.root = root
        #: Whether its client may see a fragment, by its key, with fragments of these other topics
        #: inside; None if a view of the app has decided.
        self.may_see: Callable[[str, frozenset[str]], bool] | None = None
        #: Topics of which it is sent fragments inside others, and by whose rules it was let in.
        self.inside: frozenset[str] = frozenset()
        #: Whether its request came without the cookie that its browser is known by from now on.
        self.is_browser_new = False
        self.metadata = dict(metadata or {})
        self.is_ended = False
        #: ``time.monotonic`` before its viewer was judged: revocations since then may mean it.
        self.judged_at = time.monotonic()
        #: Loop time at which it ends, so that it comes back and is judged anew.
        self.ends_at = float("inf")
        #: Loop time at which the page needs a new token, and what makes one: it returns what
        #: writes the message that starts from a position.
        self.renew_at = float("inf")
        self.renew: Callable[[], Awaitable[Callable[[Position], bytes]]] | None = None
        #: Ends the request from outside, for a client that takes nothing, and returns whether its
        #: socket is closed, too; None if that can't be.
        self.kick: Callable[[], bool] | None = None
        #: Loop time since when the server has not come back for more; None while it waits.
        self.busy_since: float | None = None
        self.loader = loader
        self._max_events = config.pending_events
        self._max_bytes = config.pending_bytes
        # Fragment key, or a number for an event -> bytes, in the order of sending.
        self._pending: dict[str | int, bytes] = {}
        self._versions: dict[str, Id] = {}  #: fragment key -> the version that is pending
        self._events = 0  #: of those, how many are events, and their bytes
        self._bytes = 0
        self._number = 0
        self._ahead: list[bytes] = [PREAMBLE]
        self._farewell = b""
        self._waiter: asyncio.Future[bytes | None] | None = None
        self._loop = asyncio.get_running_loop()

    def feed(self, batch: Batch) -> None:
        """Give the connection a batch: at once if the server waits for it, else into the buffer."""
        if self.is_ended:
            return
        waiter = self._waiting() if batch.data is not None else None
        if waiter is not None and batch.data is not None:
            self._wake(waiter, batch.data)
            return
        if batch.data is None:
            batch = batch.personalized(self.loader)
        for part in batch.parts:
            self._buffer(part)
        # Only now: what was made above may have raised, and the stream must still be endable.
        waiter = self._waiting()
        if waiter is not None:
            self._wake(waiter, self._take())
        elif self._events > self._max_events or self._bytes > self._max_bytes:
            self._pending.clear()
            self.end(Ending.OVERFLOW)

    def _buffer(self, part: Part) -> None:
        key, data, version = part
        assert isinstance(data, bytes)  # feed() has seen to it
        if key is None:
            self._number += 1
            self._events += 1
            self._bytes += len(data)
            self._pending[self._number] = data
        else:
            # Not counted against the bounds: there is one version of each fragment at most.
            if key in self._pending and part.repeats(self._versions[key]):
                return
            self._pending.pop(key, None)
            self._pending[key] = data
            self._versions[key] = version

    def _take(self) -> bytes:
        data = b"".join(self._pending.values())
        self._pending.clear()
        self._versions.clear()
        self._events = self._bytes = 0
        return data

    def _waiting(self) -> "asyncio.Future[bytes | None] | None":
        """Return who waits for bytes, once; None if nobody does, or he was cancelled."""
        waiter, self._waiter = self._waiter, None
        return None if waiter is None or waiter.done() else waiter

    def _wake(self, waiter: "asyncio.Future[bytes | None]", data: bytes | None) -> None:
        self.busy_since = self._loop.time()
        waiter.set_result(data)

    def discard(self) -> None:
        """Drop what is pending: the client is about to be told that it is lost."""
        self._ahead.clear()
        self._take()

    def ahead(self, chunks: list[bytes]) -> None:
        """Send these before all else; they do not count against the bounds."""
        if self.is_ended:
            return
        self._ahead.extend(chunks)
        waiter = self._waiting() if self._ahead else None
        if waiter is not None:
            self._wake(waiter, self._ahead.pop(0))

    def end(self, ending: Ending | None = None) -> None:
        """End the stream after what is pending; the first ending counts.

        Args:
            ending: What the client is sent; None if it has gone, or takes nothing.
        """
        if self.is_ended:
            return
        self.is_ended = True
        self._farewell = b"" if ending is None else ending.encode()
        waiter = self._waiting()
        if waiter is not None:
            self._wake(waiter, None)

    def _requeue(self, waiter: "asyncio.Future[bytes | None]") -> None:
        """Keep what was handed to somebody who was cancelled before he could take it."""
        if self._waiter is waiter:
            self._waiter = None
        data = None if waiter.cancelled() or not waiter.done() else waiter.result()
        if data is not None:
            self._ahead.insert(0, data)

    def __aiter__(self) -> "Connection":
        """Return the iterator over the stream's bytes, of which there is one."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next bytes to send."""
        if self._ahead:
            self.busy_since = self._loop.time()
            return self._ahead.pop(0)
        if self._pending:
            self.busy_since = self._loop.time()
            return self._take()
        if not self.is_ended:
            self.busy_since = None
            waiter = self._waiter = self._loop.create_future()
            try:
                data: bytes | None = await waiter
            except asyncio.CancelledError:
                self._requeue(waiter)
                raise
            if data is not None:
                return data
        if self._farewell:
            farewell, self._farewell = self._farewell, b""
            return farewell
        raise StopAsyncIteration


def id_of(secret: str) -> str:
    """Return the id of the connection whose client has a secret.

    The id is no secret: events for others show it. It does not lead back.
    """
    return base64.urlsafe_b64encode(hashlib.sha256(secret.encode()).digest())[:16].decode()
