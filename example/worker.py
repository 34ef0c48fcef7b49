"""The worker: `python -m example.worker` builds the reports that people ask for in the forum.

It is a process of its own, which serves no page and renders no fragment: it saves its findings and
publishes a refresh, and the processes with viewers render. Start as many as you like.
"""

import asyncio
import logging
import signal
import sys
from contextlib import suppress

from quart import Quart

from example.app import create_app
from example.building import build_reports
from example.live import sse


async def work(app: Quart) -> None:
    """Build reports until a signal stops this process."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with app.app_context():
        if not sse.broker.is_shared:
            sys.exit(
                "QUART_SSE_BROKER_URL names no Redis, so no page would receive what this worker "
                "publishes. Set it for the worker and the forum; without it the forum builds its "
                "reports itself."
            )
        try:
            await build_reports()
        finally:
            await sse.broker.stop()


def main() -> None:
    logging.basicConfig(format="%(message)s")
    with suppress(asyncio.CancelledError):
        asyncio.run(work(create_app()))


if __name__ == "__main__":
    main()
