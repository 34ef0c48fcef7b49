"""docs/streams.md: its code runs as printed, and its views send what the page says."""

import json
import re
from typing import Any

import pytest
from quart import render_template_string

from tests.support.documents import ROOT, anchors, blocks, run
from tests.support.streams import open_stream

PAGE = ROOT / "docs" / "streams.md"
MACROS = '{% from "quart_sse/macros.html" import sse_stream %}'

NUMBERS = [("number", "0"), ("number", "1"), ("number", "2")]
PERCENT = [("progress", json.dumps({"percent": 10 * done})) for done in range(1, 11)]
LINES = [("line", line) for line in ("started", "read 10 rows", "read 20 rows", "done")]


async def namespace_of_page() -> dict[str, Any]:
    """Run the code of the page, in its order."""
    namespace: dict[str, Any] = {"__name__": "streams_page"}
    for block in blocks(PAGE, "python"):
        await run(block, namespace)
    return namespace


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("/report", PERCENT),
        ("/log", LINES),
        ("/count", [*NUMBERS, ("message", "that was all")]),
        ("/work", NUMBERS),
        ("/numbers", NUMBERS),
    ],
)
async def test_view_sends_what_the_page_says(url: str, sent: list[tuple[str, str]]) -> None:
    """Each of its views, to the end."""
    app = (await namespace_of_page())["app"]

    async with open_stream(app, url) as stream:
        found = [(event.event, event.data) for event in await stream.rest()]

    assert found[1:] == [*sent, ("sse-stop", "done")]


async def test_log_goes_on_after_a_cut() -> None:
    """By the id of the last line."""
    app = (await namespace_of_page())["app"]

    async with open_stream(app, "/log", {"Last-Event-ID": "1"}) as stream:
        found = [event.data for event in await stream.rest() if event.event == "line"]

    assert found == ["read 20 rows", "done"]


async def test_template_of_the_page_writes_the_element() -> None:
    """With the URL of the view, and what stands inside."""
    app = (await namespace_of_page())["app"]
    (template,) = blocks(PAGE, "jinja")
    async with app.test_request_context("/"):
        html = await render_template_string(MACROS + template.code)

    assert html.startswith('<div sse-stream="/report">\n<progress')
    assert html.endswith("</ol>\n</div>")


def test_links_lead_somewhere() -> None:
    """To headings that are there."""
    for file, anchor in re.findall(r"\]\(([\w-]+\.md)(?:#([\w-]+))?\)", PAGE.read_text("utf-8")):
        assert (PAGE.parent / file).is_file()
        assert not anchor or anchor in anchors(PAGE.parent / file)
