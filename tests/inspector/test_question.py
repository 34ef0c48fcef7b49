"""Questions: what a page asks for, as a URL and as a topic."""

import pytest

from quart_sse.inspector.question import MAX_ASKED, NOTHING, condition, read, written


def test_question_makes_a_round_trip() -> None:
    """One that asks for the same has the same topic, so that its renders are shared."""
    asked = {"topic": "rooms?room=1", "identity": " ä&b ", "after": "", "nothing": "x"}
    text = written("connections", asked)

    assert text == written("connections", dict(reversed(asked.items())))
    assert read("connections", text) == {"topic": "rooms?room=1", "identity": "ä&b"}
    assert written("overview", asked) == NOTHING
    assert read("overview", NOTHING) == {}
    assert read("people", NOTHING) == {}


@pytest.mark.parametrize(
    ("view", "text"),
    [
        ("nothing", NOTHING),
        ("people", "x=1"),
        ("overview", "x=1"),
        ("connections", "nothing=1"),
        ("connections", ""),
        ("connections", "identity=a&identity=b"),
        ("connections", "topic=b&identity=a"),
        ("connections", "identity=+a"),
        ("connections", f"identity={'a' * MAX_ASKED}"),
    ],
)
def test_topic_that_no_page_has_is_none(view: str, text: str) -> None:
    """So clients make up none, and each question has one topic."""
    assert read(view, text) is None


def test_question_that_is_too_long_asks_for_nothing() -> None:
    """Names of topics are bounded."""
    assert written("topic", {"name": "ä" * 1_000}) == NOTHING
    assert len(written("topic", {"name": "a" * 5_000})) <= MAX_ASKED


def test_metadata_are_compared_as_text_and_as_json() -> None:
    """Who types 5 may mean either."""
    assert condition({"metadata": "level=5", "channel": "a"}) == {
        "channel": "a",
        "where": {"level": ["5", 5]},
    }
    assert condition({"metadata": " role = admin "}) == {"where": {"role": ["admin"]}}
    assert condition({"metadata": "list=[1]"}) == {"where": {"list": ["[1]"]}}
    assert condition({"metadata": "n=NaN"})["where"] == {"n": ["NaN", "NaN"]}
    assert condition({"metadata": "role"}) == {}
    assert condition({"part": "x", "after": "y"}) == {"part": "x"}
