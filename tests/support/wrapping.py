"""Middleware as users have it around an app: what it replaces, copies, or runs elsewhere."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

App = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]


def with_own_send(app: App) -> App:
    """Replace ``send`` and ``receive``, and copy the scope, as error trackers do."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        async def own_send(message: Any) -> None:
            await send(message)

        async def own_receive() -> Any:
            return await receive()

        await app(dict(scope), own_receive, own_send)

    return wrapped


def in_own_task(app: App) -> App:
    """Call the app in a task of its own, and hand over what it sends, as Starlette's does."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        messages: asyncio.Queue[Any] = asyncio.Queue(1)
        task = asyncio.create_task(app(dict(scope), receive, messages.put))
        task.add_done_callback(lambda _: messages.put_nowait(None) if messages.empty() else None)
        try:
            while not (task.done() and messages.empty()):
                message = await messages.get()
                if message is not None:
                    await send(message)
        finally:
            task.cancel()

    return wrapped


def without_lifespan(app: App) -> App:
    """Mount the app inside another one, which alone gets the lifespan."""

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for answer in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{answer}.complete"})
        else:
            await app(scope, receive, send)

    return outer


WRAPPINGS: dict[str, Callable[[App], App]] = {
    "send": with_own_send,
    "task": in_own_task,
    "mounted": without_lifespan,
}
