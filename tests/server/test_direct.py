"""Direct writes: what clients get is the same with and without them, on a real Uvicorn."""

import asyncio
import gc
import logging
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme
import uvicorn
from quart import Quart, Response, request
from quart.asgi import ASGIHTTPConnection
from uvicorn.protocols.http import h11_impl, httptools_impl

from quart_sse import SSE
from quart_sse.channels import Channel
from quart_sse.hub import Batch, Connection, Part
from quart_sse.server.direct import SendOutlet, UvicornOutlet, find_outlet
from tests.support.streams import until
from tests.support.wrapping import with_own_send

HTTP = ["httptools", "h11"]
#: Bytes of an event that fills the buffers between server and client soon.
LARGE = 200_000


class Client:
    """A raw client of one stream, which checks the framing of what it reads."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.head = b""
        self.body = b""
        self.is_over = False

    @classmethod
    async def open(
        cls,
        port: int,
        path: str = "/sse/news",
        version: str = "1.1",
        tls: ssl.SSLContext | None = None,
    ) -> "Client":
        """Connect, and read as far as ``sse-open``."""
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", port))
        name = None if tls is None else "localhost"
        reader, writer = await asyncio.open_connection(sock=raw, ssl=tls, server_hostname=name)
        writer.write(f"GET {path} HTTP/{version}\r\nHost: localhost\r\n".encode())
        writer.write(b"Accept: text/event-stream\r\n\r\n")
        client = cls(reader, writer)
        client.head = await reader.readuntil(b"\r\n\r\n")
        await client.until(b"sse-open")
        return client

    async def read(self) -> None:
        """Read one chunk, or what there is of an answer without chunks."""
        if b"chunked" not in self.head:
            data = await self.reader.read(65536)
            self.is_over = not data
            self.body += data
            return
        size = int((await self.reader.readline()).decode().strip(), 16)
        self.body += await self.reader.readexactly(size)
        assert await self.reader.readexactly(2) == b"\r\n"
        self.is_over = size == 0

    async def until(self, text: bytes) -> None:
        """Read until a text has come, or the end."""
        async with asyncio.timeout(10):
            while text not in self.body and not self.is_over:
                await self.read()
        assert text in self.body

    async def to_end(self) -> None:
        """Read all of the answer."""
        async with asyncio.timeout(5):
            while not self.is_over:
                await self.read()

    @property
    def numbers(self) -> list[int]:
        """Numbers of the events so far, as they came."""
        return [int(number) for number in re.findall(rb'data: "?(\d+)~', self.body)]


@asynccontextmanager
async def serving(app: Any, http: str = "httptools", **options: Any) -> AsyncIterator[int]:
    """Serve an app by Uvicorn in this loop, and give its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    # Accepted sockets have the same: the less one takes, the sooner a slow client is noticed.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    config = uvicorn.Config(
        app, http=http, ws="none", lifespan="on", log_config=None, log_level="error", **options
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([listener]))
    try:
        await until(lambda: server.started or task.done())
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        await task


@pytest.fixture
def news(app: Quart) -> Callable[..., Channel]:
    """Return a function that installs the extension, with settings, and a public channel."""

    def install(**settings: Any) -> Channel:
        app.config.update({f"QUART_SSE_{name.upper()}": each for name, each in settings.items()})
        return SSE(app).channel("news", "/news", public=True)

    return install


def connection_of(app: Quart) -> Connection:
    """Return the only open connection."""
    (connection,) = app.extensions["quart_sse"].hub.connections
    assert isinstance(connection, Connection)
    return connection


async def publish(channel: Channel, numbers: range, size: int = 0) -> None:
    """Publish events, each in a batch of its own if there is time."""
    for number in numbers:
        await channel.topic().publish("n", f"{number}~".ljust(size, "x"))
        await asyncio.sleep(0)


