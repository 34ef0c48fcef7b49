"""docs/events.md: its app runs, and its pages see what it says."""

import re

import pytest
from quart.testing import QuartClient

from quart_sse.testing import CapturedEvent, CapturedFragment, capture
from tests.support.documents import ROOT, anchors, run_document

DOCUMENT = ROOT / "docs" / "events.md"


async def test_app_of_the_page_refreshes_as_it_says() -> None:
    """By the event alone, in its own channel and in another one."""
    names = await run_document(DOCUMENT)
    app, sse = names["app"], names["sse"]
    async with app.test_app():
        with capture(sse) as captured:
            answer = await QuartClient(app).post("/shops/2/orders", form={"what": "tea"})
            assert answer.status_code == 204
            assert captured.events == [
                CapturedEvent("orders?shop=2", "created", {"shop": 2, "what": "tea"})
            ]
            assert captured.fragments == [
                CapturedFragment("orders?shop=2", "list"),
                CapturedFragment("orders?shop=2", "total"),
                CapturedFragment("stats?region=south", "count"),
            ]
            captured.clear()
            await sse.everyone.publish("closed", "holidays")
            await names["orders"].topic(shop=1).publish(names["paid_back"])
        assert sorted(each.topic for each in captured.fragments) == [
            "orders?shop=1",
            "stats?region=north",
            "stats?region=south",
        ]


async def test_errors_are_those_that_the_page_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """Each comment behind a print is a part of what is printed."""
    names = await run_document(DOCUMENT)
    async with names["app"].test_app():
        await names["wrong"]()
    printed = capsys.readouterr().out.splitlines()
    told = re.findall(r"print\(error\)  # \.\.\. (.*) \.\.\.", DOCUMENT.read_text("utf-8"))

    assert len(told) == 2
    for part, line in zip(told, printed, strict=True):
        assert part in line


def test_links_lead_somewhere() -> None:
    """To headings of other pages."""
    links = re.findall(r"\]\(([\w.-]*)#([\w-]+)\)", DOCUMENT.read_text("utf-8"))

    assert len(links) > 2
    for file, anchor in links:
        assert anchor in anchors(DOCUMENT.parent / (file or DOCUMENT.name)), (file, anchor)
