"""Stock Firefox, by WebDriver BiDi: https://www.w3.org/TR/webdriver-bidi/"""

import asyncio
import itertools
import json
import os
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import websockets

from tests.support.shared_browser import firefox_path

from .face import Engine, Profile, Tab, TabError

#: Asks nobody for news, and shows no first page.
PREFERENCES = {
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.aboutwelcome.enabled": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.enabled": False,
}
#: Forbids all sites to keep anything.
NO_COOKIES = {"network.cookie.cookieBehavior": 2}


class Firefox(Engine):
    """A Firefox that runs.

    Args:
        socket: Leads to it.
    """

    name = "firefox"

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.errors = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def begin(self) -> None:
        """Begin a session, whose pages say what they log."""
        await self.ask("session.new", capabilities={})
        await self.ask("session.subscribe", events=["log.entryAdded"])

    async def read(self) -> None:
        """Take answers, and what pages log."""
        async for text in self._socket:
            message = json.loads(text)
            if "id" in message:
                answer = self._asked.pop(message["id"])
                if not answer.done():
                    answer.set_result(message)
            elif message["params"].get("level") == "error":
                self.errors.append(message["params"]["text"])

    async def ask(self, method: str, **params: object) -> dict[str, Any]:
        """Send a command and return its result."""
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        command = {"id": number, "method": method, "params": params}
        await self._socket.send(json.dumps(command))
        async with asyncio.timeout(30):
            message = await answer
        if message["type"] == "error":
            raise TabError(f"{message['error']}: {message['message']}")
        result: dict[str, Any] = message["result"]
        return result

    async def new_profile(self) -> "FirefoxProfile":
        """Return another user's browser."""
        made = await self.ask("browser.createUserContext")
        return FirefoxProfile(self, made["userContext"])


@dataclass
class FirefoxProfile(Profile):
    """A user context."""

    firefox: Firefox
    id: str

    async def open_blank(self) -> "FirefoxTab":
        """Open a tab with an empty page, in front of the others."""
        made = await self.firefox.ask("browsingContext.create", type="tab", userContext=self.id)
        tab = FirefoxTab(self.firefox, made["context"])
        await tab.activate()
        return tab

    async def close(self) -> None:
        """Close all its tabs."""
        await self.firefox.ask("browser.removeUserContext", userContext=self.id)


@dataclass
class FirefoxTab(Tab):
    """A top-level browsing context."""

    firefox: Firefox
    context: str

    async def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        result = await self._run(f"JSON.stringify({expression}) ?? 'null'")
        return json.loads(result["value"])

    async def _run(self, expression: str) -> dict[str, Any]:
        answer = await self.firefox.ask(
            "script.evaluate",
            expression=expression,
            target={"context": self.context},
            awaitPromise=False,
        )
        if answer["type"] == "exception":
            raise TabError(answer["exceptionDetails"]["text"])
        result: dict[str, Any] = answer["result"]
        return result

    async def type(self, selector: str, text: str) -> None:
        """Focus a field and type into it."""
        await self.click(selector)
        keys = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        await self._act({"type": "key", "id": "keyboard", "actions": keys})

    async def click(self, selector: str) -> None:
        """Click on an element."""
        element = (await self._run(f"document.querySelector({selector!r})"))["sharedId"]
        origin = {"type": "element", "element": {"sharedId": element}}
        moves = [
            {"type": "pointerMove", "x": 0, "y": 0, "origin": origin},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        await self._act({"type": "pointer", "id": "mouse", "actions": moves})

    async def _act(self, source: dict[str, object]) -> None:
        await self.firefox.ask("input.performActions", context=self.context, actions=[source])

    async def activate(self) -> None:
        """Bring it to the front; the tab that was there is hidden."""
        await self.firefox.ask("browsingContext.activate", context=self.context)

    async def close(self) -> None:
        """Close it."""
        await self.firefox.ask("browsingContext.close", context=self.context)


@asynccontextmanager
async def start_firefox(*, cookies: bool = True) -> AsyncIterator[Firefox]:
    """Run Firefox.

    Args:
        cookies: Whether sites may keep anything.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
            for name, value in (PREFERENCES if cookies else PREFERENCES | NO_COOKIES).items()
        ]
        (Path(folder) / "user.js").write_text("".join(lines))
        process = await asyncio.create_subprocess_exec(
            *(firefox_path(), "--headless", "--no-remote", "--profile", folder),
            *("--remote-debugging-port=0", "about:blank"),
            env={**os.environ, "HOME": folder, "MOZ_CRASHREPORTER_DISABLE": "1"},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr
        try:
            address = await _address(process.stderr)
            # What else it logs is read, so that it never waits for a reader.
            log = asyncio.create_task(process.stderr.read())
            async with websockets.connect(
                f"{address}/session", max_size=None, ping_interval=None
            ) as socket:
                firefox = Firefox(socket)
                reading = asyncio.create_task(firefox.read())
                await firefox.begin()
                yield firefox
                reading.cancel()
        finally:
            process.terminate()
            await process.wait()
        await log


async def _address(log: asyncio.StreamReader) -> str:
    """Return where it listens, as its log says."""
    async with asyncio.timeout(30):
        while line := await log.readline():
            if found := re.search(rb"BiDi listening on (ws://\S+)", line):
                return found[1].decode()
    raise AssertionError("Firefox ended at once")
