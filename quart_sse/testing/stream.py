"""One event stream of a test: opened on Quart's test client, and read in blocks."""

import asyncio
import codecs
import re
from types import TracebackType
from typing import Any

from quart.testing.connections import TestHTTPConnection

_FIELD = re.compile(r"(\w+): ?(.*)", re.DOTALL)

#: The fields of one block; ``data`` has the lines of all its data fields.
Block = dict[str, str]


def read_block(text: str) -> Block:
    """Return the fields of one block, as quart-sse.js reads them.

    Args:
        text: The lines of the block.
    """
    block: Block = {}
    for line in text.split("\n"):
        found = _FIELD.fullmatch(line)
        if found is not None:
            name, value = found[1], found[2]
            is_more = name == "data" and name in block
            block[name] = f"{block[name]}\n{value}" if is_more else value
    return block


class PageStream:
    """An open stream; leaving it is what a browser does that goes away.

    Args:
        connection: The test client's connection, which is not open yet.
    """

    def __init__(self, connection: TestHTTPConnection) -> None:
        self._connection = connection
        inner: Any = connection.app

        async def app(scope: Any, receive: Any, send: Any) -> None:
            try:
                await inner(scope, receive, send)
            finally:  # or a reader would wait for the next bytes of a request that has ended
                await send({"type": "http.disconnect"})

        connection.app = app  # type: ignore[assignment]
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._rest = ""
        self._is_over = False

    @property
    def refusal(self) -> str | None:
        """Why the answer is no stream, such as ``status 404``; None if it is one."""
        connection = self._connection
        headers = connection.headers
        kind = "" if headers is None else headers.get("Content-Type", "")
        if connection.status_code == 200 and kind.startswith("text/event-stream"):
            return None
        return f"status {connection.status_code}"

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that the answer sets."""
        headers = self._connection.headers
        given = [] if headers is None else headers.getlist("Set-Cookie")
        pairs = (each.partition(";")[0].partition("=") for each in given)
        return {name: value for name, _, value in pairs}

    async def __aenter__(self) -> "PageStream":
        """Open the stream."""
        await self._connection.__aenter__()
        await self._connection.send_complete()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Leave the stream, and wait until the app has noticed it.

        Raises:
            Exception: What the app has raised in the request, if it hands errors on.
        """
        await self._connection.disconnect()
        try:
            await self._connection.__aexit__(None, None, None)  # type: ignore[arg-type]
        except ExceptionGroup as group:  # of the tasks in which Quart serves a request
            error: Exception = group
            while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
                error = error.exceptions[0]
            raise error from None

    async def read(self) -> list[Block] | None:
        """Wait for bytes and return the blocks that they complete; None after the end."""
        if self._is_over:
            return None
        chunk = await self._receive()
        if not chunk:  # Quart ends every response so
            self._is_over = True
            return None
        *blocks, self._rest = (self._rest + self._decoder.decode(chunk)).split("\n\n")
        return [read_block(block) for block in blocks]

    async def _receive(self) -> bytes:
        """Return the next bytes; none at the end, of which some releases of Quart say nothing."""
        connection: Any = self._connection
        receiving: asyncio.Future[bytes] = asyncio.ensure_future(connection.receive())
        either: set[asyncio.Future[Any]] = {receiving, connection._task}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0)  # for what the request has sent last
            if not receiving.done():
                return b""
            return receiving.result()
        except Exception as error:
            if type(error).__name__ == "HTTPDisconnectError":  # of others
                return b""
            raise
        finally:
            receiving.cancel()
