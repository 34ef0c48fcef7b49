"""One open stream of one client: its subscription, its pending bytes, its ending."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, ClassVar

from ..config import Config
from ..wire import Ending, Id, Position, encode_body, encode_mask, encode_preamble
from .batch import HEARTBEAT, Batch, Part, Personal, for_all, in_place_of
from .lasting import Lasting
from .metadata import Metadata
from .page import NO_LISTS, NO_NAMES, Listed, Page
from .traffic import UNCOUNTED, Traffic

if TYPE_CHECKING:
    from .outlet import Outlet

#: Of the stream of a view, which no page of ours has opened.
NO_PAGES: tuple[Page, ...] = ()
#: Messages ahead are joined up to about so many bytes where they need no task.
JOINED = 65_536
#: Topic -> the fragments of the topic that the page shows.
Subscription = Mapping[str, frozenset[str]]


class Connection:
    """A stream's pending buffer, and the async iterator by which the server drains it.

    Events are buffered in order up to a bound, fragments only in their newest version. Over the
    bound the stream ends, and its client reconnects and resumes from history. A slow client thus
    never holds unbounded memory, delays another one, or keeps a stale page.

    Args:
        subscription: Topic -> the fragments of the topic that the page shows.
        config: The app's settings, of which ``pending_events`` and ``pending_bytes`` are the bound.
        loader: Encodes the message by which this connection's page fetches a personal fragment.
        identity: The user's identity, or None.
        browser: Id of the browser, by its cookie, or None.
        address: What the client's IP address counts as (:func:`counted_as`), or None.
        bare: Whether event names go out without their topic, as in a stream of one topic alone.
        root: Root path of the app, as the pages' URLs begin with it.
        heartbeat: Interval in which the idle stream sends its position, in seconds; None for the
            app's.
        retry: Reconnect delay of the client, in seconds, if the stream is cut; None for the app's.
        metadata: What the app knows of the connection.
        process: Id of the process, with which the connection's id begins.

    Example:
        ``async for data in connection: await send(data)``
    """

    #: Whether a source of a view feeds the stream, which then has no topics and joins no group.
    is_own: ClassVar[bool] = False

    # A process has thousands of them, and CPython shares no dictionary keys of so many names.
    __slots__ = (
        "_ahead",
        "_bytes",
        "_events",
        "_farewell",
        "_lists",
        "_loop",
        "_max_bytes",
        "_max_events",
        "_number",
        "_pending",
        "_versions",
        "_waiter",
        "address",
        "audiences",
        "bare",
        "browser",
        "busy_since",
        "comes_again",
        "direct",
        "ending",
        "ends_at",
        "expired",
        "heartbeat",
        "hooks",
        "identity",
        "inside",
        "is_browser_new",
        "is_ended",
        "is_open",
        "judged_at",
        "kick",
        "last_event_id",
        "lasting",
        "listed",
        "loader",
        "made",
        "may_see",
        "metadata",
        "outlet",
        "pages",
        "refused",
        "refused_file",
        "remote_address",
        "renew",
        "renew_at",
        "retry_ms",
        "root",
        "subscription",
        "traffic",
        "user_agent",
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
        heartbeat: float | None = None,
        retry: float | None = None,
        metadata: Metadata | None = None,
        process: str = "",
    ) -> None:
        #: What it shares with the other streams of its connection.
        self.lasting: Lasting = Lasting.of(process)
        self.subscription: Subscription = subscription
        self.traffic: Traffic = UNCOUNTED  #: what its process counts, once it is one of its streams
        self.pages: tuple[Page, ...] = NO_PAGES  #: the page of each token
        self.expired: tuple[int, ...] = ()  #: numbers of the tokens that have expired
        self.identity: str | None = identity
        self.browser: str | None = browser
        self.address: str | None = address
        self.bare: bool = bare
        self.root: str = root
        #: Topics of the audiences that the connection belongs to.
        self.audiences: tuple[str, ...] = ()
        #: Topics of ``lasting.made`` that this stream has.
        self.made: frozenset[str] = NO_NAMES
        #: Topics that were closed, of which the client has yet to be told.
        self.refused: frozenset[str] = NO_NAMES
        #: The further script file that marks what is refused, as pages name it.
        self.refused_file: str = ""
        self.last_event_id: str | None = None  #: id with which the client came
        self.remote_address: str | None = None  #: the client's IP address
        self.user_agent: str = ""
        self.listed: Listed = NO_LISTS  #: topics in its lists, which count for its address
        self.is_open: bool = False  #: whether the client has, or is about to have, ``sse-open``
        self.hooks: object | None = None  #: the hooks of this stream alone; see ``registry.hooks``
        #: How the stream ended; None while it is open, and if the client has gone.
        self.ending: Ending | None = None
        self.heartbeat: float = config.heartbeat if heartbeat is None else heartbeat
        self.retry_ms: int = round(1000 * (config.retry if retry is None else retry))
        #: (fragment key, topics of nested fragments) -> whether the client may see it; None if a
        #: view of the app has decided.
        self.may_see: Callable[[str, frozenset[str]], bool] | None = None
        #: Topics of nested fragments, whose access rules the client has passed, too.
        self.inside: frozenset[str] = NO_NAMES
        #: Whether the request brought no browser cookie, so that the answer sets one.
        self.is_browser_new: bool = False
        #: Whether our script replaces the stream at once, because a new browser has a cookie then.
        self.comes_again: bool = False
        self.metadata: Metadata | None = metadata
        self.is_ended: bool = False
        #: ``time.monotonic`` before access was judged: later revocations apply to the connection.
        self.judged_at: float = time.monotonic()
        #: Loop time at which the stream ends, so that access is judged again.
        self.ends_at: float = float("inf")
        #: Loop time at which the page needs a new token; ``renew`` signs it and returns a function
        #: that encodes the message, given the position at which the token's stream starts.
        self.renew_at: float = float("inf")
        self.renew: Callable[[], Awaitable[Callable[[Position], bytes]]] | None = None
        #: Cancels the request of a client that reads nothing, and returns whether the socket was
        #: closed, too; None if the server offers no way to.
        self.kick: Callable[[], bool] | None = None
        #: Where batches can go without the stream's task; None if only the task can send them.
        self.outlet: Outlet | None = None
        #: The outlet while the server waits for bytes, so that batches may go there; else None.
        self.direct: Outlet | None = None
        #: Loop time since which the server has been writing; None while it waits for bytes.
        self.busy_since: float | None = None
        self.loader: Callable[[Personal], bytes] = loader
        self._max_events = config.pending_events
        self._max_bytes = config.pending_bytes
        # Fragment key, or a number for an event -> its bytes, in the order of sending.
        self._pending: dict[str | int, bytes] = {}
        self._versions: dict[str, Id] | None = None  #: fragment key -> its pending version
        # List -> its pending entries in their order, with their versions; None without any.
        self._lists: dict[str, dict[str, Id]] | None = None
        self._events = 0  #: number of pending events
        self._bytes = 0  #: their size
        self._number = 0
        self._ahead: list[bytes] = [encode_preamble(self.retry_ms)]
        self._farewell = b""
        self._waiter: asyncio.Future[bytes | None] | None = None
        self._loop = asyncio.get_running_loop()

    def feed(self, batch: Batch) -> None:
        """Hand a batch to the server if it waits for bytes, and buffer it otherwise.

        A buffer over its bound ends the stream with ``Ending.OVERFLOW``.

        Args:
            batch: The batch, which ``traffic`` has counted for this stream.
        """
        if self.is_ended:
            self.traffic.lose(batch)
            return
        waiter = self._waiting() if batch.data is not None else None
        if waiter is not None and batch.data is not None:
            self._wake(waiter, batch.data)
            return
        self.traffic.buffer(batch)
        if batch.data is None:
            batch = batch.personalized(self.loader)
        for part in batch.parts:
            self._buffer(part)
        # Only now: the loader may have raised, and end() must still find the waiting server.
        waiter = self._waiting()
        if waiter is not None:
            self._wake(waiter, self._take())
        elif self._events > self._max_events or self._bytes > self._max_bytes:
            self._drop()
            self.end(Ending.OVERFLOW)

    def _buffer(self, part: Part) -> None:
        key, data, version = part.key, part.data, part.version
        assert isinstance(data, bytes)  # feed() encodes personal parts first
        if part.within:
            self._buffer_of_list(part, data)
        elif key is None:
            self._number += 1
            self._events += 1
            self._bytes += len(data)
            self._pending[self._number] = data
        else:
            # Fragments do not count against the bound: the buffer has one version of each.
            if self._versions is None:
                self._versions = {}
            if key in self._pending:
                if key != HEARTBEAT:
                    self.traffic.replace()
                if part.repeats(self._versions[key]):
                    return
                if part.has_origin:
                    data = for_all(self._pending[key], data)
                del self._pending[key]
            self._pending[key] = data
            self._versions[key] = version

    def _buffer_of_list(self, part: Part, data: bytes) -> None:
        """Buffer a whole list or an item of it, in the place of what it replaces.

        A newer item takes the place of the pending one, a whole list that of the first that is
        pending of the list; all others of the list go. Items count against the bound like events.
        """
        key, version = part.key or "", part.version
        if self._lists is None:
            self._lists = {}
        held = self._lists.setdefault(part.within, {})
        is_whole = key == part.within
        if key in held and (held[key] > version or (held[key] == version and not is_whole)):
            self.traffic.replace()
            return
        replaced = [*held] if is_whole else [key] if key in held else []
        if replaced:
            first = replaced[0]
            old = self._pending[first]
            data = in_place_of(old, for_all(old, data) if part.has_origin else data)
            for other in replaced:
                self.traffic.replace()
                self._uncount(other, part.within)
        if replaced and (len(replaced) > 1 or first != key):
            gone = {*replaced[1:], key}
            self._pending = {
                key if each == first else each: data if each == first else pending
                for each, pending in self._pending.items()
                if each == first or each not in gone
            }
            held.clear()
        else:
            self._pending[key] = data
        held[key] = version
        if not is_whole:
            self._events += 1
            self._bytes += len(data)

    def _uncount(self, key: str, within: str) -> None:
        if key != within:
            self._events -= 1
            self._bytes -= len(self._pending[key])

    def _take(self) -> bytes:
        data = b"".join(self._pending.values())
        self._clear()
        self.traffic.written += len(data)
        return data

    def _take_ahead(self) -> bytes:
        number = size = 0
        for chunk in self._ahead:
            if number and (self.outlet is None or size >= JOINED):
                break
            number, size = number + 1, size + len(chunk)
        data = b"".join(self._ahead[:number])
        del self._ahead[:number]
        self.traffic.written += size
        return data

    def _drop(self) -> None:
        self.traffic.drop(sum(1 for key in self._pending if key != HEARTBEAT))
        self._clear()

    def _clear(self) -> None:
        self._pending.clear()
        self._versions = self._lists = None
        self._events = self._bytes = 0

    def _waiting(self) -> "asyncio.Future[bytes | None] | None":
        """Take the server's waiter; None if the server does not wait or was cancelled."""
        waiter, self._waiter = self._waiter, None
        self.direct = None
        return None if waiter is None or waiter.done() else waiter

    def _wake(self, waiter: "asyncio.Future[bytes | None]", data: bytes | None) -> None:
        self.busy_since = self._loop.time()
        waiter.set_result(data)

    def discard(self) -> bool:
        """Drop all pending bytes, before a reset or an ending that makes up for them.

        Returns:
            Whether there were any.
        """
        is_any = bool(self._ahead or self._pending)
        self._ahead.clear()
        self._drop()
        return is_any

    @property
    def queued(self) -> int:
        """Size of what the server has yet to take, in bytes."""
        if not self._pending and not self._ahead:
            return 0
        return sum(map(len, self._pending.values())) + sum(map(len, self._ahead))

    @property
    def may_be_replaced(self) -> bool:
        """Whether the client may open another stream of the same connection: our script does."""
        return bool(self.pages) and not self.bare

    def ahead(self, chunks: list[bytes]) -> None:
        """Send encoded messages before all pending ones; they do not count against the bound.

        Args:
            chunks: Encoded messages, one write each.
        """
        if self.is_ended:
            return
        self._ahead.extend(chunks)
        waiter = self._waiting() if self._ahead else None
        if waiter is not None:
            self._wake(waiter, self._take_ahead())

    def end(self, ending: Ending | None = None, retry_ms: int | None = None) -> None:
        """End the stream after its pending bytes; further calls do nothing.

        Args:
            ending: Encoded as the last message; None if the client has gone or reads nothing.
            retry_ms: Time after which the client reconnects, in milliseconds; None for that of the
                ending.
        """
        if self.is_ended:
            return
        self.is_ended = True
        self.ending = ending
        self._farewell = b"" if ending is None else ending.encode(retry_ms)
        waiter = self._waiting()
        if waiter is not None:
            self._wake(waiter, None)

    @property
    def id(self) -> str:
        """The connection's id, which its streams share."""
        return self.lasting.id

    @property
    def introduction(self) -> dict[str, object]:
        """Data of ``sse-open``: who the connection is, and what each token's page is sent."""
        data: dict[str, object] = {"id": self.id, "secret": self.lasting.secret}
        if self.pages:
            data["topics"] = [page.granted for page in self.pages]
            data["names"] = [page.names(self.made) for page in self.pages]
        masks = [encode_mask(page.mask) for page in self.pages]
        if len(masks) > 1 and any(masks):
            data["masks"] = masks
        if any(refused := [page.refused(self.made) for page in self.pages]):
            data |= {"refused": refused, "files": self.refused_file}
        if self.comes_again:
            data["again"] = True
        return data | {"expired": self.expired} if self.expired else data

    def encode_opening(self, retry_ms: int | None = None) -> bytes:
        """Return the message with which the stream opens, and by which clients learn its topics.

        Args:
            retry_ms: Reconnect delay of the client, in milliseconds; None leaves it.
        """
        return encode_body(json.dumps(self.introduction), "sse-open", retry_ms)

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics and audiences of which the connection is sent events."""
        return (*self.subscription, *self.audiences)

    @property
    def wanted(self) -> Subscription:
        """What the stream listens to once it has followed what the app has changed."""
        lasting = self.lasting
        granted = {topic for page in self.pages for topic in page.granted}
        gone = lasting.removed | (self.made - lasting.made.keys() - granted)
        kept = {topic: shown for topic, shown in self.subscription.items() if topic not in gone}
        return {**dict.fromkeys(lasting.made, frozenset[str]()), **kept}

    def follow(self, refused: Collection[str] = ()) -> None:
        """Follow what the app has changed of the connection; the topics are changed elsewhere.

        Args:
            refused: Topics that the client is sent as refused.
        """
        lasting = self.lasting
        self.made = frozenset(lasting.made) or NO_NAMES
        self.pages = tuple(
            page.without(lasting.removed, lasting.made, refused) for page in self.pages
        )

    @property
    def mask(self) -> int | None:
        """What a page alone on the stream is sent, as a bitmask for positions; None for all.

        Pages that share a stream have one each, which ``sse-open`` says.
        """
        return self.pages[0].mask if len(self.pages) == 1 else None

    @property
    def is_empty(self) -> bool:
        """Whether neither the stream nor any page of it has a topic left."""
        return not self.subscription and not any(page.is_open for page in self.pages)

    def _requeue(self, waiter: "asyncio.Future[bytes | None]") -> None:
        """Put bytes back that were handed to a waiter whose task was cancelled meanwhile."""
        if self._waiter is waiter:
            self._waiter = self.direct = None
        data = None if waiter.cancelled() or not waiter.done() else waiter.result()
        if data is not None:
            self._ahead.insert(0, data)
            self.traffic.written -= len(data)

    def __aiter__(self) -> "Connection":
        """Return the only iterator over the stream's bytes."""
        return self

    async def __anext__(self) -> bytes:
        """Wait for the next bytes to write.

        Raises:
            StopAsyncIteration: After the bytes of the ending.
        """
        while self._ahead or self._pending:
            self.busy_since = self._loop.time()
            batch = Batch((), self._take_ahead() if self._ahead else self._take())
            # What the framework is given it keeps until the next time, which may be the end.
            if self.outlet is None or not self.outlet.write(batch):
                assert batch.data is not None
                return batch.data
            del batch  # this coroutine lasts, too
        if not self.is_ended:
            self.busy_since = None
            waiter = self._waiter = self._loop.create_future()
            self.direct = self.outlet
            try:
                data: bytes | None = await waiter
            except asyncio.CancelledError:
                self._requeue(waiter)
                raise
            if data is not None:
                return data
        if self._farewell:
            farewell, self._farewell = self._farewell, b""
            self.traffic.written += len(farewell)
            return farewell
        raise StopAsyncIteration
