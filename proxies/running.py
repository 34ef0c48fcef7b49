"""Start and stop one proxy, and the app behind it."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import trustme

from tests.support.servers import PAUSE, Server, free_port, serve

from .catalogue import Proxy

#: Debian has most of them where only an administrator's PATH looks; pip has Envoy beside Python.
FOLDERS = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), "/usr/sbin", str(Path(sys.executable).parent)]
)


@dataclass(frozen=True)
class Running:
    """A proxy that runs.

    Args:
        proxy: Which one.
        port: Its own.
        app: The port of the app behind it.
        pid: Its process, once it runs.
    """

    proxy: Proxy
    port: int
    app: int
    pid: int = 0

    @property
    def origin(self) -> str:
        """What URLs begin with."""
        if self.proxy.is_forward:
            return f"http://127.0.0.1:{self.app}"
        return f"{'https' if self.proxy.is_secure else 'http'}://127.0.0.1:{self.port}"

    def client(self) -> httpx.AsyncClient:
        """Return a client with connections of its own; over HTTP/2 with one for all it asks."""
        return httpx.AsyncClient(
            http1=not self.proxy.is_secure,
            http2=self.proxy.is_secure,
            verify=False,
            proxy=f"http://127.0.0.1:{self.port}" if self.proxy.is_forward else None,
            base_url=self.origin,
            headers={"Accept": "text/event-stream"},
            timeout=httpx.Timeout(10, read=60),
            limits=httpx.Limits(max_connections=None),
        )


def serve_app(heartbeat: float, port: int | None = None) -> AbstractAsyncContextManager[Server]:
    """Serve the app by Uvicorn until the block ends.

    Args:
        heartbeat: ``QUART_SSE_HEARTBEAT``.
        port: If not one that the system gives.
    """
    command = ("-m", "uvicorn", "proxies.app:app", "--log-level", "warning", "--port")
    environ = {"QUART_SSE_HEARTBEAT": str(heartbeat)}
    return serve(lambda free: [*command, str(free)], environ, port)


@asynccontextmanager
async def in_front_of(app: int, proxy: Proxy, folder: Path, idle: int) -> AsyncIterator[Running]:
    """Run a proxy in front of a port until the block ends.

    Args:
        app: The port of the app.
        proxy: Which one.
        folder: Where its files are made.
        idle: Seconds after which it closes a connection without data.
    """
    running = Running(proxy, free_port(), app)
    _write(running, folder, idle)
    program, *rest = _filled(proxy, running, folder, idle)
    found = shutil.which(program, path=FOLDERS)
    if found is None:
        raise FileNotFoundError(f"{program} is missing: scripts/tools.sh proxies installs it")
    with (folder / "output").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            found, *rest, cwd=folder, stdout=output, stderr=output, start_new_session=True
        )
    try:
        await _until_it_listens(running, process, folder)
        yield replace(running, pid=process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _filled(proxy: Proxy, running: Running, folder: Path, idle: int) -> list[str]:
    places = proxy.places(running.port, running.app, folder, idle)
    return [_fill(part, places.items()) for part in proxy.command]


def _fill(text: str, places: object) -> str:
    for place, value in places:  # type: ignore[attr-defined]
        text = text.replace(place, value)
    return text


def _write(running: Running, folder: Path, idle: int) -> None:
    """Write the configuration, and a certificate that no one trusts."""
    proxy = running.proxy
    folder.mkdir()
    for each in (folder.parent, folder):
        each.chmod(0o755)  # some proxies run as another user
    (folder / "varnish").mkdir()
    for name in ("configuration", "configuration.yaml"):
        places = proxy.places(running.port, running.app, folder, idle)
        (folder / name).write_text(_fill(proxy.text, places.items()).lstrip("\n"))
    issued = trustme.CA().issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "both.pem"))
    for name in ("key.pem", "both.pem"):
        (folder / name).chmod(0o644)


async def _until_it_listens(
    running: Running, process: asyncio.subprocess.Process, folder: Path
) -> None:
    ends_at = time.monotonic() + 20
    while True:
        output = (folder / "output").read_text("utf-8", "replace")
        if process.returncode is not None or time.monotonic() > ends_at:
            raise RuntimeError(f"{running.proxy.name} did not start: {output}")
        with contextlib.suppress(ConnectionRefusedError):
            _, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.close()
            return
        await asyncio.sleep(PAUSE)
