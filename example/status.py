"""The status page: what the live part does, and how it is.

It shows the figures of all processes (`sse.processes.stats()`), and charts of what has changed in
them since the render before. Programs read the same: `/metrics` is for Prometheus, if its client
is installed, and `/sse/~stats` for moderators.
"""

import time
from collections import deque
from importlib.util import find_spec
from itertools import pairwise

from quart import Blueprint, Response, abort, current_app, render_template

from example.chart import Curve, draw_curve
from example.live import comments, sse
from example.lounge import may_moderate
from example.store import store
from quart_sse import BrokerUnavailable, Stats

pages = Blueprint("status", __name__)

EVERY = 2.0  # interval of the renders, in seconds
SAMPLES = 61  # kept ones: two minutes
MESSAGES = 8  # shown

status = sse.channel("status", "/status", public=True)
sse.stats_endpoint(authorize=may_moderate)
sse.inspector(authorize=may_moderate)
metrics = sse.metrics() if find_spec("prometheus_client") else None

Samples = deque[tuple[float, Stats]]


# Public, so it names no identity and no topic. Without viewers nothing is rendered, nor asked.
@status.fragment("figures", every=EVERY)
async def figures() -> str:
    try:
        found = await sse.processes.stats()
        total, silent = found.total, len(found.silent)
    except BrokerUnavailable:
        total, silent = sse.stats(), 0  # the others cannot be asked
    samples = samples_of_app()
    samples.append((time.monotonic(), total))
    return await render_template(
        "_figures.html", total=total, silent=silent, curves=curves(samples)
    )


@status.fragment("messages", every=EVERY)
async def messages() -> str:
    """Show the newest events of public discussions, which the broker keeps for clients."""
    kept = [
        (event, discussion)
        for discussion in await store().summaries()
        if not discussion.moderators_only
        for event in await comments.topic(discussion_id=discussion.id).history(limit=MESSAGES)
    ]
    kept.sort(key=lambda each: each[0].time, reverse=True)
    return await render_template("_messages.html", kept=kept[:MESSAGES])


@pages.get("/status")
async def page() -> str:
    return await render_template("status.html")


@pages.get("/metrics")
async def prometheus() -> Response:
    """Tell Prometheus; an app on the internet lets no other client ask."""
    if metrics is None:
        abort(404)
    return Response(metrics.exposition(), content_type=metrics.content_type)


def samples_of_app() -> Samples:
    """Return the newest samples of this process's app."""
    kept: Samples = current_app.extensions.setdefault("forum_samples", deque(maxlen=SAMPLES))
    return kept


def curves(samples: Samples) -> list[Curve]:
    """Return what has changed per second, from each sample to the next one."""
    steps = [
        (now - then, before, after)
        for (then, before), (now, after) in pairwise(samples)
        if now > then
    ]
    # A process that has gone takes what it has counted with it.
    delivered = [max(b.delivered - a.delivered, 0) / seconds for seconds, a, b in steps]
    written = [max(b.written - a.written, 0) / 1024 / seconds for seconds, a, b in steps]
    places, span = SAMPLES - 1, f"{(SAMPLES - 1) * EVERY / 60:.0f} min"
    return [
        draw_curve("Messages delivered", "per second", delivered, places, span),
        draw_curve("Written", "KiB per second", written, places, span),
    ]
