"""Servers in processes of their own, and what they use of the machine."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
ROOT = Path(__file__).parents[1]
COMMANDS = {
    "uvicorn": ["-m", "uvicorn", "--factory", "--log-level", "warning", "--port"],
    "hypercorn": ["-m", "hypercorn", "--log-level", "warning", "--bind"],
    "granian": ["-m", "granian", "--interface", "asgi", "--factory", "--no-access-log", "--port"],
}


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its children that are alive."""
    total = 0.0
    for path in [Path(f"/proc/{pid}"), *map(Path, children(pid))]:
        fields = (path / "stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def children(pid: int) -> list[str]:
    """Return the /proc folders of a process's children, at any depth."""
    found: list[str] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [f"/proc/{child}", *children(int(child))]
    return found


def memory_kib(pid: int) -> float:
    """Return the unshared memory of a process and its children."""
    total = 0.0
    for path in [Path(f"/proc/{pid}"), *map(Path, children(pid))]:
        for line in (path / "smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Clean", "Private_Dirty")):
                total += float(line.split()[1])
    return total


@contextlib.asynccontextmanager
async def serve(server: str, app: str, **environ: str) -> AsyncIterator[tuple[int, int]]:
    """Serve one of the apps; gives its port and process id.

    Args:
        server: Its name.
        app: The function of ``apps.py`` that makes it.
        environ: More variables of the environment.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    where = f"127.0.0.1:{port}" if server == "hypercorn" else str(port)
    target = f"benchmarks.apps:{app}" + ("()" if server == "hypercorn" else "")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *COMMANDS[server], where, target),
        cwd=ROOT,
        env={**os.environ, **environ},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.05)
        yield port, process.pid
    finally:
        # The whole session: a server that is killed leaves its workers behind.
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