async def waits(connection: Connection) -> Any:
    """Wait until the stream's task waits for bytes, and return what it waits for."""
    await until(lambda: connection._waiter is not None)
    return connection._waiter


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("http", HTTP)
async def test_events_come_in_order_and_wake_no_task(
    app: Quart,
    news: Callable[..., Channel],
    monkeypatch: pytest.MonkeyPatch,
    http: str,
    direct: bool,
) -> None:
    """The bytes are the same; without direct writes each message goes through Uvicorn's send."""
    channel = news(direct=direct)
    sent = note_sends(monkeypatch, http)
    async with serving(app, http) as port:
        client = await Client.open(port)
        connection = connection_of(app)
        before = await waits(connection)
        written = connection.traffic.written
        length = len(client.body)
        sent.clear()
        await publish(channel, range(20))
        await client.until(b"19~")

        assert client.numbers == list(range(20))
        assert (await waits(connection)) is before
        assert b"".join(sent) == (b"" if direct else client.body[length:])
        assert connection.traffic.written - written == len(client.body) - length
        client.writer.close()


def note_sends(monkeypatch: pytest.MonkeyPatch, http: str) -> list[bytes]:
    """Return a list that gets the body of each message that Uvicorn is asked to send."""
    module = httptools_impl if http == "httptools" else h11_impl
    usual, sent = module.RequestResponseCycle.send, list[bytes]()

    async def send(self: Any, message: Any) -> None:
        sent.append(message.get("body", b""))
        await usual(self, message)

    monkeypatch.setattr(module.RequestResponseCycle, "send", send)
    return sent


@pytest.mark.parametrize("http", HTTP)
async def test_opening_is_one_write_and_nothing_keeps_it(
    app: Quart, news: Callable[..., Channel], monkeypatch: pytest.MonkeyPatch, http: str
) -> None:
    """Quart's coroutine would keep what it was given until the next time."""
    news(direct=False)
    sent = note_sends(monkeypatch, http)
    async with serving(app, http) as port:
        client = await Client.open(port)
        await waits(connection_of(app))
        opening = [each for each in sent if b"sse-open" in each]

        assert client.body == opening[0]
        assert len(opening) == 1
        assert opening[0].startswith(b"retry: ")
        assert not [
            each
            for each in gc.get_referrers(opening[0])
            if each is not sent and each is not opening
        ]
        client.writer.close()


def inner_middleware(app: Quart) -> None:
    """Put a middleware between Quart and the extension."""
    app.asgi_app = with_own_send(app.asgi_app)  # type: ignore[method-assign, assignment]


def inner_sender(app: Quart) -> None:
    """Let a class of the app's own send answers, by Quart's code but with another ``send``."""

    class Own(ASGIHTTPConnection):
        async def _send_response(self, send: Any, response: Any) -> None:
            async def own(message: Any) -> None:
                await send(message)

            await super()._send_response(own, response)

    app.asgi_http_class = Own


def wrapped_body(app: Quart) -> None:
    """Let the app put a body of its own around that of a stream."""

    class Wrapped:
        def __init__(self, body: Any) -> None:
            self.body = body

        async def __aenter__(self) -> Any:
            async def chunks() -> AsyncIterator[bytes]:
                async for data in await self.body.__aenter__():
                    yield data

            return chunks()

        async def __aexit__(self, *error: Any) -> None:
            await self.body.__aexit__(*error)

    @app.after_request
    async def wrap(response: Response) -> Response:
        if request.path.startswith("/sse"):
            response.response = Wrapped(response.response)  # type: ignore[assignment]
        return response


def with_length(app: Quart) -> None:
    """Let the app set a length, by which nothing is framed."""

    @app.after_request
    async def length(response: Response) -> Response:
        if request.path.startswith("/sse"):
            response.headers["Content-Length"] = "1000000"
        return response


BEFORE = [inner_middleware, inner_sender, wrapped_body, with_length]


