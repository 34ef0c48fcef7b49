"""Pages of other origins: what a browser lets them read of a channel's own URL."""

import re
from typing import Any

import pytest
from playwright.async_api import Browser

from tests.support.servers import Server, serve

pytestmark = pytest.mark.browser

#: Opens a stream, and returns the first thing that comes.
OPEN = """(url) => new Promise((resolve) => {
    const source = new EventSource(url, {withCredentials: true});
    source.addEventListener("sse-open", () => resolve("open"));
    source.onerror = () => resolve("error");
})"""
#: Asks as a script does that resumes, which a browser allows only after a preflight.
FETCH = """async ([url, accept]) => {
    const headers = {Accept: accept, "Cache-Control": "no-cache", "Last-Event-ID": "0",
        "X-SSE-Page": "page", "HX-Request": "true"};
    const response = await fetch(url, {headers, credentials: "include"}).catch(String);
    if (!response.ok && !response.status) return response;
    const reader = response.body.getReader();
    const text = new TextDecoder().decode((await reader.read()).value);
    await reader.cancel();
    return [response.status, text.replace(/retry: \\d+/, "retry"), response.headers.get("X-Name")];
}"""


def command(name: str) -> Any:
    """Return how a server is started."""
    return lambda port: {
        "uvicorn": ("-m", "uvicorn", "tests.apps.origins:app", "--port", str(port)),
        "hypercorn": ("-m", "hypercorn", "-b", f"127.0.0.1:{port}", "tests.apps.origins:app"),
    }[name]


@pytest.mark.parametrize("name", ["uvicorn", "hypercorn"])
async def test_page_of_another_origin_reads_streams_and_refusals(
    browser: Browser, name: str
) -> None:
    """A listed page reads all of the channel's own URL, others and other URLs nothing."""

    async def look(server: Server, page: Any, path: str, accept: str = "text/event-stream") -> Any:
        return await page.evaluate(FETCH, [f"http://127.0.0.1:{server.port}{path}", accept])

    async with serve(command(name)) as own:
        friend = f"http://localhost:{own.port}"
        async with serve(command(name), {"ORIGINS": friend}) as server:
            url = f"http://127.0.0.1:{server.port}/sse/rooms/1"
            page = await browser.new_page()
            await page.goto(friend)
            opened = await page.evaluate(OPEN, url)
            stream = await look(server, page, "/sse/rooms/1")
            refused = await look(server, page, "/sse/closed")
            by_status = await look(server, page, "/sse/closed", "*/*")
            shared = await look(server, page, "/sse?t=~rooms?room=1")
            stranger = await browser.new_page()
            await stranger.goto(f"http://127.0.0.1:{own.port}")
            denied = await stranger.evaluate(OPEN, url)
            unread = await look(server, stranger, "/sse/rooms/1")

    assert (opened, denied) == ("open", "error")
    assert stream[0] == 200
    assert stream[2] == "rooms"
    assert refused[0] == 200
    assert "event: sse-stop\ndata: refused" in refused[1]
    assert by_status[0] == 403
    unreadable = re.compile("TypeError: (Failed to fetch|NetworkError .*)")
    assert all(isinstance(each, str) and unreadable.fullmatch(each) for each in (shared, unread))
