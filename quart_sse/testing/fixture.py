"""The object behind the fixture ``live_page`` of the pytest plugin."""

import asyncio
from typing import Any

from ..errors import LivePageError
from .opening import AnyClient, open_page
from .page import LivePage


class LivePages:
    """Opens live pages in one test, and leaves them at its end; the fixture ``live_page``.

    ``page = await live_page(path)`` opens one, with the arguments of :func:`live`, and without
    ``client`` where the test has a fixture for it.

    Args:
        client: The fixture ``client``, else ``app``, of the test; None if there is neither.
    """

    def __init__(self, client: Any = None) -> None:
        self._client = client
        self._open: list[tuple[asyncio.AbstractEventLoop, LivePage]] = []
        self._closing: list[asyncio.Task[None]] = []  #: kept, or they could be collected

    async def __call__(
        self,
        path: str,
        *,
        client: AnyClient | None = None,
        timeout: float = 5.0,
        **options: Any,
    ) -> LivePage:
        """Return a page that is open until the end of the test.

        Args:
            path: Path and query of the page.
            client: As for :func:`live`; None for the fixture ``client`` of the test, or else a new
                client of its fixture ``app``.
            timeout: As for :func:`live`.
            options: As for :func:`live`.

        Raises:
            LivePageError: As for :func:`live`, or if there is neither a client nor a fixture.
            SetupError: As for :func:`live`.

        Example:
            ``page = await live_page("/discussion/7")``
        """
        chosen = self._client if client is None else client
        if chosen is None:
            raise LivePageError(
                "live_page() has no client: the test has neither a fixture client, which is a test "
                "client of Quart, nor a fixture app. Define one, or pass client=."
            )
        page = await open_page(chosen, path, timeout, **options)
        self._open.append((asyncio.get_running_loop(), page))
        return page

    def finish(self) -> None:
        """Leave all pages, after the test; those of a loop that was closed are left already."""
        for loop, page in self._open:
            if loop.is_running():
                self._closing.append(loop.create_task(page.close()))
            elif not loop.is_closed():
                loop.run_until_complete(page.close())
        self._open.clear()
