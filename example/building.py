"""Build reports: the work of the worker process, or of a task in the only process."""

import asyncio
import logging
import secrets
import sqlite3
from collections.abc import AsyncGenerator

from quart import current_app

from example.live import sse
from example.models import Job
from example.reports import jobs, progress_changed, report_ended
from example.store import store
from example.yearly import QUESTIONS, answer

logger = logging.getLogger(__name__)

POLL = 0.3  # interval between two queries for a job, in seconds


async def build_reports() -> None:
    """Build queued reports in the current app until cancelled."""
    worker = f"worker-{secrets.token_hex(4)}"
    while True:
        job = await claim(worker)
        if job is None:
            await asyncio.sleep(POLL)
        else:
            await build(job, worker)


async def claim(worker: str) -> Job | None:
    try:
        return await jobs().claim(worker, lease())
    except sqlite3.OperationalError as error:
        logger.warning("The database did not answer (%s); trying again.", error)
        return None


async def build(job: Job, worker: str) -> None:
    """Take the remaining steps of a job, unless another worker has claimed it meanwhile."""
    try:
        await progress_changed()
        for step in range(len(job.findings), len(QUESTIONS)):
            # A delay for the viewers, since so few rows take no time at all.
            await asyncio.sleep(current_app.config["EXAMPLE_STEP_SECONDS"])
            text = await answer(store(), QUESTIONS[step])
            if not await jobs().save(job, worker, step, text, lease()):
                logger.warning("Another worker has the report meanwhile; leaving it alone.")
                return
            await progress_changed()
        await jobs().end(job, worker)
        await report_ended(job, "Your report is ready.", "success")
    except asyncio.CancelledError:
        await jobs().give_back(job, worker)
        raise
    except Exception:
        logger.exception("The report could not be built.")
        await jobs().end(job, worker, problem="A step failed; the log says why.")
        await report_ended(job, "Your report could not be built.", "error")
    await progress_changed()


def lease() -> float:
    """Return the lease of a worker, in seconds; another worker claims its job afterwards."""
    return float(current_app.config["EXAMPLE_LEASE_SECONDS"])


async def build_while_serving() -> AsyncGenerator[None, None]:
    """Build reports in this process if the broker is not shared with a worker process."""
    if sse.broker.is_shared:
        yield
        return
    task = asyncio.create_task(build_reports())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