@pytest.mark.parametrize("http", HTTP)
@pytest.mark.parametrize("prepare", BEFORE)
async def test_what_stands_between_framework_and_server_sees_every_event(
    app: Quart,
    news: Callable[..., Channel],
    prepare: Callable[[Quart], None],
    http: str,
) -> None:
    """Middleware inside ours, another class that sends, another body, an answer with a length."""
    prepare(app)
    channel = news()
    async with serving(app, http) as port:
        client = await Client.open(port)
        before = await waits(connection_of(app))
        await publish(channel, range(3))
        await client.until(b"2~")

        assert connection_of(app).outlet is None
        assert (await waits(connection_of(app))) is not before
        assert client.numbers == [0, 1, 2]
        client.writer.close()


@pytest.mark.parametrize("http", HTTP)
async def test_middleware_outside_sees_every_event(
    app: Quart, news: Callable[..., Channel], http: str
) -> None:
    """It has put a ``send`` of its own in the place of the server's."""
    channel = news()
    seen: list[bytes] = []
    inside = app.asgi_app

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        async def own(message: Any) -> None:
            seen.append(message.get("body", b""))
            await send(message)

        await inside(scope, receive, own)

    app.asgi_app = noting  # type: ignore[method-assign]
    async with serving(app, http) as port:
        client = await Client.open(port)
        await waits(connection_of(app))
        await publish(channel, range(3))
        await client.until(b"2~")

        assert connection_of(app).outlet is None
        assert b"".join(seen) == client.body
        client.writer.close()


@pytest.mark.parametrize("http", HTTP)
async def test_http_1_0_is_not_chunked(app: Quart, news: Callable[..., Channel], http: str) -> None:
    """A client of HTTP/1.0 knows no chunks."""
    channel = news()
    async with serving(app, http) as port:
        client = await Client.open(port, version="1.0")
        await waits(connection_of(app))
        await publish(channel, range(3))
        await client.until(b"2~")

        assert connection_of(app).outlet is None
        assert client.numbers == [0, 1, 2]
        client.writer.close()


async def another_framing(self: Any, message: Any) -> None:
    """Send as a release would that puts an extension behind each size."""
    if message["type"] == "http.response.body" and message.get("body"):
        body = message["body"]
        self.transport.write(b"%x;ext=1\r\n%b\r\n" % (len(body), body))
    else:
        await USUAL(self, message)


async def later(self: Any, message: Any) -> None:
    """Send as a release would that writes in the next turn of the loop."""
    await asyncio.sleep(0)
    await USUAL(self, message)


USUAL = httptools_impl.RequestResponseCycle.send


