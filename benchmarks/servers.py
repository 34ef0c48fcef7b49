"""Servers in processes of their own, and what they use of the machine."""

import contextlib
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from tests.support import servers

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "uvicorn": ["-m", "uvicorn", "--factory", "--log-level", "warning", "--port"],
    "hypercorn": ["-m", "hypercorn", "--log-level", "warning", "--bind"],
    "granian": ["-m", "granian", "--interface", "asgi", "--factory", "--no-access-log", "--port"],
}


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its children that are alive, user and system."""
    # A clock of each process, as clock_getcpuclockid(3) names it: it counts nanoseconds, where
    # /proc counts hundredths of a second.
    return sum(time.clock_gettime(~process << 3 | 2) for process in processes(pid))


def processes(pid: int) -> list[int]:
    """Return the ids of a process and its children, at any depth."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that has ended meanwhile
            for child in (task / "children").read_text().split():
                found += processes(int(child))
    return found


def memory_kib(pid: int) -> float:
    """Return the unshared memory of a process and its children."""
    total = 0.0
    for process in processes(pid):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Clean", "Private_Dirty")):
                total += float(line.split()[1])
    return total


@contextlib.asynccontextmanager
async def serve(
    server: str, app: str, tree: Path = ROOT, environ: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[int, int]]:
    """Serve one of the apps; gives its port and process id.

    Args:
        server: Its name.
        app: The function of ``apps.py`` that makes it.
        tree: The folder whose ``quart_sse`` it imports; the apps are those of this one.
        environ: More than the usual environment.
    """
    target = f"apps:{app}" + ("()" if server == "hypercorn" else "")
    # The tree comes before the environment's own quart_sse, and before the folder of the apps,
    # which are found by their bare name because the other tree has a package `benchmarks`, too.
    path = os.pathsep.join([str(tree), str(Path(__file__).parent)])

    def command(port: int) -> Sequence[str]:
        where = f"127.0.0.1:{port}" if server == "hypercorn" else str(port)
        return *COMMANDS[server], where, target

    environ = {"PYTHONPATH": path, **(environ or {})}
    async with servers.serve(command, environ, folder=tree) as started:
        yield started.port, started.process.pid
