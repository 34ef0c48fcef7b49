"""Errors of an app's functions: one traceback a minute for each function, then a count."""

import logging

import pytest

from quart_sse.error_log import MOST_ONCE, QUIET, ErrorLog, OnceLog
from quart_sse.logs import LogLine

FAILED = LogLine("hub", "failed", logging.ERROR, "%(what)s failed.", what=str)
SKIPPED = LogLine("broker", "skipped", logging.WARNING, "Skipped %(what)r.", what=str)


class Clock:
    """A clock that stands where a test puts it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def errors(clock: Clock) -> ErrorLog:
    return ErrorLog(clock)


def test_thousand_errors_of_one_function_are_one_traceback_and_a_count(
    errors: ErrorLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The first is logged with its traceback; when the minute is over, how many more there were."""
    for number in range(3095):
        errors.log("renderer of 'd.list'", ValueError(number), FAILED, what=f"Topic {number}")
    (first,) = caplog.records
    clock.now = QUIET
    errors.flush()

    assert first.exc_info
    assert first.getMessage() == "Topic 0 failed."
    (_, count) = caplog.records
    assert not count.exc_info
    assert count.getMessage().startswith("The renderer of 'd.list' failed 3094 more times in 60 s")
    assert (count.name, count.__dict__["sse_event"]) == ("quart_sse.hub", "errors-repeated")


def test_each_function_has_its_own_traceback(
    errors: ErrorLog, caplog: pytest.LogCaptureFixture
) -> None:
    """A function that fails hides no other one."""
    for function in ("a", "b", "a"):
        errors.log(function, ValueError(), FAILED, what=function)

    assert [record.getMessage() for record in caplog.records] == ["a failed.", "b failed."]


def test_next_minute_begins_with_a_traceback_again(
    errors: ErrorLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that goes on is seen once a minute, with what has become of it."""
    for clock.now in (0.0, 1.0, QUIET + 1, QUIET + 2):
        errors.log("a", ValueError(), FAILED, what=f"At {clock.now:g} it")

    said = [(record.getMessage(), bool(record.exc_info)) for record in caplog.records]
    assert said == [
        ("At 0 it failed.", True),
        ("The a failed 1 more times in 61 s; its first traceback is above.", False),
        ("At 61 it failed.", True),
    ]


def test_single_error_is_not_counted(
    errors: ErrorLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Where nothing followed, nothing is said; and the function is forgotten."""
    errors.log("a", ValueError(), FAILED, what="a")
    clock.now = QUIET
    errors.flush()

    assert len(caplog.records) == 1
    assert not errors._said


def test_several_threads_flush_at_once(
    errors: ErrorLog,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Here another one does while a count is written; each is written once."""
    for function in "aabb":
        errors.log(function, ValueError(), FAILED, what=function)
    clock.now = QUIET
    handle = caplog.handler.emit

    def emit(record: logging.LogRecord) -> None:
        errors.flush()
        handle(record)

    monkeypatch.setattr(caplog.handler, "emit", emit)
    errors.flush()

    counts = [record.getMessage()[:22] for record in caplog.records if not record.exc_info]
    assert sorted(counts) == ["The a failed 1 more ti", "The b failed 1 more ti"]


def test_warning_that_is_said_once_comes_once_for_each_thing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """However often a thing comes, and however many come from outside, the log stays short."""
    once = OnceLog()
    for number in range(10 * MOST_ONCE):
        once.warn("dance", SKIPPED, what="dance")
        once.warn(str(number), SKIPPED, what=str(number))

    assert [record.getMessage() for record in caplog.records[:3]] == [
        "Skipped 'dance'.",
        "Skipped '0'.",
        "Skipped '1'.",
    ]
    assert len(caplog.records) == MOST_ONCE