@pytest.mark.parametrize(("release", "kind"), [(another_framing, SendOutlet), (later, None)])
async def test_another_release_of_the_server_falls_back_by_itself(
    app: Quart,
    news: Callable[..., Channel],
    monkeypatch: pytest.MonkeyPatch,
    release: Callable[[Any, Any], Awaitable[None]],
    kind: type | None,
) -> None:
    """What a request would write is tried for each stream: its own send writes, or the task."""
    monkeypatch.setattr(httptools_impl.RequestResponseCycle, "send", release)
    channel = news()
    async with serving(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /sse/news HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
        await reader.readuntil(b"sse-open")
        await waits(connection_of(app))
        assert isinstance(connection_of(app).outlet, kind or type(None))
        await publish(channel, range(3))
        async with asyncio.timeout(10):
            assert b";ext=1" in await reader.readuntil(b"2~") or release is later
        writer.close()


@pytest.mark.parametrize("gone", ["flow", "transport", "disconnected", "response_complete"])
def test_request_without_what_is_needed_has_no_outlet(gone: str) -> None:
    """Each of the server's own objects may be gone in another release."""
    scope = {"http_version": "1.1", "method": "GET"}
    for module in (httptools_impl, h11_impl):
        cycle: Any = module.RequestResponseCycle.__new__(module.RequestResponseCycle)
        cycle.__dict__.update(
            flow=type("Flow", (), {"write_paused": False})(),
            transport=type("Transport", (), {"write": print})(),
            disconnected=False,
            response_complete=False,
            response_started=True,
            chunked_encoding=True,
            scope=scope,
            conn=type("Conn", (), {"send": lambda _, event: b"%x\r\n%b\r\n" % (14, event.data)})(),
        )
        assert isinstance(find_outlet(scope, cycle.send), UvicornOutlet)
        assert isinstance(find_outlet(scope, cycle.send, is_direct=False), SendOutlet)
        assert find_outlet({**scope, "http_version": "2"}, cycle.send) is None
        assert find_outlet({**scope, "method": "HEAD"}, cycle.send) is None
        del cycle.__dict__[gone]
        assert find_outlet(scope, cycle.send) is None


@pytest.mark.parametrize("http", HTTP)
async def test_stream_ends_if_the_servers_send_waits_against_all_expectation(
    app: Quart, news: Callable[..., Channel], monkeypatch: pytest.MonkeyPatch, http: str
) -> None:
    """Who knows what is written then? The client resumes."""
    channel = news(direct=False)
    module = httptools_impl if http == "httptools" else h11_impl
    usual = module.RequestResponseCycle.send

    async def send(self: Any, message: Any) -> None:
        if b"1~" in message.get("body", b""):
            await asyncio.Event().wait()
        await usual(self, message)

    monkeypatch.setattr(module.RequestResponseCycle, "send", send)
    async with serving(app, http) as port:
        client = await Client.open(port)
        await waits(connection_of(app))
        await publish(channel, range(3))
        await client.to_end()

        assert client.numbers == [0]
        assert b"event: sse-holdoff" in client.body
        client.writer.close()


def test_server_that_is_not_known_has_no_outlet() -> None:
    """Nothing is guessed."""

    class Other:
        async def send(self, message: Any) -> None:
            """Send nothing."""

    assert find_outlet({"http_version": "1.1", "method": "GET"}, Other().send) is None
    assert find_outlet({"http_version": "1.1", "method": "GET"}, print) is None


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("http", HTTP)
async def test_slow_client_holds_the_stream_back_and_misses_nothing(
    app: Quart, news: Callable[..., Channel], http: str, direct: bool
) -> None:
    """A full transport is not written to; the task waits and is watched, and goes on in order."""
    channel = news(direct=direct, pending_bytes=1 << 28)
    async with serving(app, http) as port:
        client = await Client.open(port)
        connection = connection_of(app)
        await waits(connection)
        count = 0
        async with asyncio.timeout(10):
            while not connection.queued:
                await publish(channel, range(count, count + 1), LARGE)
                count += 1
        assert connection.busy_since is not None
        assert connection.direct is None
        await publish(channel, range(count, count + 5))
        await client.until(b"%d~" % (count + 4))
        await waits(connection)
        await publish(channel, range(count + 5, count + 10))
        await client.until(b"%d~" % (count + 9))

        assert client.numbers == list(range(count + 10))
        assert connection.direct is not None
        client.writer.close()


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("http", HTTP)
async def test_client_that_reads_nothing_is_cut(
    app: Quart,
    news: Callable[..., Channel],
    caplog: pytest.LogCaptureFixture,
    http: str,
    direct: bool,
) -> None:
    """After QUART_SSE_SEND_TIMEOUT, as without direct writes, and its socket is reset."""
    channel = news(direct=direct, pending_bytes=1 << 28, send_timeout=0.2)
    caplog.set_level(logging.INFO)
    async with serving(app, http) as port:
        client = await Client.open(port)
        connection = connection_of(app)
        await waits(connection)
        async with asyncio.timeout(10):
            while not connection.queued and not connection.is_ended:
                await publish(channel, range(1), LARGE)
        await until(lambda: not len(app.extensions["quart_sse"].hub.connections))
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await client.to_end()

        assert "A client has read nothing for 0.2 s" in caplog.text
        assert connection.outlet is None
        client.writer.close()


@pytest.mark.parametrize("direct", [True, False])
async def test_client_that_has_gone_is_written_to_without_an_error(
    app: Quart,
    news: Callable[..., Channel],
    caplog: pytest.LogCaptureFixture,
    direct: bool,
) -> None:
    """Until the server has noticed that, events come; then the stream is released."""
    channel = news(direct=direct)
    async with serving(app) as port:
        client = await Client.open(port)
        connection = connection_of(app)
        await waits(connection)
        client.writer.transport.abort()
        await publish(channel, range(10))
        await until(lambda: not len(app.extensions["quart_sse"].hub.connections))
        await publish(channel, range(3))

        assert connection.outlet is None
        assert not caplog.records


async def test_cancelled_task_is_not_written_past(app: Quart, news: Callable[..., Channel]) -> None:
    """What is fed when the task was cancelled and has not noticed is not lost to its transport."""
    channel = news()
    async with serving(app) as port:
        client = await Client.open(port)
        connection = connection_of(app)
        waiter = await waits(connection)
        waiter.cancel()
        await publish(channel, range(3))
        await until(lambda: not len(app.extensions["quart_sse"].hub.connections))

        assert connection.direct is None
        client.writer.close()


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("http", HTTP)
async def test_stop_ends_streams_behind_their_events(
    app: Quart, news: Callable[..., Channel], http: str, direct: bool
) -> None:
    """The ending is the last message, and the answer is whole."""
    channel = news(direct=direct)
    async with serving(app, http) as port:
        client = await Client.open(port)
        await waits(connection_of(app))
        await publish(channel, range(3))
    await client.to_end()

    assert client.numbers == [0, 1, 2]
    assert b"event: sse-holdoff" in client.body.rpartition(b"2~")[2]
    client.writer.close()


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("http", HTTP)
async def test_over_tls_the_bytes_are_the_same(
    app: Quart,
    news: Callable[..., Channel],
    http: str,
    direct: bool,
    tmp_path: Any,
) -> None:
    """Direct writes go through the transport of TLS; also if the client is slow."""
    ca = trustme.CA()
    issued = ca.issue_cert("localhost")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    issued.private_key_pem.write_to_path(str(key))
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)
    channel = news(direct=direct, pending_bytes=1 << 28)
    async with serving(app, http, ssl_keyfile=str(key), ssl_certfile=str(certificate)) as port:
        client = await Client.open(port, tls=trusting)
        connection = connection_of(app)
        before = await waits(connection)
        await publish(channel, range(5))
        await client.until(b"4~")
        assert (await waits(connection)) is before
        count = 5
        async with asyncio.timeout(10):
            while not connection.queued:
                await publish(channel, range(count, count + 1), LARGE)
                count += 1
        await publish(channel, range(count, count + 5))
        await client.until(b"%d~" % (count + 4))

        assert client.numbers == list(range(count + 5))
        client.writer.close()


async def test_batches_of_both_ways_keep_their_order(
    app: Quart, news: Callable[..., Channel]
) -> None:
    """What only the stream's task may send is not overtaken by what needs no task."""
    news()
    async with serving(app) as port:
        client = await Client.open(port)
        connection = connection_of(app)
        await waits(connection)
        direct = 0
        for number in range(60):
            batch = Batch.of([Part(None, b'data: "%d~"\n\n' % number)])
            outlet = connection.direct if number % 5 else None
            if outlet is None or not outlet.write(batch):
                connection.feed(batch)
            else:
                direct += 1
            for _ in range(number % 4):
                await asyncio.sleep(0)
        await client.until(b"59~")

        assert client.numbers == list(range(60))
        assert 10 < direct < 48
        client.writer.close()
