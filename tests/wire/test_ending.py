"""Endings: one table of them, in the code and in the protocol."""

import re
from pathlib import Path

import pytest
from httpx import Response
from httpx_sse import EventSource, ServerSentEvent

from quart_sse.wire.ending import Ending

ROOT = Path(__file__).parents[2]


def read(message: bytes) -> ServerSentEvent:
    """Decode the one event of a message by a parser that is not ours."""
    headers = {"Content-Type": "text/event-stream"}
    (event,) = EventSource(Response(200, headers=headers, content=message)).iter_sse()
    return event


@pytest.mark.parametrize("ending", [ending for ending in Ending if not ending.is_final])
def test_holdoff_comes_with_a_random_delay(ending: Ending) -> None:
    """Clients that are sent away together come back at different times around the one meant."""
    sent = [read(ending.encode()) for _ in range(200)]

    assert {(event.event, event.data, event.id) for event in sent} == {
        ("sse-holdoff", ending.reason, "")
    }
    delays = [(event.retry or 0) / 1000 for event in sent]
    assert ending.seconds is not None
    assert 0.5 * ending.seconds <= min(delays) + 0.001 < 0.8 * ending.seconds
    assert 1.2 * ending.seconds < max(delays) <= 1.5 * ending.seconds


@pytest.mark.parametrize("ending", [ending for ending in Ending if ending.is_final])
def test_stop_says_why_and_how_to_come_back_late(ending: Ending) -> None:
    """A client gets a reason; one that comes back all the same an id and a long pause."""
    event = read(ending.encode())

    assert (event.event, event.data) == ("sse-stop", ending.reason)
    assert (event.id, event.retry) == ("stop", 3_600_000)


def test_protocol_has_the_table() -> None:
    """The protocol lists every ending with its message, delay and status, and no others."""
    text = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    row = r"^\| `([a-z-]+)` \| `(sse-\w+)` \| ([\d.]+ s|never) \| (\d+) \|"
    rows = re.findall(row, text, re.M)

    assert rows == [
        (
            ending.reason,
            "sse-stop" if ending.is_final else "sse-holdoff",
            "never" if ending.seconds is None else f"{ending.seconds:g} s",
            str(ending.status),
        )
        for ending in Ending
    ]


def test_no_ending_is_written_anywhere_else() -> None:
    """The names of the two messages stand in one module, so no ending can be made beside it."""
    makers = {
        path.name
        for path in (ROOT / "quart_sse").rglob("*.py")
        if re.search(r"Event\([^)]*sse-(holdoff|stop)", path.read_text("utf-8"))
    }

    assert makers == {"ending.py"}
