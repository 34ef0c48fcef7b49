"""What the server of a request holds for it: found beside the request, whatever wraps the app.

An application cannot close a socket or learn that its server stops, except by the server's own
objects. Every middleware may replace ``send`` and ``receive``, copy the scope, or call the app in
a task of its own. So they are looked for where no middleware is: in the frame of the server's own
coroutine. Each look is a ``getattr``: if a server has changed, its own default behaviour remains.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

#: Most coroutines of a task, from its first one to the one that waits.
_DEPTH = 20


def find_transport(scope: Mapping[str, Any], send: Any, task: "asyncio.Task[Any] | None") -> Any:
    """Return the asyncio transport of a request's socket; None if it is out of reach.

    Uvicorn's ``send`` is a method of the object with the transport. Hypercorn's is two objects
    further: stream, protocol, server. Granian exposes none. Over HTTP/2 other requests share the
    socket, so it must stay open.

    Args:
        scope: The request's scope.
        send: The ``send`` that the app was called with.
        task: The task that the app was called in.
    """
    if scope.get("http_version") not in {"1.0", "1.1"}:
        return None
    for candidate in _sends(scope, send, task):
        owner = candidate
        for _ in range(3):
            owner, function = getattr(owner, "__self__", None), owner
            for holder in (owner, getattr(owner, "writer", None)):
                transport = getattr(holder, "transport", None)
                if hasattr(transport, "abort"):
                    return transport
            owner = getattr(owner, "send", function)
    return None


def _sends(scope: Mapping[str, Any], send: Any, task: "asyncio.Task[Any] | None") -> Iterator[Any]:
    """Yield what may be the server's own ``send`` of a request, the likeliest first."""
    yield send
    yield from (found for _, found in _calls(task))
    # A middleware that calls the app in another task, such as Starlette's BaseHTTPMiddleware.
    for other in asyncio.all_tasks():
        for theirs, found in _calls(other):
            if _is_same(theirs, scope):
                yield found


def _calls(task: "asyncio.Task[Any] | None") -> Iterator[tuple[Any, Any]]:
    """Yield scope and ``send`` of the request for which a server made a task.

    Uvicorn's coroutine is a method of its request, Hypercorn's a function with these arguments.
    """
    frame = None if task is None else getattr(task.get_coro(), "cr_frame", None)
    names = {} if frame is None else frame.f_locals
    request = names.get("self")
    own = None
    with contextlib.suppress(Exception):  # it may be anything, a proxy too
        own = request.scope, request.send  # type: ignore[union-attr]
    if own is not None:
        yield own
    elif "scope" in names and "send" in names:
        yield names["scope"], names["send"]


def _is_same(one: Any, other: Mapping[str, Any]) -> bool:
    """Whether two scopes are of one request; a copy holds the same list of headers."""
    return one is other or (
        isinstance(one, Mapping) and one.get("headers", one) is other.get("headers")
    )


def find_worker() -> Any:
    """Return the context of the Hypercorn worker that runs in this loop; None if there is none.

    It has the events ``terminated``, which is set when the worker begins to stop, and
    ``terminate``, which lets it stop.
    """
    for task in asyncio.all_tasks():
        coroutine: Any = task.get_coro()
        for _ in range(_DEPTH):
            frame = getattr(coroutine, "cr_frame", None)
            if frame is None:
                break
            context = frame.f_locals.get("context")
            # By its class, for the variable of an app's own task may be anything, a proxy too.
            is_hypercorn_s = type(context).__module__.startswith("hypercorn.")
            if is_hypercorn_s and hasattr(context, "terminated"):
                return context
            coroutine = getattr(coroutine, "cr_await", None)
    return None
