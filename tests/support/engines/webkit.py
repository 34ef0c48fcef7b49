"""WebKit as GTK has it, by classic WebDriver (https://www.w3.org/TR/webdriver2/) under Xvfb.

One driver is one session, and that is one browser with a profile of its own. Commands go to the
window that was selected last, so each selects its own first, under a lock.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx

from tests.support.servers import PAUSE, free_port, until_so

from .face import Engine, Profile, Tab, TabError

#: Where Debian has the small browser of WebKit, of one version or more.
BROWSERS = "*/webkit2gtk-4.*/MiniBrowser"
#: The key of elements in answers (WebDriver, 12.1).
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class WebKit(Engine):
    """Runs a driver and a browser for each profile.

    Args:
        environ: With the display.
        log: Of drivers and browsers.
        stack: Ends them.
        cookies: Whether sites may keep anything.
    """

    name = "webkit"
    reports_errors = False

    def __init__(
        self, environ: dict[str, str], log: IO[bytes], stack: AsyncExitStack, *, cookies: bool
    ) -> None:
        self.errors = []
        self._cookies = cookies
        self._environ = environ
        self._log = log
        self._stack = stack

    async def new_profile(self) -> "WebKitProfile":
        """Start a driver with a browser."""
        port = free_port()
        path = shutil.which("WebKitWebDriver")
        assert path, "WebKit is missing; 'make test' installs it: webkit2gtk-driver"
        process = await asyncio.create_subprocess_exec(
            *(path, f"--port={port}", "--host=127.0.0.1"),
            env=self._environ,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        self._stack.push_async_callback(_end, process)
        http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20)
        await self._stack.enter_async_context(http)
        profile = WebKitProfile(http)
        await profile.begin([] if self._cookies else ["--cookies-policy=never"])
        return profile


class WebKitProfile(Profile):
    """A browser of WebKit.

    Args:
        http: Leads to its driver.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.lock = asyncio.Lock()
        self._http = http
        self._session = ""
        self._unused: str | None = None  #: the window with which it has begun
        self._current: str | None = None

    async def begin(self, args: list[str]) -> None:
        """Start the browser as soon as the driver answers."""
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    await self._http.get("/status")
                    break
                await asyncio.sleep(PAUSE)
        options = {"binary": _browser(), "args": ["--automation", *args]}
        wanted = {"alwaysMatch": {"webkitgtk:browserOptions": options}}
        made = await self.command("POST", "/session", {"capabilities": wanted})
        self._session = f"/session/{made['sessionId']}"
        self._unused = self._current = await self.command("GET", "/window")

    async def command(self, method: str, path: str, body: object = None) -> Any:
        """Send a command to the window that is selected; returns the value of the answer."""
        if method == "POST" and body is None:
            body = {}
        try:
            answer = await self._http.request(method, self._session + path, json=body)
        except httpx.TimeoutException as error:
            raise TabError(f"{method} {path} was not answered") from error
        value = answer.json()["value"]
        if isinstance(value, dict) and "error" in value:
            raise TabError(f"{value['error']}: {value.get('message', '')}")
        return value

    async def select(self, window: str | None, *, again: bool = False) -> None:
        """Select a window for what follows."""
        if window != self._current or again:
            await self.command("POST", "/window", {"handle": window})
            self._current = window

    async def open_blank(self) -> "WebKitTab":
        """Open a tab with an empty page, in front of the others."""
        async with self.lock:
            window, self._unused = self._unused, None
            if window is None:
                # A new one is asked of one that is there.
                if self._current is None:
                    await self.select((await self.command("GET", "/window/handles"))[0])
                made = await self.command("POST", "/window/new", {"type": "tab"})
                window = str(made["handle"])
        tab = WebKitTab(self, window)
        await tab.activate()
        return tab

    async def close_window(self, window: str) -> None:
        """Close a window; none is selected afterwards. The lock is held."""
        await self.select(window)
        await self.command("DELETE", "/window")
        self._current = None

    async def close(self) -> None:
        """Close the browser."""
        with contextlib.suppress(httpx.HTTPError, TabError):
            await self.command("DELETE", "")


@dataclass
class WebKitTab(Tab):
    """A window of a driver."""

    profile: WebKitProfile
    window: str

    async def _command(self, method: str, path: str, body: object = None) -> Any:
        await self.profile.select(self.window)
        return await self.profile.command(method, path, body)

    async def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        script = {"script": f"return ({expression})", "args": []}
        async with self.profile.lock:
            return await self._command("POST", "/execute/sync", script)

    async def go(self, url: str) -> None:
        """Go to another page, by a link of this one."""
        await self.evaluate(f"void (location.href = {url!r})")
        await self._arrive(url)

    async def go_back(self, url: str) -> None:
        """Go back to the page before, which had that URL."""
        await self.evaluate("void history.back()")
        await self._arrive(url)

    async def _arrive(self, url: str) -> None:
        """Wait for a page; a script that a page is asked to run as it goes may never answer."""

        async def is_there() -> bool:
            async with self.profile.lock:
                return bool(await self._command("GET", "/url") == url)

        await until_so(is_there)
        await self.until("document.readyState === 'complete'")

    async def _element(self, selector: str) -> str:
        found = {"using": "css selector", "value": selector}
        return str((await self._command("POST", "/element", found))[ELEMENT])

    async def type(self, selector: str, text: str) -> None:
        """Focus a field and type into it."""
        async with self.profile.lock:
            element = await self._element(selector)
            await self._command("POST", f"/element/{element}/value", {"text": text})

    async def click(self, selector: str) -> None:
        """Click on an element."""
        async with self.profile.lock:
            element = await self._element(selector)
            await self._command("POST", f"/element/{element}/click")

    async def activate(self) -> None:
        """Bring it to the front; the tab that was there is hidden."""
        async with self.profile.lock:
            await self.profile.select(self.window, again=True)

    async def close(self) -> None:
        """Close it."""
        async with self.profile.lock:
            await self.profile.close_window(self.window)


def _browser() -> str:
    return str(max(Path("/usr/lib").glob(BROWSERS)))


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


@asynccontextmanager
async def _display() -> AsyncIterator[str]:
    """Run an X server that shows nothing, and return the name of its display."""
    path = shutil.which("Xvfb")
    assert path, "Xvfb is missing; 'make test' installs it, or: apt-get install xvfb"
    reader, writer = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(path, "-displayfd", str(writer), "-screen", "0", "1280x900x24", "-nolisten", "tcp"),
        pass_fds=[writer],
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    os.close(writer)
    try:
        # It writes the number and the line break one after the other; a reader that closes between
        # the two ends it.
        with os.fdopen(reader) as pipe:
            yield ":" + (await asyncio.to_thread(pipe.readline)).strip()
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def start_webkit(*, cookies: bool = True) -> AsyncIterator[WebKit]:
    """Run what WebKit needs; each profile is a browser of its own.

    Args:
        cookies: Whether sites may keep anything.
    """
    async with AsyncExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        log = stack.enter_context((Path(home) / "log").open("wb"))
        environ = {
            **os.environ,
            "DISPLAY": await stack.enter_async_context(_display()),
            "HOME": home,
            "XDG_RUNTIME_DIR": home,
            "XDG_CACHE_HOME": f"{home}/cache",
            "GDK_BACKEND": "x11",
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "WEBKIT_DISABLE_DMABUF_RENDERER": "1",
            "NO_AT_BRIDGE": "1",
            "GSETTINGS_BACKEND": "memory",
        }
        yield WebKit(environ, log, stack, cookies=cookies)
