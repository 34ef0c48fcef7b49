"""One browser for all tests: starting one takes longer than most of what they do in it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import Any, Self

CHROMIUM_ARGS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync", "--disable-quic"),
    *("--disable-background-networking", "--disable-component-update"),
]
#: Tests after which a Firefox is started again: it grows with each, to 1.7 GB after 130, and slows.
MOST_TESTS = 40


def chromium_path() -> str:
    """Return where Debian's Chromium is."""
    path = shutil.which("chromium")
    assert path, "Chromium is missing; 'make test' installs it, or: apt-get install chromium"
    return path


def firefox_path() -> str:
    """Return where Debian's Firefox is."""
    path = shutil.which("firefox-esr")
    assert path, "Firefox is missing; 'make test' installs it, or: apt-get install firefox-esr"
    return path


def _options(browser: str) -> dict[str, Any]:
    """Return how Playwright launches it; Debian's Firefox by WebDriver BiDi."""
    if browser == "firefox":
        return {"executablePath": firefox_path(), "channel": "moz-firefox"}
    return {"executablePath": chromium_path(), "args": CHROMIUM_ARGS}


class SharedBrowser:
    """A Chromium, or a Firefox, to which Playwright connects.

    It is a process of its own, so tests of different event loops can share it. Each test opens
    contexts, which share nothing, and Playwright closes them when the test disconnects.
    """

    def __init__(self, browser: str) -> None:
        self.browser = browser  #: "chromium" or "firefox"
        self._home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._process: subprocess.Popen[str] | None = None
        self._address = ""
        self._tests = 0

    def address(self) -> str:
        """Return where it listens for the next test; one that has died is started again."""
        self._tests += 1
        is_worn = self.browser == "firefox" and self._tests > MOST_TESTS
        if self._process is None or self._process.poll() is not None or is_worn:
            self._stop()
            self._start()
            self._tests = 1
        return self._address

    def _start(self) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as config:
            json.dump(_options(self.browser), config)
            config.flush()
            command = [sys.executable, "-m", "playwright", "launch-server"]
            self._process = subprocess.Popen(
                [*command, "--browser", self.browser, "--config", config.name],
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "HOME": self._home.name},
                start_new_session=True,
            )
            assert self._process.stdout
            self._address = self._process.stdout.readline().strip()
        assert self._address.startswith("ws://"), "Playwright's server of browsers did not start"

    def _stop(self) -> None:
        if self._process:
            # The whole session: the command is a parent of what does the work.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait()
            assert self._process.stdout
            self._process.stdout.close()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()
        self._home.cleanup()
