"""Chromium with tabs as people have them.

Playwright keeps each of its tabs visible and focused, their timers quick and the back-forward cache
off. Here tabs of one window hide each other, and the browser is started without these switches; so
they are driven by Chromium's own protocol: https://chromedevtools.github.io/devtools-protocol/
"""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from playwright.async_api import Browser, CDPSession, async_playwright

from tests.support.browsers import EXPECTED_NOISE
from tests.support.chromium import CHROMIUM_ARGS, chromium_path
from tests.support.servers import PAUSE

#: What Playwright says to Chromium by default, and a person does not.
UNREAL = [
    "--disable-background-timer-throttling",
    "--disable-back-forward-cache",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
]


class TabError(Exception):
    """A tab answered with an error, such as that its page has gone."""


class Chromium:
    """A browser of one test's own.

    Args:
        browser: As Playwright started it.
        protocol: Its session for the browser as a whole.
    """

    def __init__(self, browser: Browser, protocol: CDPSession) -> None:
        self.browser = browser
        self.protocol = protocol
        self.errors: list[str] = []  #: what pages log or throw
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        protocol.on("Target.receivedMessageFromTarget", self._take)

    async def new_profile(self) -> "Profile":
        """Return another user's browser: cookies, workers and connections of its own."""
        answer = await self.protocol.send("Target.createBrowserContext")
        return Profile(self, answer["browserContextId"])

    async def ask(self, session: str, method: str, **params: object) -> dict[str, Any]:
        """Send a tab an order and return its answer."""
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        message = json.dumps({"id": number, "method": method, "params": params})
        try:
            await self.protocol.send(
                "Target.sendMessageToTarget", {"sessionId": session, "message": message}
            )
            async with asyncio.timeout(10):
                told = await answer
        finally:
            del self._asked[number]
        if "error" in told:
            raise TabError(told["error"]["message"])
        result: dict[str, Any] = told["result"]
        return result

    def _take(self, received: dict[str, Any]) -> None:
        message = json.loads(received["message"])
        answer = self._asked.get(message.get("id", 0))
        if answer is not None and not answer.done():
            answer.set_result(message)
        params = message.get("params", {})
        if "exceptionDetails" in params or params.get("type") == "error":
            self.errors.append(received["message"])  # thrown, or logged with console.error

    async def kill_workers(self) -> int:
        """Kill every SharedWorker, as the system does that needs its memory; returns how many."""
        found = await self.protocol.send("Target.getTargets")
        workers = [info for info in found["targetInfos"] if info["type"] == "shared_worker"]
        for info in workers:
            await self.protocol.send("Target.closeTarget", {"targetId": info["targetId"]})
        return len(workers)

    async def processes(self) -> list[int]:
        """Return the ids of its processes."""
        found = await self.protocol.send("SystemInfo.getProcessInfo")
        return [int(info["id"]) for info in found["processInfo"]]

    @contextmanager
    def asleep(self, processes: list[int]) -> Iterator[None]:
        """Stop its processes, as a computer does whose lid is shut, until the block ends."""
        try:
            for process in processes:
                os.kill(process, signal.SIGSTOP)
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)


@dataclass
class Profile:
    """One person's browser."""

    chromium: Chromium
    id: str

    async def open(self, url: str) -> "Tab":
        """Open a tab in front of the others, and wait until its page is live."""
        tab = await self.open_blank()
        await tab.go(url)
        await tab.until_state("open")
        return tab

    async def open_blank(self) -> "Tab":
        """Open a tab with an empty page."""
        protocol = self.chromium.protocol
        made = await protocol.send(
            "Target.createTarget", {"url": "about:blank", "browserContextId": self.id}
        )
        attached = await protocol.send(
            "Target.attachToTarget", {"targetId": made["targetId"], "flatten": False}
        )
        tab = Tab(self.chromium, made["targetId"], attached["sessionId"])
        await tab.ask("Runtime.enable")
        return tab

    async def set_cookie(self, url: str, name: str, value: str) -> None:
        """Set a cookie."""
        cookie = {"url": url, "name": name, "value": value}
        await self.chromium.protocol.send(
            "Storage.setCookies", {"cookies": [cookie], "browserContextId": self.id}
        )


@dataclass
class Tab:
    """A tab of a real window."""

    chromium: Chromium
    target: str
    session: str
    url: str = field(default="about:blank")

    async def ask(self, method: str, **params: object) -> dict[str, Any]:
        """Send an order and return the answer."""
        return await self.chromium.ask(self.session, method, **params)

    async def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression.

        Raises:
            TabError: If it throws, or the page goes away meanwhile.
        """
        answer = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise TabError(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    async def until(self, expression: str, seconds: float = 30.0) -> float:
        """Wait until an expression is true; returns the seconds that it took."""
        begun, last = time.monotonic(), None
        while True:
            try:
                last = await self.evaluate(expression)
            except TabError as error:
                last = str(error)
            else:
                if last:
                    return time.monotonic() - begun
            if time.monotonic() - begun > seconds:
                seen = await self.evaluate("[document.documentElement.dataset.sseState, got]")
                raise AssertionError(f"after {seconds} s: {expression} is {last!r}; page: {seen}")
            await asyncio.sleep(PAUSE)

    async def until_state(self, state: str) -> float:
        """Wait until the page says that its connection is in a state."""
        return await self.until(f"document.documentElement.dataset.sseState === '{state}'")

    async def go(self, url: str) -> None:
        """Go to another page, by a link of this one."""
        await self.evaluate(f"location.href = {url!r}")
        await self.until(f"location.href === {url!r} && document.readyState === 'complete'")

    async def go_back(self, url: str) -> None:
        """Go back to the page before, which had that URL."""
        await self.evaluate("history.back()")
        await self.until(f"location.href === {url!r} && document.readyState === 'complete'")

    async def reasons_of_reload(self) -> set[str]:
        """Return why the page that was gone back to is not the kept one; empty if it is."""
        told = await self.evaluate(
            "JSON.stringify(performance.getEntriesByType('navigation')[0].notRestoredReasons)"
        )
        return {reason["reason"] for reason in (json.loads(told) or {"reasons": []})["reasons"]}

    async def close(self) -> None:
        """Close it."""
        await self.chromium.protocol.send("Target.closeTarget", {"targetId": self.target})

    async def crash(self) -> None:
        """Let the process of its page die."""
        # The tab cannot answer any more.
        message = json.dumps({"id": 0, "method": "Page.crash", "params": {}})
        await self.chromium.protocol.send(
            "Target.sendMessageToTarget", {"sessionId": self.session, "message": message}
        )


@asynccontextmanager
async def start_chromium() -> AsyncIterator[Chromium]:
    """Run a browser, and see in the end that its pages logged no error."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium_path(), args=CHROMIUM_ARGS, ignore_default_args=UNREAL
        )
        chromium = Chromium(browser, await browser.new_browser_cdp_session())
        yield chromium
        await browser.close()
    assert [error for error in chromium.errors if not EXPECTED_NOISE.search(error)] == []
