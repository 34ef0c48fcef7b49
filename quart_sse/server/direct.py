"""Direct writes: batches go to Uvicorn without a turn of each stream's task.

Uvicorn frames each message by itself and writes it to the transport of the socket. For a batch the
frame is the same on every stream, so it is made once (RFC 9112, 7.1), and each stream costs one
write. That holds only where Uvicorn would write just these bytes, so its own ``send`` is asked for
each stream: in place of the request it gets one whose transport only notes a sample. If it writes
at once, but other bytes (another release, an extension of chunks), each batch is given to its
``send``. Whatever else is there (HTTP/1.0, a ``send`` that waits) leaves both to the stream's task,
as on any other server.
"""

from collections.abc import Mapping
from typing import Any

from ..hub import Batch, Outlet, chunk_of

#: Modules of the requests whose ``send`` is known to keep nothing that a direct write passes by.
_KNOWN = ("uvicorn.protocols.http.httptools_impl", "uvicorn.protocols.http.h11_impl")
_SAMPLE = b"data: sample\n\n"


class _CycleOutlet:
    """An outlet of one stream that Uvicorn serves.

    Args:
        cycle: Uvicorn's request.
    """

    __slots__ = ("_cycle",)

    def __init__(self, cycle: Any) -> None:
        self._cycle = cycle


class UvicornOutlet(_CycleOutlet):
    """The transport of one stream that Uvicorn serves."""

    __slots__ = ()

    def write(self, batch: Batch) -> bool:
        """Write a batch, unless the client is behind or has gone; return whether it is written.

        Where the transport is full, the stream's task waits in Uvicorn's ``send``, as it would
        anyway, and is watched there.
        """
        cycle = self._cycle
        if cycle.flow.write_paused or cycle.disconnected:
            return False
        chunk = batch.chunk or batch.make_chunk()
        if chunk is None:
            return False
        cycle.transport.write(chunk)
        return True


class SendOutlet(_CycleOutlet):
    """The ``send`` of one stream that Uvicorn serves, called by another task than the stream's."""

    __slots__ = ()

    def write(self, batch: Batch) -> bool:
        """Send a batch, unless the client is behind or has gone; return whether it is sent.

        Uvicorn waits in it only while the transport is full, so it is done in one step.

        Raises:
            RuntimeError: If Uvicorn waits although the transport takes bytes; the stream must end,
                because a part of the batch may be written.
        """
        cycle = self._cycle
        if cycle.flow.write_paused or cycle.disconnected or not batch.data:
            return False
        sending = cycle.send({"type": "http.response.body", "body": batch.data, "more_body": True})
        try:
            sending.send(None)
        except StopIteration:
            return True
        sending.close()
        raise RuntimeError("Uvicorn's send waits although the transport takes bytes.")


def find_outlet(scope: Mapping[str, Any], send: Any, is_direct: bool = True) -> Outlet | None:
    """Return the outlet of a stream whose answer has begun; None if only its task may send.

    Args:
        scope: The request's scope.
        send: The ``send`` that the middleware was called with.
        is_direct: Whether batches may go past ``send``.
    """
    cycle = getattr(send, "__self__", None)
    if type(cycle).__module__ not in _KNOWN:
        return None
    # Another one than the class's has been put in its place.
    if getattr(send, "__func__", None) is not getattr(type(cycle), "send", None):
        return None
    if scope.get("http_version") != "1.1" or scope.get("method") not in ("GET", "POST"):
        return None
    written = _written(cycle)
    if not written:
        return None
    return UvicornOutlet(cycle) if is_direct and written == chunk_of(_SAMPLE) else SendOutlet(cycle)


class _Noted:
    """A transport that notes what is written; what else Uvicorn wants of it is an error."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


def _written(cycle: Any) -> bytes:
    """Return what a request writes at once for a sample; nothing if it does not, or not only."""
    try:
        is_ready = (
            cycle.flow.write_paused in (False, True)
            and cycle.disconnected is False
            and cycle.response_complete is False
            and callable(cycle.transport.write)
        )
        sample = _Sample(cycle)
        send = type(cycle).send(
            sample, {"type": "http.response.body", "body": _SAMPLE, "more_body": True}
        )
        try:
            send.send(None)
        except StopIteration:
            return sample.transport.data if is_ready else b""
        send.close()
    except Exception:
        return b""
    return b""


class _Flow:
    """The flow control of a transport that takes everything."""

    write_paused = False


class _Sample:
    """What ``send`` takes for the request: the same but for its transport.

    What is set of it is not set of the request. A copy would leave the request larger than it was.
    """

    flow = _Flow()

    def __init__(self, cycle: Any) -> None:
        self._cycle = cycle
        self.transport = _Noted()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cycle, name)
