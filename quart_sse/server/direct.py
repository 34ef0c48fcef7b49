"""Direct writes: batches go to Uvicorn's transport without a turn of each stream's task.

Uvicorn frames each message by itself and writes it to the transport of the socket. For a batch the
frame is the same on every stream, so it is made once (RFC 9112, 7.1), and each stream costs one
write. That holds only where Uvicorn would write just these bytes, so its own ``send`` is asked for
each stream: a copy of the request writes a sample to a transport that only notes it. Whatever is
otherwise there (a length, HTTP/1.0, another release that writes otherwise) gives other bytes or an
error, and the stream's task sends, as on any other server.
"""

import copy
from collections.abc import Mapping
from typing import Any

from ..hub import Batch, Outlet, chunk_of

#: Modules of the requests whose ``send`` is known to keep nothing that a direct write passes by.
_KNOWN = ("uvicorn.protocols.http.httptools_impl", "uvicorn.protocols.http.h11_impl")
_SAMPLE = b"data: sample\n\n"


class UvicornOutlet:
    """The transport of one stream that Uvicorn serves.

    Args:
        cycle: Uvicorn's request.
    """

    __slots__ = ("_cycle",)

    def __init__(self, cycle: Any) -> None:
        self._cycle = cycle

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


def find_outlet(scope: Mapping[str, Any], send: Any) -> Outlet | None:
    """Return the outlet of a stream whose answer has begun; None if only its task may send.

    Args:
        scope: The request's scope.
        send: The ``send`` that the middleware was called with.
    """
    cycle = getattr(send, "__self__", None)
    if type(cycle).__module__ not in _KNOWN:
        return None
    # Another one than the class's has been put in its place.
    if getattr(send, "__func__", None) is not getattr(type(cycle), "send", None):
        return None
    if scope.get("http_version") != "1.1" or scope.get("method") not in ("GET", "POST"):
        return None
    return UvicornOutlet(cycle) if _writes_chunks(cycle) else None


class _Noted:
    """A transport that notes what is written; what else Uvicorn wants of it is an error."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


def _writes_chunks(cycle: Any) -> bool:
    """Whether a request writes a message of the body as one chunk, at once, and nothing else."""
    try:
        is_ready = (
            cycle.flow.write_paused in (False, True)
            and cycle.disconnected is False
            and cycle.response_complete is False
            and callable(cycle.transport.write)
        )
        sample = copy.copy(cycle)
        sample.transport = noted = _Noted()
        sample.flow = _Flow()
        send = type(cycle).send(
            sample, {"type": "http.response.body", "body": _SAMPLE, "more_body": True}
        )
        try:
            send.send(None)
        except StopIteration:
            return is_ready and noted.data == chunk_of(_SAMPLE)
        send.close()
    except Exception:
        return False
    return False


class _Flow:
    """The flow control of a transport that takes everything."""

    write_paused = False
