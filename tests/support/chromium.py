"""One Chromium for all tests: starting one takes longer than most of what they do in it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import Self

CHROMIUM_ARGS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync", "--disable-quic"),
    *("--disable-background-networking", "--disable-component-update"),
]


def chromium_path() -> str:
    """Return where Debian's Chromium is."""
    path = shutil.which("chromium")
    assert path, "Chromium is missing; 'make test' installs it, or: apt-get install chromium"
    return path


class SharedChromium:
    """A Chromium to which Playwright connects.

    It is a process of its own, so tests of different event loops can share it. Each test opens
    contexts, which share nothing, and Playwright closes them when the test disconnects.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._address = ""

    def address(self) -> str:
        """Return where it listens; one that has died is started again."""
        if self._process is None or self._process.poll() is not None:
            self._stop()
            self._start()
        return self._address

    def _start(self) -> None:
        options = {"executablePath": chromium_path(), "args": CHROMIUM_ARGS, "headless": True}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as config:
            json.dump(options, config)
            config.flush()
            command = [sys.executable, "-m", "playwright", "launch-server"]
            self._process = subprocess.Popen(
                [*command, "--browser", "chromium", "--config", config.name],
                stdout=subprocess.PIPE,
                text=True,
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
