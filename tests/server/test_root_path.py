"""Below a path: which server wants the prefix kept, and which stripped."""

import re
from collections.abc import Callable, Sequence

import pytest

from tests.support.servers import APP, RawStream, serve

pytestmark = pytest.mark.servers

#: Server -> its command on a port, and whether the proxy must keep the prefix.
SERVERS: dict[str, tuple[Callable[[int], Sequence[str]], bool]] = {
    "uvicorn": (
        lambda port: ("-m", "uvicorn", "--root-path", "/app", "--port", str(port), APP),
        False,
    ),
    "hypercorn": (
        lambda port: ("-m", "hypercorn", "--root-path", "/app", "-b", f"127.0.0.1:{port}", APP),
        True,
    ),
    "granian": (
        lambda port: (
            *("-m", "granian", "--interface", "asgi", "--url-path-prefix", "/app"),
            *("--port", str(port), APP),
        ),
        True,
    ),
    "daphne": (
        lambda port: ("-m", "daphne", "--root-path", "/app", "-p", str(port), APP),
        True,
    ),
}


@pytest.mark.parametrize("name", SERVERS)
async def test_page_below_a_path_is_live(name: str) -> None:
    """As docs/deploy.md says: with the prefix where it is kept, without where it is stripped."""
    command, is_kept = SERVERS[name]
    kept = "/app" if is_kept else ""
    async with serve(command) as server:
        page = (await server.get(f"{kept}/page")).decode()
        (url,) = re.findall('sse-connect="([^"]+)"', page)
        assert url.startswith("/app/sse?")
        path = url.replace("&amp;", "&").removeprefix("/app")
        stream = await RawStream.open(server.port, f"{kept}{path}")
        await stream.close()
        if is_kept:
            assert b" 404 " in (await server.get("/page")).splitlines()[0]
