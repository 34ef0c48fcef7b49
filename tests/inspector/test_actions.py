"""Actions: what an operator does to one connection, in any process, and the log of it."""

import json
import logging

import pytest

from tests.support.operators import URL, Operator
from tests.support.sites import Site, heard


def logged(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, object]]:
    """Return the fields of the lines of a name."""
    return [
        record.__dict__["sse_fields"]
        for record in caplog.records
        if record.__dict__.get("sse_event") == name
    ]


async def test_actions_reach_a_connection_of_another_process(
    shops: tuple[Site, Site], caplog: pytest.LogCaptureFixture
) -> None:
    """An event, a notification and the end; each is logged with who did it."""
    here, there = shops
    operator = Operator(here, "op-ada")
    async with there.view(1, who="bob") as (stream, handle):
        place = await operator.act(handle.id, "send", event="hello", data='{"n": 1}')
        assert place == f"{URL}/connection?id={handle.id}&done=send"
        assert "The event was sent." in await operator.look(place.removeprefix(URL))
        await operator.act(handle.id, "send", event="hello", data="no {json")
        await operator.act(handle.id, "notify", message="Please reload", level="warning", title="")
        events = await heard(stream, 2)
        note = await stream.next("connection.sse-notification")
        await operator.act(handle.id, "disconnect", retry="60")
        end = await stream.next("sse-holdoff")

    assert [(name, json.loads(data)) for name, data in events[:1]] == [
        ("connection.hello", {"n": 1})
    ]
    assert events[1] == ("connection.hello", "no {json")
    told = json.loads(note.data)
    assert (told["message"], told["level"], told["title"]) == ("Please reload", "warning", None)
    assert end.event == "sse-holdoff"
    assert logged(caplog, "inspector-action") == [
        {"who": "op-ada", "action": action, "connection": handle.id, "outcome": "done"}
        for action in ("send", "send", "notify", "disconnect")
    ]


async def test_what_fails_says_why_and_is_logged(
    shop: Site, operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    """The form keeps what was typed."""
    async with shop.view(1) as (_, handle):
        html = await operator.act(handle.id, "send", 422, event="sse-stop", data="<b>5</b>")
        assert "is reserved" in html
        assert "&lt;b&gt;5&lt;/b&gt;</textarea>" in html
        assert "no number of seconds" in await operator.act(
            handle.id, "disconnect", 422, retry="-1"
        )
        assert "message" in await operator.act(handle.id, "notify", 422, message=" ")
        assert handle.is_open
    gone = await operator.act(handle.id, "disconnect", retry="")

    assert gone.endswith("done=gone")
    assert [line["outcome"] for line in logged(caplog, "inspector-action")] == [
        *(["failed"] * 3),
        "it was not open",
    ]
    assert {
        record.levelno for record in caplog.records if record.name == "quart_sse.inspector"
    } == {logging.WARNING}


async def test_what_no_form_asks_for_is_refused(
    operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    """And no client writes lines of the log."""
    html = await operator.look("/connection?id=some.id")
    csrf = html.partition('name="csrf" value="')[2].partition('"')[0]
    for action, id in (
        ("shutdown", "some.id"),
        ("send", "x\nFAKE LINE"),
        ("send", ""),
        ("send", "x" * 500),
    ):
        form = {"csrf": csrf, "action": action, "id": id}
        assert (await operator.client.post(f"{URL}/~act", form=form)).status_code == 422

    assert not logged(caplog, "inspector-action")
    assert "FAKE" not in caplog.text
