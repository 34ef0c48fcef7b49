"""Opens live pages on Quart's test client."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol, cast

from quart import Quart
from quart.testing import QuartClient
from quart.typing import TestClientProtocol

from ..errors import LivePageError
from .document import Document
from .page import LivePage, services_of

#: Time that an app's background tasks have when it stops after a test, in seconds; Quart's is 5.
_GRACE = 0.1
_GRACE_KEY = "BACKGROUND_TASK_SHUTDOWN_TIMEOUT"
#: What of the options for the page is for its other requests, too.
_KEPT = frozenset({"headers", "scheme", "root_path", "http_version", "scope_base", "auth"})


class HasClient(Protocol):
    """An app, or what ``app.test_app()`` gives."""

    def test_client(self) -> Any:
        """Return a new client."""


#: A test client, or what has one. Quart's own client lacks a part of Quart's protocol.
AnyClient = QuartClient | TestClientProtocol | HasClient


async def open_page(client: AnyClient, path: str, timeout: float = 5.0, **options: Any) -> LivePage:
    """Return a page of a test, whose stream is open or was refused; see :func:`live`."""
    given: Any = client if hasattr(client, "request") else client.test_client()
    opened_by = cast("QuartClient", given)
    app = opened_by.app
    services_of(app)
    response = await opened_by.get(path, **options)
    kind = response.mimetype
    if response.status_code != 200 or kind != "text/html":
        where = response.headers.get("Location")
        to = f" and leads to {where}; is the client signed in?" if where else f" as {kind}."
        raise LivePageError(
            f"{path} is no page: it was answered {response.status_code}{to} A live page is HTML "
            "with status 200."
        )
    html = await response.get_data(as_text=True)
    if not Document(html).connects:
        raise LivePageError(
            f"{path} has no connect element, so it is not live. Put {{{{ sse_connect() }}}} at its "
            "end, or use sse_live()."
        )
    if app.config[_GRACE_KEY] == Quart.default_config[_GRACE_KEY]:
        # Or each test of an app with an endless background task takes these five seconds.
        app.config[_GRACE_KEY] = _GRACE
    kept = {name: value for name, value in options.items() if name in _KEPT}
    page = LivePage(opened_by, response, html, timeout, kept)
    try:
        await page._opened()
    except BaseException:
        await page.close()
        raise
    return page


@asynccontextmanager
async def live(
    client: AnyClient, path: str, *, timeout: float = 5.0, **options: Any
) -> AsyncIterator[LivePage]:
    """Open a page in a test as a browser does, and leave it at the end of the block.

    The page is fetched, and its stream is opened, with the client's cookies. It works with and
    without ``app.test_app()``, with one event loop for all tests and with one for each.

    Args:
        client: A test client of Quart, such as one that is signed in; or the app.
        path: Path and query of the page.
        timeout: How long the page waits for something, in seconds, where a call does not say it.
        options: Options of the client's ``get()``, such as ``headers``.

    Returns:
        The page.

    Raises:
        LivePageError: If the answer is no page, the page has no connect element, or its stream
            does not open in time. A stream that is refused is no error: ``page.closed`` says it.
        SetupError: If the client's app is not initialised for quart_sse.

    Example:
        .. code-block:: python

            async def test_a_comment_reaches_open_pages(client):
                async with live(client, "/discussion/7") as page:
                    await client.post("/discussion/7/comments", form={"text": "I do!"})
                    assert "I do!" in await page.fragment("comments.list")
    """
    page = await open_page(client, path, timeout, **options)
    try:
        yield page
    finally:
        await page.close()
