"""What a view gives as the source of a stream: which kind it is, and how it runs."""

import contextvars
import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from .feeding import BlockingOwnStream, OwnStream
from .items import StreamItem

#: What may feed a stream.
StreamSource: TypeAlias = (
    AsyncIterable[StreamItem]
    | Iterable[StreamItem]
    | Callable[[OwnStream], Awaitable[None]]
    | Callable[[BlockingOwnStream], None]
)
#: What may feed a stream that goes on after a cut: it is called with the last id of the client.
ResumableSource: TypeAlias = Callable[
    [str | None], AsyncIterable[StreamItem] | Iterable[StreamItem]
]

_KINDS = (
    "Pass a generator, such as sse.stream(rows()), or a function that takes the stream: "
    "async def rows(stream): await stream.send('row', 1)."
)


class _Kind(Enum):
    ASYNC_ITEMS = 1
    ITEMS = 2
    ASYNC_CALLBACK = 3
    CALLBACK = 4


@dataclass(frozen=True, slots=True)
class Source:
    """What feeds one stream.

    Args:
        given: A generator or another iterable, or a callback.
        kind: Which of them it is.
        name: What the log calls it.
        resumes: Whether it goes on where its client was cut off.
        context: The context of the view, in which it runs.
    """

    given: Any
    kind: _Kind
    name: str
    resumes: bool
    context: contextvars.Context = field(default_factory=contextvars.copy_context)

    @property
    def is_sync(self) -> bool:
        """Whether it may block, so that it runs in a thread."""
        return self.kind in (_Kind.ITEMS, _Kind.CALLBACK)

    async def run(self, stream: OwnStream) -> None:
        """Feed a stream until an async source ends, and let it clean up in any case.

        Raises:
            ConnectionClosedError: If the stream has ended.
            Exception: Any error of the source.
        """
        if self.kind is _Kind.ASYNC_CALLBACK:
            await self.given(stream)
            return
        items = aiter(self.given)
        try:
            async for item in items:
                await stream.send(item)
        finally:
            if hasattr(items, "aclose"):
                await items.aclose()

    def run_blocking(self, stream: BlockingOwnStream) -> None:
        """Do what :meth:`run` does, with a sync source."""
        if self.kind is _Kind.CALLBACK:
            answer = self.given(stream)
            if inspect.iscoroutine(answer):
                answer.close()
                raise TypeError(
                    "A callback of sse.stream() returned a coroutine, but is no async function. "
                    "Declare it with async def, or pass functools.partial(callback, ...)."
                )
            return
        items = iter(self.given)
        try:
            for item in items:
                stream.send(item)
        finally:
            if hasattr(items, "close"):
                items.close()


def source_of(given: Any, name: str, resume: bool, last_event_id: str | None) -> Source:
    """Return what feeds a stream, from what a view has given.

    Args:
        given: What the view has given.
        name: What the log calls it.
        resume: Whether it is a function that is called with the client's last id.
        last_event_id: Id of the last event that the client has; None if it begins.

    Raises:
        TypeError: If it cannot feed a stream.
    """
    if not resume:
        return Source(given, _kind_of(given), name, resumes=False)
    if not callable(given) or inspect.iscoroutinefunction(given):
        raise TypeError(
            f"sse.stream(..., resume=True) got {given!r}, which cannot begin again where a client "
            "was cut off. Pass the generator function itself, rows and not rows(); it is called "
            "with last_event_id, a str or None."
        )
    items = given(last_event_id)
    kind = _kind_of_items(items)
    if kind is None:
        if inspect.iscoroutine(items):
            items.close()
        raise TypeError(
            f"The function of sse.stream(..., resume=True) returned {items!r}. Let it return a "
            "generator, as a generator function does."
        )
    return Source(items, kind, name, resumes=True)


def _kind_of_items(given: Any) -> _Kind | None:
    if hasattr(given, "__aiter__"):
        return _Kind.ASYNC_ITEMS
    is_text = isinstance(given, str | bytes | bytearray | memoryview | Mapping | type)
    return _Kind.ITEMS if hasattr(given, "__iter__") and not is_text else None


def _kind_of(given: Any) -> _Kind:
    if inspect.isawaitable(given):
        if inspect.iscoroutine(given):
            given.close()
        raise TypeError(f"sse.stream() got a coroutine. {_KINDS}")
    kind = _kind_of_items(given)
    if kind is not None:
        return kind
    if inspect.isasyncgenfunction(given) or inspect.isgeneratorfunction(given):
        raise TypeError(
            f"sse.stream() got the generator function {given!r}. Call it, or pass resume=True: it "
            "is then called with last_event_id, and again after a cut."
        )
    if not callable(given) or isinstance(given, type):
        raise TypeError(f"sse.stream() got {given!r}, which cannot feed a stream. {_KINDS}")
    is_async = inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(given.__call__)
    return _Kind.ASYNC_CALLBACK if is_async else _Kind.CALLBACK
