"""The reports: a long job, done by a worker, whose progress every open page follows.

The progress is a fragment, for all pages show the same. The worker's log is a stream that each
page has to itself, and that goes on where a page was cut off.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Literal

from markupsafe import escape
from quart import Blueprint, Response, redirect, render_template, url_for
from quart.typing import ResponseReturnValue

from example.jobs import Jobs
from example.live import sse, telling
from example.models import Job
from example.people import signed_in_as
from example.store import store
from example.views import by_htmx
from example.yearly import QUESTIONS
from quart_sse import Event

#: Interval in which the log looks for new lines, in seconds.
LOOK = 0.5

pages = Blueprint("reports", __name__, url_prefix="/reports")

reports = sse.channel("reports", "/reports", public=True)


# `every` shows an expired lease, which no process publishes, and progress that a worker could not
# publish because the broker was unavailable.
@reports.fragment("progress", every=3.0)
async def progress() -> str:
    job = await jobs().newest()
    return await render_template(
        "_progress.html",
        job=job,
        state=job.state(time.time()) if job else "none",
        questions=QUESTIONS,
    )


async def progress_changed() -> None:
    """Refresh the progress on open pages, from a web process or a worker."""
    with telling():
        await reports.topic().refresh("progress")


async def report_ended(job: Job, message: str, level: Literal["success", "error"]) -> None:
    """Notify the user who has asked for the report, from a web process or a worker."""
    if job.asked_by is not None:
        with telling():
            # A worker answers no request, so it knows no other URL.
            await sse.user(job.asked_by).notify(
                message, level=level, data={"url": "/reports"}, id=f"report:{job.id}:{job.asked}"
            )


@pages.get("")
async def page() -> str:
    return await render_template("reports.html", has_worker=not sse.broker.is_shared)


@pages.post("")
async def build() -> ResponseReturnValue:
    person = signed_in_as()
    await jobs().ask(person.nickname if person else None)
    await progress_changed()
    return ("", 204) if by_htmx() else redirect(url_for(".page"), 303)


@pages.get("/log")
async def log() -> Response:
    return await sse.stream(lines, resume=True)


async def lines(last_event_id: str | None) -> AsyncIterator[Event]:
    """Send what the worker has found, and finds, for as long as the page is open.

    Args:
        last_event_id: The job and the number of its lines that the page has, such as ``3-7``.
    """
    sent = last_event_id or ""
    while True:
        job = await jobs().newest()
        of, _, number_sent = sent.partition("-")
        is_of_job = job is not None and of == str(job.id) and number_sent.isdecimal()
        first = int(number_sent) if is_of_job else 0
        for number, text in enumerate(job.findings[first:] if job else (), first + 1):
            sent = f"{job.id}-{number}" if job else ""
            title = QUESTIONS[number - 1].title
            html = f"<li><b>{escape(title)}.</b> {escape(text)}</li>"
            yield Event(html, name="line", id=sent)
        await asyncio.sleep(LOOK)


def jobs() -> Jobs:
    return Jobs(store())
