"""Notifications: how they are made, written and read."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from quart_sse import EventError, Notification
from quart_sse.wire import make_notification, read_notification, write_notification


def test_it_has_an_id_and_a_time_of_its_own() -> None:
    """Both are made; what is left out is plain."""
    one, other = make_notification("Saved"), make_notification("Saved")

    assert one.id != other.id
    assert timedelta(0) <= datetime.now(UTC) - one.time < timedelta(minutes=1)
    assert (one.message, one.level, one.title, one.data) == ("Saved", "info", None, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"level": "warn"}, "Did you mean 'warning'\\? Pass one of 'info', 'success'"),
        ({"level": ["error"]}, "Pass one of"),
        ({"message": 7}, "message of a notification is 7. Pass a str"),
        ({"message": None}, "Pass a str"),
        ({"message": " \n"}, "is empty"),
        ({"title": b"x"}, "title of a notification is b'x'"),
        ({"id": "a b"}, "Use 1 to 64"),
        ({"id": "x" * 65}, "Use 1 to 64"),
        ({"id": 7}, "or leave it out"),
    ],
)
def test_what_cannot_be_one_is_named(given: dict[str, Any], message: str) -> None:
    """The error says what to pass instead."""
    with pytest.raises(EventError, match=message):
        make_notification(**{"message": "x", **given})


def test_it_is_read_as_it_was_written() -> None:
    """To the millisecond."""
    given = make_notification("<b>", "error", "Täglich", {"a": [1]}, "report:12")

    read = read_notification(write_notification(given, json.dumps))

    ms = given.time.microsecond // 1000 * 1000
    assert read == Notification(
        "report:12", given.time.replace(microsecond=ms), "<b>", "error", "Täglich", {"a": [1]}
    )


@pytest.mark.parametrize(
    "text", [None, "", "7", "[]", "{}", '{"level": "info"}', '{"level": "loud"}']
)
def test_what_is_none_is_none(text: str | None) -> None:
    """Another release may have written it."""
    assert read_notification(text) is None
