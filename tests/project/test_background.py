"""Lasting tasks: one that dies is logged and begins again, until it is stopped."""

import asyncio
import logging
from unittest.mock import patch

import pytest

from quart_sse import background
from quart_sse.background import Background
from quart_sse.error_log import ErrorLog
from tests.support.streams import until


class Work:
    """Works forever once it has failed as often as it has errors."""

    def __init__(self, *errors: BaseException) -> None:
        self._errors = list(errors)
        self.begun = 0

    async def __call__(self) -> None:
        self.begun += 1
        if self._errors:
            raise self._errors.pop(0)
        await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PAUSE", 0.01)


@pytest.mark.parametrize("error", [ZeroDivisionError("in the work"), asyncio.CancelledError()])
async def test_task_that_dies_is_logged_and_begins_again(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever kills it: also a cancellation of something that it waits for."""
    work = Work(error, error)
    task = Background("probes", work, ErrorLog())
    task.start()
    await until(lambda: work.begun == 3)
    await task.stop()

    (record,) = caplog.records  # the second is counted
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "The background task 'probes' failed; it begins again in 0.01 s."
    assert record.exc_info is not None
    assert record.exc_info[1] is error


async def test_task_that_something_else_cancels_ends() -> None:
    """As the loop does at its end."""
    before = asyncio.all_tasks()
    work = Work()
    task = Background("probes", work, ErrorLog())
    task.start()
    await until(lambda: work.begun)
    (running,) = asyncio.all_tasks() - before
    running.cancel()
    await asyncio.wait([running], timeout=5)

    assert running.cancelled()
    assert work.begun == 1


@pytest.mark.parametrize("is_failing", [False, True])
async def test_stopped_task_has_ended(is_failing: bool) -> None:
    """Also in the pause after a failure; stopping again does nothing, and it can start again."""
    before = asyncio.all_tasks()
    work = Work(*[ZeroDivisionError()] * is_failing)
    task = Background("probes", work, ErrorLog())
    with patch.object(background, "PAUSE", 60.0):
        for begun in (1, 2):
            task.start()
            await until(lambda begun=begun: work.begun == begun)  # type: ignore[misc]
            await task.stop()
            await task.stop()

            assert asyncio.all_tasks() == before


def test_task_of_a_loop_that_has_ended_is_abandoned() -> None:
    """The next loop starts another one."""
    work = Work()
    task = Background("probes", work, ErrorLog())

    async def begin() -> None:
        task.start()
        await until(lambda: work.begun)

    for begun in (1, 2):
        work.begun = 0
        loop = asyncio.new_event_loop()
        loop.run_until_complete(begin())
        task.abandon()
        loop.run_until_complete(asyncio.sleep(0))
        assert asyncio.all_tasks(loop) == set(), begun
        loop.close()
        task.abandon()
