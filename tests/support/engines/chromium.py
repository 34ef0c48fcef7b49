"""Chromium with tabs as people have them.

Playwright keeps each of its tabs visible and focused, their timers quick and the back-forward cache
off. Here tabs of one window hide each other, and the browser is started without these switches; so
they are driven by Chromium's own protocol: https://chromedevtools.github.io/devtools-protocol/
"""

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, CDPSession, async_playwright

from tests.support.browsers import EXPECTED_NOISE
from tests.support.servers import until_so
from tests.support.shared_browser import CHROMIUM_ARGS, chromium_path

from .face import Engine, Profile, Tab, TabError

#: What Playwright says to Chromium by default, and a person does not.
UNREAL = [
    "--disable-background-timer-throttling",
    "--disable-back-forward-cache",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
]


class Chromium(Engine):
    """A Chromium that runs.

    Args:
        browser: As Playwright started it.
        protocol: Its session for the browser as a whole.
    """

    name = "chromium"

    def __init__(self, browser: Browser, protocol: CDPSession) -> None:
        self.browser = browser
        self.protocol = protocol
        self.errors = []
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        protocol.on("Target.receivedMessageFromTarget", self._take)

    async def new_profile(self) -> "ChromiumProfile":
        """Return another user's browser: cookies, workers and connections of its own."""
        answer = await self.protocol.send("Target.createBrowserContext")
        return ChromiumProfile(self, answer["browserContextId"])

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
class ChromiumProfile(Profile):
    """A browser context."""

    chromium: Chromium
    id: str

    async def open(self, url: str, state: str = "open") -> "ChromiumTab":
        """Open a tab in front of the others, and wait until its page is live."""
        tab = await self.open_blank()
        await tab.go(url)
        await tab.until_state(state)
        return tab

    async def close(self) -> None:
        """Close all its tabs."""
        await self.chromium.protocol.send(
            "Target.disposeBrowserContext", {"browserContextId": self.id}
        )

    async def open_blank(self) -> "ChromiumTab":
        """Open a tab with an empty page."""
        protocol = self.chromium.protocol
        made = await protocol.send(
            "Target.createTarget", {"url": "about:blank", "browserContextId": self.id}
        )
        attached = await protocol.send(
            "Target.attachToTarget", {"targetId": made["targetId"], "flatten": False}
        )
        tab = ChromiumTab(self.chromium, made["targetId"], attached["sessionId"])
        await tab.ask("Runtime.enable")
        return tab

    async def set_cookie(self, url: str, name: str, value: str) -> None:
        """Set a cookie."""
        cookie = {"url": url, "name": name, "value": value}
        await self.chromium.protocol.send(
            "Storage.setCookies", {"cookies": [cookie], "browserContextId": self.id}
        )


@dataclass
class ChromiumTab(Tab):
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

    async def type(self, selector: str, text: str) -> None:
        """Focus a field and type into it."""
        await self.click(selector)
        for key in text:
            await self.ask("Input.dispatchKeyEvent", type="keyDown", text=key, key=key)
            await self.ask("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def click(self, selector: str) -> None:
        """Click on an element."""
        box = f"document.querySelector({selector!r}).getBoundingClientRect()"
        await self.evaluate(f"document.querySelector({selector!r}).scrollIntoViewIfNeeded()")
        x, y = await self.evaluate(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({box})"
        )
        for kind in ("mousePressed", "mouseReleased"):
            at = {"x": x, "y": y, "button": "left", "clickCount": 1}
            await self.ask("Input.dispatchMouseEvent", type=kind, **at)

    async def activate(self) -> None:
        """Bring it to the front; the tab that was there is hidden."""
        await self.chromium.protocol.send("Target.activateTarget", {"targetId": self.target})

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
async def start_chromium(*, cookies: bool = True) -> AsyncIterator[Chromium]:
    """Run a browser, and see in the end that its pages logged no error.

    Args:
        cookies: Whether sites may keep anything.
    """
    async with async_playwright() as playwright:
        if cookies:
            browser = await playwright.chromium.launch(
                executable_path=chromium_path(), args=CHROMIUM_ARGS, ignore_default_args=UNREAL
            )
            chromium = Chromium(browser, await browser.new_browser_cdp_session())
            yield chromium
            await browser.close()
        else:
            async with _without_cookies() as address:
                browser = await playwright.chromium.connect_over_cdp(address)
                chromium = Chromium(browser, await browser.new_browser_cdp_session())
                yield chromium
    assert [error for error in chromium.errors if not EXPECTED_NOISE.search(error)] == []


@asynccontextmanager
async def _without_cookies() -> AsyncIterator[str]:
    """Run a Chromium whose settings forbid sites to keep anything; returns where it listens."""
    settings = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        (Path(folder) / "Default").mkdir()
        (Path(folder) / "Default/Preferences").write_text(json.dumps(settings))
        process = await asyncio.create_subprocess_exec(
            *(chromium_path(), *CHROMIUM_ARGS, "--headless", f"--user-data-dir={folder}"),
            *("--remote-debugging-port=0", "about:blank"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            said = Path(folder) / "DevToolsActivePort"

            async def listens() -> bool:
                return said.exists() and len(said.read_text().splitlines()) == 2

            await until_so(listens)
            port, path = said.read_text().splitlines()
            yield f"ws://127.0.0.1:{port}{path}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
