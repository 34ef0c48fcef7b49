"""The reports: a long job, done by a worker, whose progress every open page follows."""

import time
from typing import Literal

from quart import Blueprint, redirect, render_template, url_for
from quart.typing import ResponseReturnValue

from example.jobs import Jobs
from example.live import sse, telling
from example.models import Job
from example.people import signed_in_as
from example.store import store
from example.views import by_htmx
from example.yearly import QUESTIONS

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


def jobs() -> Jobs:
    return Jobs(store())
