"""A stream of its own: one client, fed by a source of a view at the pace of the client."""

import asyncio
import json
from collections.abc import Callable

from ..config import Config
from ..errors import ConnectionClosedError
from ..wire import STARTED, Ending, Event
from .batch import Personal
from .connection import Connection
from .metadata import Metadata

#: A block that dispatches nothing. It has no id, for ids are the source's.
HEARTBEAT = b":\n\n"


class OwnConnection(Connection):
    r"""A connection without topics, which joins no group and is fed by a source.

    What feeds it waits in :meth:`put` until the server asks for more, so it is never further ahead
    of the client than the buffers of the sockets.

    Args:
        config: The app's settings.
        begin: Starts the source; called when the client has been sent how the stream begins.
        resumes: Whether the source goes on where a client was cut off.
        identity: The user's identity, or None.
        browser: Id of the browser, by its cookie, or None.
        address: What the client's IP address counts as, or None.
        root: Root path of the app.
        metadata: What the app knows of the connection.
        process: Id of the process, with which the connection's id begins.

    Example:
        ``await connection.put(b"data: 1\n\n")``
    """

    is_own = True

    __slots__ = ("_begin", "_resumes", "_senders", "stop")

    def __init__(
        self,
        config: Config,
        *,
        begin: Callable[["OwnConnection"], None],
        resumes: bool,
        identity: str | None = None,
        browser: str | None = None,
        address: str | None = None,
        root: str = "",
        metadata: Metadata | None = None,
        process: str = "",
    ) -> None:
        super().__init__(
            {},
            config,
            loader=_no_loader,
            identity=identity,
            browser=browser,
            address=address,
            bare=True,
            root=root,
            metadata=metadata,
            process=process,
        )
        #: Ends what feeds the stream, if anything else than that ends the stream.
        self.stop: Callable[[], object] | None = None
        self._begin: Callable[[OwnConnection], None] | None = begin
        self._resumes = resumes
        self._senders: list[asyncio.Future[None]] = []

    @property
    def has_begun(self) -> bool:
        """Whether the source was started."""
        return self._begin is None

    def encode_opening(self, retry_ms: int | None = None) -> bytes:
        """Return the message with which the stream opens.

        Unless it resumes, it has an id, by which a client that comes again is known.

        Args:
            retry_ms: Reconnect delay of the client, in milliseconds; None leaves it.
        """
        id = None if self._resumes else STARTED
        return Event(
            json.dumps({"id": self.id}), name="sse-open", id=id, retry_ms=retry_ms
        ).encode()

    async def put(self, data: bytes) -> None:
        """Send encoded messages, and wait until the server asks for more.

        Raises:
            ConnectionClosedError: If the stream has ended, or ends meanwhile.
        """
        if data and not self.is_ended:
            self.ahead([data])
            sender = self._loop.create_future()
            self._senders.append(sender)
            await sender
        if self.is_ended:
            raise ConnectionClosedError(self.id)

    def finish(self, ending: Ending) -> None:
        """End the stream by its source, which goes on until it ends by itself."""
        self.stop = None
        self.end(ending)

    def end(self, ending: Ending | None = None, retry_ms: int | None = None) -> None:
        """End the stream after its pending bytes, and what feeds it; further calls do nothing.

        Args:
            ending: Encoded as the last message; None if the client has gone or reads nothing.
            retry_ms: Time after which the client reconnects, in milliseconds; None for that of the
                ending.
        """
        if self.is_ended:
            return
        super().end(ending, retry_ms)
        self._release()
        stop, self.stop = self.stop, None
        if stop is not None:
            stop()

    def _release(self) -> None:
        """Let those go on who wait until the server has taken what they have sent."""
        senders, self._senders = self._senders, []
        for sender in senders:
            if not sender.done():
                sender.set_result(None)

    async def __anext__(self) -> bytes:
        """Wait for the next bytes to write; a heartbeat if none come for a while.

        Raises:
            StopAsyncIteration: After the bytes of the ending.
        """
        if not self._ahead and not self._pending:
            self._release()
            if self._begin is not None and not self.is_ended:
                begin, self._begin = self._begin, None
                begin(self)
        try:
            async with asyncio.timeout(self.heartbeat):
                return await super().__anext__()
        except TimeoutError:
            return HEARTBEAT


def _no_loader(personal: Personal) -> bytes:
    """Return no message: the stream has no fragments."""
    return b""
