"""A real nginx for one test, with nothing set for streams: started and stopped at will."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.servers import PAUSE, free_port

#: Debian has it where only an administrator's PATH looks.
FOLDERS = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])

#: One process in the foreground, which needs no rights and writes below its own folder alone.
CONFIG = """
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events {{}}
http {{
    client_body_temp_path client_body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    log_format answered "$status $sent_http_content_type $uri";
    access_log access.log answered;
    server {{
        listen 127.0.0.1:{port};
        {settings}
        location / {{ proxy_pass http://127.0.0.1:{upstream}; }}
        location = /silent {{ proxy_pass http://127.0.0.1:{silent}; }}
    }}
}}
"""


class Nginx:
    """An nginx in front of a server.

    Args:
        folder: Its own.
        upstream: The port of the server; behind the path ``/silent`` is one that never answers.
        silent: The port of that one.
        settings: Further lines of its configuration.
    """

    def __init__(self, folder: Path, upstream: int, silent: int, settings: Sequence[str]) -> None:
        self.folder = folder
        self.port = free_port()
        self.log = folder / "access.log"
        self._process: asyncio.subprocess.Process | None = None
        values = {"port": self.port, "upstream": upstream, "silent": silent}
        lines = "".join(f"{setting};" for setting in settings)
        (folder / "nginx.conf").write_text(CONFIG.format(settings=lines, **values))

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        program = shutil.which("nginx", path=FOLDERS)
        assert program, "nginx is missing; 'make test' installs it, or: apt-get install nginx"
        options = ("-p", str(self.folder), "-c", str(self.folder / "nginx.conf"))
        with (self.folder / "output.log").open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                program, *options, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
            )
        async with asyncio.timeout(20):
            while True:
                assert self._process.returncode is None, (self.folder / "output.log").read_text()
                with contextlib.suppress(ConnectionRefusedError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                await asyncio.sleep(PAUSE)

    async def stop(self) -> None:
        """Stop it at once, as a restart of the service does; all its connections are cut."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            await self._process.wait()

    def answered(self, path: str) -> list[str]:
        """Return status and type of each answer for a path that has come to its end, or was cut."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        split = [line.rsplit(" ", 1) for line in lines]
        return [answer for answer, of in split if of == path]


@asynccontextmanager
async def in_front_of(upstream: int, folder: Path, *settings: str) -> AsyncIterator[Nginx]:
    """Run nginx in front of a port until the block ends.

    Args:
        upstream: The port.
        folder: Where its own folder is made.
        settings: Further lines of its configuration, without their semicolons.
    """
    folder = folder / "nginx"
    folder.mkdir()
    given_up = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await given_up.wait()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with silent:
        nginx = Nginx(folder, upstream, silent.sockets[0].getsockname()[1], settings)
        try:
            await nginx.start()
            yield nginx
        finally:
            await nginx.stop()
            given_up.set()
