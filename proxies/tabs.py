"""Pages in Chromium behind one proxy, whose app is killed and comes back."""

import asyncio
import signal
import time

from playwright.async_api import ProxySettings, async_playwright

from tests.support.servers import Server
from tests.support.shared_browser import CHROMIUM_ARGS, chromium_path

from .running import Running, serve_app

TABS = 8
#: The option of a context is not one of its shared workers, which open connections as well.
TRUSTING = ("--ignore-certificate-errors",)
#: Seconds without the app.
AWAY = 4.0
_OPEN = "() => document.documentElement.dataset.sseState === 'open'"
_IS_CURRENT = "() => document.getElementById('count').textContent === '7'"


async def until_current(running: Running, app: Server) -> float:
    """Return how long all tabs take to show what is new, from the app's return on."""
    proxy = None
    if running.proxy.is_forward:
        server = f"http://127.0.0.1:{running.port}"
        proxy = ProxySettings(server=server, bypass="<-loopback>")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium_path(), args=[*CHROMIUM_ARGS, *TRUSTING], proxy=proxy
        )
        context = await browser.new_context()
        pages = [await context.new_page() for _ in range(TABS)]
        await asyncio.gather(*(page.goto(f"{running.origin}/") for page in pages))
        await asyncio.gather(*(page.wait_for_function(_OPEN) for page in pages))
        app.process.send_signal(signal.SIGKILL)
        await app.process.wait()
        await asyncio.sleep(AWAY)
        async with serve_app(0.5, running.app) as again:
            begun = time.monotonic()
            await again.post("/count/7")
            await asyncio.gather(*(page.wait_for_function(_IS_CURRENT) for page in pages))
            seconds = time.monotonic() - begun
            await browser.close()
    return seconds
