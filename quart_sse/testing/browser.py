"""Pages in a real browser, driven by Playwright."""

import inspect
from typing import Any, Protocol

from ..errors import LivePageError

#: Whether the page has settled: its stream is open, wholly or in part, or stopped for good.
_SETTLED = "() => /open|partial|stopped/.test(document.documentElement.dataset.sseState)"
_STATE = "() => document.documentElement.dataset.sseState || ''"
_HINTS = {
    "": "It has no connect element, or does not load quart-sse.js: see sse_scripts() and "
    "sse_connect().",
    "partial": "The server refuses some of its topics or fragments, which QuartSSE's event "
    "sse:refused lists: may this browser listen to all that the page shows?",
    "stopped": "The server has refused or closed it: may this browser listen to what the page "
    "shows?",
}


class BrowserPage(Protocol):
    """What is used of Playwright's ``Page``."""

    def wait_for_function(self, expression: str, *, timeout: float | None = None) -> Any:
        """Wait until an expression is true in the page; ``timeout`` is in milliseconds."""

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page."""


async def until_live(page: BrowserPage, timeout: float = 10.0) -> None:
    """Wait until a page in a real browser has its stream.

    What is published from then on reaches it. A page that the server refuses is an error at once.

    Args:
        page: A ``Page`` of Playwright's async API. With the sync API, call
            ``page.wait_for_selector("html[data-sse-state=open]")`` instead.
        timeout: How long to wait, in seconds.

    Raises:
        LivePageError: If the page is not live in time, or is refused.

    Example:
        .. code-block:: python

            async def test_a_comment_appears(page):
                await page.goto("http://127.0.0.1:8000/discussion/7")
                await until_live(page)
    """
    waiting = page.wait_for_function(_SETTLED, timeout=1000 * timeout)
    if not inspect.isawaitable(waiting):
        raise LivePageError(
            "until_live() takes a page of Playwright's async API. With the sync API, call "
            'page.wait_for_selector("html[data-sse-state=open]").'
        )
    try:
        await waiting
    except Exception as error:
        if type(error).__name__ != "TimeoutError":  # Playwright's own, which is not imported here
            raise
        cause: Exception | None = error
    else:
        cause = None
    state = await page.evaluate(_STATE)
    if state != "open":
        hint = _HINTS.get(state, "The server does not answer, or holds the browser off.")
        after = f" after {timeout:g} s" if cause is not None else ""
        raise LivePageError(
            f"The page is not live{after}; its state is {state!r}. {hint}"
        ) from cause
