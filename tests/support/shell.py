"""Commands of a shell, in this process and in processes of their own."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from quart import Quart
from quart.cli import ScriptInfo

from quart_sse.cli import main, sse
from tests.support.servers import ROOT


class Told(NamedTuple):
    """What a command has done."""

    code: int | None
    out: str
    err: str


class Shell:
    """Runs commands in this process, in a thread, as both doors do.

    Args:
        capsys: Captures what they print.
        url: The broker's URL.
    """

    def __init__(self, capsys: pytest.CaptureFixture[str], url: str) -> None:
        self._capsys = capsys
        self.url = url

    async def __call__(self, *arguments: str) -> Told:
        """Do what ``python -m quart_sse`` does with the broker's URL."""
        return await self._run(main, ["--url", self.url, *arguments])

    async def beside(self, app: Quart, *arguments: str) -> Told:
        """Do what ``quart sse`` does with an app."""

        def run(given: list[str]) -> int:
            info = ScriptInfo(create_app=lambda: app)
            code = sse.main(given, "quart sse", standalone_mode=False, obj=info)
            return code if isinstance(code, int) else 0

        return await self._run(run, list(arguments))

    async def _run(self, function: Any, arguments: list[str]) -> Told:
        self._capsys.readouterr()
        code = await asyncio.to_thread(function, arguments)
        return Told(code, *self._capsys.readouterr())


async def run(*arguments: str, environ: dict[str, str] | None = None, quart: bool = False) -> Told:
    """Run a command in a process of its own, as a shell does.

    Args:
        arguments: Those of ``python -m quart_sse``, or of ``quart``.
        environ: The environment beside the ``PYTHONPATH``.
        quart: Whether it is ``quart``.
    """
    async with running(*arguments, environ=environ, quart=quart) as process:
        out, err = await process.communicate()
        return Told(process.returncode, out.decode(), err.decode())


@asynccontextmanager
async def running(
    *arguments: str,
    environ: dict[str, str] | None = None,
    quart: bool = False,
    stdout: int = asyncio.subprocess.PIPE,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Let a command run until the block ends; the arguments are those of :func:`run`.

    ``stdout`` is where it prints.
    """
    module = ("-m", "quart") if quart else ("-W", "error", "-m", "quart_sse")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *module, *arguments),
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), **(environ or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
