"""What is compared: quart_sse on its servers, other libraries, nchan, and the floor."""

import contextlib
import http.client
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .load import LoadError
from .others import text_of
from .servers import ROOT

HERE = Path(__file__).parent
#: Where Debian has nchan, and where Node.js finds better-sse.
NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
NODE_MODULES = Path(os.environ.get("BETTER_SSE", ROOT / "node_modules"))

UVICORN = ("-m", "uvicorn", "--factory", "--no-access-log", "--log-level", "warning")
GRANIAN = ("-m", "granian", "--interface", "asgi", "--factory", "--no-access-log")
_NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/log crit;
load_module {module};
events {{ worker_connections 30000; }}
http {{
  access_log off; client_body_temp_path {folder}/body;
  client_body_buffer_size 1m; client_body_in_single_buffer on; nchan_max_reserved_memory 256M;
  server {{
    listen 127.0.0.1:{port} reuseport; keepalive_requests 1000000;
    location = /pub {{ nchan_publisher; nchan_channel_id news; nchan_message_buffer_length 1000; }}
    location = /sse/news {{ nchan_subscriber eventsource; nchan_channel_id news;
      nchan_subscriber_first_message newest; nchan_eventsource_event news; }}
  }}
}}
"""


@dataclass(frozen=True)
class Peer:
    """One of those that are compared.

    Args:
        title: What tables call it.
        command: What runs it, with ``{port}`` for the port.
        needs: The module without which it is left out; or a file, if it has a slash.
        environ: More than the usual environment.
    """

    title: str
    command: tuple[str, ...]
    needs: str = ""
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_here(self) -> bool:
        """Whether what it needs is installed."""
        if "/" in self.needs:
            return Path(self.needs).exists()
        return not self.needs or importlib.util.find_spec(self.needs) is not None


def _uvicorn(app: str, *more: str) -> tuple[str, ...]:
    return (sys.executable, *UVICORN, *more, "--port", "{port}", app)


PEERS = {
    "ours": Peer("quart_sse, Uvicorn", _uvicorn("apps:ours")),
    "tuned": Peer("quart_sse, Uvicorn, gc.set_threshold(10_000)", _uvicorn("apps:tuned")),
    "plain": Peer(
        "quart_sse, QUART_SSE_DIRECT=0", _uvicorn("apps:ours"), "", {"QUART_SSE_DIRECT": "0"}
    ),
    "h11": Peer("quart_sse, Uvicorn with h11", _uvicorn("apps:ours", "--http", "h11")),
    "gunicorn": Peer(
        "quart_sse, gunicorn",
        (
            *(sys.executable, "-m", "gunicorn", "-k", "uvicorn_worker.UvicornWorker"),
            *("--log-level", "warning", "-b", "127.0.0.1:{port}", "apps:ours()"),
        ),
        "uvicorn_worker",
    ),
    "granian": Peer(
        "quart_sse, Granian", (sys.executable, *GRANIAN, "--port", "{port}", "apps:ours"), "granian"
    ),
    "hypercorn": Peer(
        "quart_sse, Hypercorn",
        (sys.executable, "-m", "hypercorn", "--bind", "127.0.0.1:{port}", "apps:ours()"),
    ),
    "docs": Peer("Quart docs' way, Uvicorn", _uvicorn("apps:docs")),
    "docs-granian": Peer(
        "Quart docs' way, Granian",
        (sys.executable, *GRANIAN, "--port", "{port}", "apps:docs"),
        "granian",
    ),
    "docs-hypercorn": Peer(
        "Quart docs' way, Hypercorn",
        (sys.executable, "-m", "hypercorn", "--bind", "127.0.0.1:{port}", "apps:docs()"),
    ),
    "sse-starlette": Peer("sse-starlette", _uvicorn("others:sse_starlette"), "sse_starlette"),
    "litestar": Peer("Litestar channels", _uvicorn("others:litestar"), "litestar"),
    "django": Peer(
        "django-eventstream", _uvicorn("others:django_eventstream"), "django_eventstream"
    ),
    "aiohttp": Peer(
        "aiohttp-sse", (sys.executable, "others.py", "aiohttp", "{port}"), "aiohttp_sse"
    ),
    "better-sse": Peer(
        "better-sse",
        ("node", "better_sse.mjs", "{port}"),
        str(NODE_MODULES / "better-sse/package.json"),
    ),
    "nchan": Peer("nchan", ("nginx", "-c", "{folder}/nginx.conf", "-p", "{folder}"), str(NCHAN)),
    "floor": Peer("floor (bare asyncio)", (sys.executable, "others.py", "floor", "{port}")),
}


class Running:
    """A peer that runs.

    Args:
        name: Its name.
        port: Its port.
        pid: Its process.
    """

    def __init__(self, name: str, port: int, pid: int) -> None:
        self.name, self.port, self.pid = name, port, pid

    def publish(self, count: int, rate: float = 0.0, size: int = 120, more: str = "") -> None:
        """Let it publish; rate 0 is all at once. To nchan each event is posted."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        if self.name != "nchan":
            self._post(link, f"/go?count={count}&rate={rate}&size={size}{more}", b"")
            return
        begun = time.monotonic()
        for number in range(count):
            if rate:
                time.sleep(max(0.0, begun + number / rate - time.monotonic()))
            self._post(link, "/pub", text_of(size).encode())

    def _post(self, link: http.client.HTTPConnection, path: str, body: bytes) -> None:
        link.request("POST", path, body)
        answer = link.getresponse()
        answer.read()
        if answer.status >= 300:
            raise LoadError(f"{self.name} answered {path} with {answer.status}.")


@contextlib.contextmanager
def running(name: str, environ: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Run a peer until the block ends."""
    peer = PEERS[name]
    with (
        socket.socket() as listener,
        tempfile.TemporaryDirectory() as folder,
        tempfile.NamedTemporaryFile() as log,
    ):
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        listener.close()
        if name == "nchan":
            text = _NGINX.format(folder=folder, module=NCHAN, port=port)
            Path(folder, "nginx.conf").write_text(text)
        script = HERE
        if name == "better-sse":  # Node.js looks for modules where the script is
            script = Path(folder)
            shutil.copy(HERE / "better_sse.mjs", folder)
            Path(folder, "node_modules").symlink_to(NODE_MODULES.resolve())
        command = [word.format(port=port, folder=folder) for word in peer.command]
        path = os.pathsep.join([str(ROOT), str(HERE)])
        process = subprocess.Popen(
            command,
            cwd=script,
            env={**os.environ, "PYTHONPATH": path, **peer.environ, **(environ or {})},
            start_new_session=True,
            # Some log each client that leaves.
            stdout=log,
            stderr=log,
        )
        try:
            _wait_for(port, process, log.name)
            yield Running(name, port, process.pid)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: str) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if process.poll() is not None:
            raise LoadError(f"It has ended before it served: {Path(log).read_text()[-2000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise LoadError(f"It does not serve: {Path(log).read_text()[-2000:]}")
