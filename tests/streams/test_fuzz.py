"""Whatever clients send: an answer in time, no error of ours, no secret, and nothing left.

Hypothesis makes requests that no browser would send, from pieces that mean something here, and
hands them to the app as a server does. A sample of them goes over sockets of a real server, with
what only bytes can say. Last comes a flood of honest requests, of which too many come at once.
"""

import asyncio
import http.client
import json
import logging
import random
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any
from urllib.parse import quote, quote_from_bytes, unquote

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer, URLSafeTimedSerializer
from quart import Quart, Response, abort, render_template_string, request, session
from quart.testing import QuartClient

from quart_sse import SSE
from quart_sse.access.tokens import Signer, write_topics
from quart_sse.wiring import Services
from tests.support.load import EXACT, hypercorn, look, uvicorn
from tests.support.servers import Server, serve
from tests.support.streams import connect_urls, open_stream, until

#: Told what was measured; see it with ``--log-level info``.
logger = logging.getLogger(__name__)

#: What no answer may contain; no request does.
SECRET = "not-for-every-client"
PAGE = (
    '{% from "quart_sse/macros.html" import sse_connect, sse_fragment %}'
    '{{ sse_fragment("secret.list") }}{{ sse_fragment("vault.list", number=7) }}'
    "{{ sse_connect() }}"
)
#: Always the same examples, as many as a test names, each of which may take its time.
SAME = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
#: Turns of the event loop in which whatever is going to be sent is sent.
TURNS = 30


def make_app(**config: object) -> Quart:
    """Return an app with public topics, and with topics that no client may see."""
    app = Quart(__name__)
    app.secret_key = "for tests only"
    app.config.update(config)
    sse = SSE(app)

    @sse.identity
    async def who() -> str | None:
        return session.get("user")

    sse.channel("news", "/news", public=True).fragment("list", debounce=0)(lambda: "<b>news</b>")
    for name, kind in {"rooms": "int", "names": "string", "paths": "path"}.items():
        channel = sse.channel(name, f"/{name}/<{kind}:x>", public=True)
        channel.fragment("list", debounce=0)(lambda x: "<b>open</b>")
        channel.fragment("mine", personal=True)(lambda x: "<b>mine</b>")
    slow = sse.channel("slow", "/slow/<int:number>")
    secret = sse.channel("secret", "/secret")
    vault = sse.channel("vault", "/vault/<int:number>")
    for closed in (secret, vault):
        closed.fragment("list", debounce=0)(lambda **_: f"<b>{SECRET}</b>")
        closed.fragment("mine", personal=True)(lambda **_: f"<b>{SECRET}</b>")

    @slow.authorize
    async def look_it_up(number: int) -> bool:
        for _ in range(TURNS):
            await asyncio.sleep(0)
        return True

    @vault.authorize
    async def may_enter(number: int) -> bool:
        return session.get("user") == "owner" or abort(404)

    @app.get("/")
    async def page() -> str:
        return await render_template_string(PAGE)

    @app.get("/login")
    async def login() -> Response:
        session["user"] = request.args["user"]
        return Response("")

    return app


async def stir(app: Quart) -> None:
    """Let everything happen that a client could get."""
    services = app.extensions["quart_sse"]
    channels = services.channels.declared
    for topic in (channels["secret"].topic(), channels["vault"].topic(number=7)):
        await topic.publish("said", SECRET)
        await topic.refresh()
    await channels["news"].topic().publish("said", "stirred")


# -- as a server hands requests over ---------------------------------------------------------------


@dataclass
class Ask:
    """One request, of whatever."""

    path: bytes = b"/sse"
    query: bytes = b""
    headers: Sequence[tuple[bytes, bytes]] = ()
    method: str = "GET"
    body: bytes = b""
    http: str = "1.1"


@dataclass
class Answer:
    """What came back."""

    status: int = 0
    head: str = ""
    body: bytes = b""
    is_stream: bool = False


@dataclass
class Client:
    """The server's side of one request, with a client that leaves when it has seen enough."""

    app: Quart
    ask: Ask
    answer: Answer = field(default_factory=Answer)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    parts: int = 0

    @property
    def scope(self) -> dict[str, Any]:
        ask = self.ask
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": ask.http,
            "method": ask.method,
            "scheme": "http",
            "path": unquote(ask.path.decode("latin1")),
            "raw_path": ask.path,
            "query_string": ask.query,
            "root_path": "",
            "headers": list(ask.headers),
            "client": ("192.0.2.7", 1),
            "server": ("127.0.0.1", 80),
            "extensions": {},
        }

    async def run(self) -> Answer:
        """Send the request and take the answer; a stream is heard for some turns."""
        app: Any = self.app
        task = asyncio.ensure_future(app(self.scope, self.receive, self.send))
        opened = asyncio.ensure_future(self.opened.wait())
        async with asyncio.timeout(5):
            await asyncio.wait([task, opened], return_when=asyncio.FIRST_COMPLETED)
            opened.cancel()
            if self.opened.is_set():
                await stir(self.app)
                for _ in range(TURNS):
                    await asyncio.sleep(0)
                self.gone.set()
            await task
        return self.answer

    async def receive(self) -> dict[str, Any]:
        if self.parts == 0:
            self.parts = 1
            return {"type": "http.request", "body": self.ask.body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.answer.status = message["status"]
            self.answer.head = str(message["headers"])
            await asyncio.sleep(0)  # as servers do, now and then
        elif message["type"] == "http.response.body":
            self.answer.body += message.get("body", b"")
            if b"event: sse-open" in self.answer.body:
                self.answer.is_stream = True
                self.opened.set()


@asynccontextmanager
async def clean(app: Quart) -> AsyncIterator[Services]:
    """Serve an app; whatever happened, nothing is left and nothing was logged as an error."""
    before, errors = asyncio.all_tasks(), Errors()
    logging.getLogger().addHandler(errors)
    try:
        async with app.test_app():
            state: Services = app.extensions["quart_sse"]
            yield state
            assert not state.connections
            assert not state.hub._groups.items()
            assert not state.hub._groups._joining
            assert not state.connections._by_owner
    finally:
        logging.getLogger().removeHandler(errors)
    await until(lambda: asyncio.all_tasks() == before, 5)
    assert not errors.texts


class Errors(logging.Handler):
    """Keeps what was logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


def signers(topics: str) -> list[str]:
    """Return tokens for topics that look right, and were never made by the app."""
    theirs = Signer(lambda: [b"another secret"], 3600.0)
    name = "quart_sse"
    made = [theirs.sign(topics, who, "page") for who in (None, "owner")]
    for key in ("another secret", "for tests only"):
        for salt in (f"{name}.browser", f"{name}.topic", "cookie-session", "itsdangerous"):
            made += [
                str(maker(key, salt=salt).dumps(payload))
                for maker in (URLSafeTimedSerializer, URLSafeSerializer)
                for payload in ([topics, None, "page"], topics)
            ]
    # Unsigned, kept at the broker, and the same with a mark where none belongs.
    return [*made, f"~{topics}", f"~&{topics}", f"&{topics}", topics, f"~~{topics}"]


CLOSED = write_topics({"secret": ["list", "mine"], "vault?number=7": ["list", "mine"]})
FORGED = signers(CLOSED) + signers("secret") + signers("vault?number=7")
WORDS = [
    *("a", "news", "rooms", "names", "paths", "secret", "vault", "list", "mine", "said", "7"),
    *("?", "=", "&", ":", ",", " ", "+", "~", "@", "%", "/", "//", ".", "..", ";", "#", "|", "-"),
    *("\0", "\r\n", "\n", "\r", "é", "\u2028", "\ud7ff", "\U0001f600", "٣", "-1", "0", "1e9"),
    *("9" * 400, "9" * 5000, "x" * 3000, "<b>", "'", '"', "${x}", "{{ 7 * 7 }}", "*", "[", "]"),
]
POSITIONS = ["0", "0-0", "abcdef12.1795302000123-0", "x.9-9~0@f", f"a.{'9' * 15}-{'9' * 9}~0", "~"]
POSITIONS += [f"a.1-1@{'f' * 256}", f"a.1-1@{'f' * 257}", "a.1-2~1-9", "a.1-9~1-2@0", "-", "@", "."]
words = st.lists(st.sampled_from(WORDS), max_size=6).map("".join)
tokens = st.sampled_from(FORGED) | words.map("~".__add__) | words
positions = st.lists(st.sampled_from(POSITIONS), max_size=3).map("".join) | words
plain = st.binary(max_size=40) | st.sampled_from([b"", b"\xff\xfe", b"x" * 9000, b"0", b"a, b; c"])


def escaped(text: str, how: str) -> bytes:
    """Return a text as it stands in a URL: escaped as little, as well or as much as can be."""
    data = text.encode("utf-8", "surrogatepass")
    if how == "all":
        return "".join(f"%{byte:02x}" for byte in data).encode()
    if how == "badly":  # what remains is cut off where the next part begins
        return quote_from_bytes(data, safe="/?&=%~:@+,;").encode()
    return quote(text, safe="").encode()


@st.composite
def paths(draw: st.DrawFn) -> bytes:
    """A path below ours, of a stream, a fragment, a file or none."""
    known = ["", "/news", "/rooms/7", "/names/x", "/paths/a/b", "/secret", "/vault/7"]
    known += [f"/~/{name}{path}" for name in ("list", "mine") for path in known]
    known += ["/~static/htmx.js", "/~static/../signer.py", "/~static/vendor.json", "/~"]
    path = b"/sse" + draw(st.sampled_from(known)).encode()
    for word in draw(st.lists(st.sampled_from(WORDS), max_size=3)):
        path += draw(st.sampled_from([b"/", b""])) + escaped(word, draw(HOW)).replace(b"?", b"%3f")
    return path


HOW = st.sampled_from(["well", "well", "all", "badly"])
NAMES = (
    st.sampled_from(["t", "t", "t", "since", "since", "fragments", "x", ""])
    | st.sampled_from(["topic", "topic", "topic"])
    | st.sampled_from(["replaces", "first", "lastEventId"])
    | words
)
#: A secret of no connection, of any length, and marks of pages.
secrets = words | st.sampled_from(["0" * 16, "x" * 40, "x" * 64, "x" * 65])
marks = st.lists(words | st.sampled_from(["a1", "x" * 32, "x" * 33]), max_size=4).map(",".join)


#: Names of topics, written well or not.
topics = (
    st.sampled_from(
        ["news", "secret", "vault?number=7", "rooms?x=7", "names?x=%2F", "slow?number=1"]
    )
    | st.sampled_from(FORGED)
    | words
    | st.tuples(st.sampled_from(["news", "rooms", "vault"]), words).map("?x=".join)
)


VALUES = {
    "t": tokens,
    "topic": topics,
    "fragments": st.sampled_from(["1", "1", "0", "", "list"]) | words,
    "since": st.lists(positions, max_size=3).map(",".join),
    "lastEventId": positions,
    "replaces": secrets,
    "first": marks,
}


@st.composite
def queries(draw: st.DrawFn) -> bytes:
    """A query, of parameters that mean something and of others."""
    pairs = []
    for name in draw(st.lists(NAMES, max_size=draw(st.sampled_from([2, 6, 30])))):
        values = VALUES.get(name, words)
        pairs.append(escaped(name, "well") + b"=" + escaped(draw(values), draw(HOW)))
    return draw(st.sampled_from([b"&", b"&", b"&&", b";"])).join(pairs)


HEADERS: Mapping[bytes, st.SearchStrategy[bytes]] = {
    b"last-event-id": positions.map(lambda text: text.encode("utf-8", "replace")) | plain,
    b"accept": st.sampled_from([b"text/event-stream", b"*/*", b"", b"text/event-stream;q=0", b";"]),
    b"cookie": st.sampled_from(
        [
            b"sse_browser=",
            b"session=",
            b"sse_browser=x; sse_browser=y",
            b"=;=;",
            b"\xff=\xff",
            b";;",
        ]
        + [f"{name}={token}".encode() for name in ("sse_browser", "session") for token in FORGED]
    ),
    b"origin": st.sampled_from(
        [b"null", b"http://localhost", b"http://[", b"http://a]", b"http://\xff", b"x", b"", b"//"]
    ),
    b"sec-fetch-site": st.sampled_from([b"same-origin", b"cross-site", b"none", b"", b"\xff"]),
    b"content-length": st.sampled_from([b"", b"x", b"-1", b"9" * 30, b"9" * 5000]),
    b"hx-request": plain,
    b"x-forwarded-for": plain,
    b"remote-addr": plain,
    b"range": st.sampled_from([b"bytes=0-", b"bytes=9-1", b"bytes=-1", b"x", b""]),
    b"if-none-match": plain,
    b"if-modified-since": st.sampled_from([b"Thu, 01 Jan 1970 00:00:00 GMT", b"x", b"", b"\xff"]),
    b"authorization": plain,
    b"content-type": plain,
    b"x-" + b"y" * 3000: plain,
}
headers = st.lists(
    st.sampled_from(list(HEADERS)).flatmap(
        lambda name: HEADERS[name].map(
            # No server lets these through; what else may stand in a value, may here.
            lambda value: (name, re.sub(rb"[\r\n\0]", b"", value))
        )
    ),
    max_size=6,
)
asks = st.builds(
    Ask,
    path=paths(),
    query=queries(),
    headers=st.tuples(headers, st.sampled_from([b"text/event-stream", b"text/event-stream", b""]))
    .map(lambda both: [(b"host", b"localhost"), *both[0], (b"accept", both[1])]),
    method=st.sampled_from(["GET", "GET", "GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "BREW"]),
    body=st.sampled_from([b"", b"", b"\0" * 100, b"t=~news&since=0"]),
    http=st.sampled_from(["1.0", "1.1", "2", "3"]),
)  # fmt: skip


def check(ask: Ask, answer: Answer) -> None:
    """Check what must be true of every answer."""
    assert 200 <= answer.status < 500, (ask, answer)
    assert b"data: error" not in answer.body, (ask, answer)
    assert SECRET.encode() not in answer.body, (ask, answer)
    assert SECRET not in answer.head, (ask, answer)
    assert ask.method == "GET" or not answer.is_stream


@settings(SAME, max_examples=120)
@given(several=st.lists(asks, min_size=1, max_size=4))
@example(several=[Ask(b"/sse/news", headers=[(b"origin", b"http://["), (b"host", b"localhost")])])
def test_whatever_is_asked_there_is_an_answer_without_a_secret(several: list[Ask]) -> None:
    """No request is an error, hangs, gets what is not for it, or leaves anything behind."""

    async def ask_all() -> None:
        app = make_app()
        async with clean(app):
            await stir(app)
            for ask in several:
                check(ask, await Client(app, ask).run())

    asyncio.run(ask_all())


@settings(SAME, max_examples=60)
@given(
    several=st.lists(queries() | st.binary(max_size=60), min_size=1, max_size=4),
    last=positions.map(lambda text: text.encode("utf-8", "replace")) | plain,
)
@example(several=[b"t=~news&since=0&replaces=%ff&first=,,&first=a,b"], last=b"\xff")
@example(several=[b"t=~news&lastEventId=%00&since=" + b"," * 500], last=b"")
@example(several=[b"t=~news ~x", b"t=~ ~", b"t=~~", b"t=%7E%00+~%C3%A9"], last=b"0")
@example(several=[b"topic=news&topic=%ff&topic=vault%3Fnumber%3D7&fragments=1"], last=b"")
@example(several=[b"topic=names?x=%ed%a0%80&topic=news", b"topic=news?x&topic=?=&topic="], last=b"")
@example(several=[b"topic=" + b"&topic=x" * 700, b"topic=news&t=", b"topic"], last=b"0")
def test_whatever_the_query_is_the_shared_stream_has_an_answer(
    several: list[bytes], last: bytes
) -> None:
    """A stream opens or is refused by an ending; with or without the id of a last event."""
    accept = (b"accept", b"text/event-stream")
    id = (b"last-event-id", re.sub(rb"[\r\n\0]", b"", last))

    async def ask_all() -> None:
        app = make_app()
        async with clean(app):
            await stir(app)
            for query in several:
                # No server lets these through, nor bytes that Quart could not read as UTF-8.
                query = re.sub(rb"[\r\n\0 #]", b"", query.decode(errors="ignore").encode())
                for headers in ([accept], [accept, id]):
                    ask = Ask(query=query, headers=[(b"host", b"localhost"), *headers])
                    answer = await Client(app, ask).run()
                    check(ask, answer)
                    assert answer.status in (200, 204)
                    endings = re.findall(rb"event: sse-(stop|holdoff)", answer.body)
                    assert answer.status == 204 or answer.is_stream or len(endings) == 1

    asyncio.run(ask_all())


# -- tokens ----------------------------------------------------------------------------------------


async def token_of(app: Quart, user: str | None) -> tuple[QuartClient, str]:
    """Return the browser of a user, and the token of a page that the user has seen."""
    client, lifecycle = QuartClient(app), app.extensions["quart_sse"].lifecycle
    was_served = lifecycle.is_serving
    if user is not None:
        await client.get(f"/login?user={user}")
    page = await (await client.get("/")).get_data(as_text=True)
    if not was_served:
        await lifecycle.stop()
    (url,) = connect_urls(page)
    found = re.search(r"[?&]t=([^&]+)", url)
    assert found is not None
    return client, unquote(found[1])


@settings(SAME, max_examples=40)
@given(data=st.data())
def test_no_token_but_the_owner_s_own_opens_anything(data: st.DataObject) -> None:
    """A genuine token that was changed anywhere, cut or joined with another opens nothing."""

    async def ask_all() -> None:
        app, other = make_app(), make_app(SECRET_KEY="another secret")
        async with clean(app):
            owner, good = await token_of(app, "owner")
            _, theirs = await token_of(other, "owner")
            payload, stamp, signature = good.split(".")
            *_, their_signature = theirs.split(".")
            at = data.draw(st.integers(0, len(good) - 2))
            bad = data.draw(
                st.sampled_from(
                    [
                        theirs,
                        good[:at],
                        good[at + 1 :],
                        good[:at] + ("A" if good[at] != "A" else "B") + good[at + 1 :],
                        f"{payload}.AAAAAA.{signature}",
                        f"{payload}.{stamp}.{their_signature}",
                        f".{good}",
                        f"{good}.",
                        f"{good}\0",
                        f"~{good}",
                        f"&{good}",
                        good + good,
                        *FORGED,
                    ]
                )
            )
            # The owner's for other users, and any other for the owner: neither grants anything.
            for client, token in ((QuartClient(app), good), (owner, bad)):
                for path in ("/sse", "/sse/secret", "/sse/~/list/secret", "/sse/~/mine/secret"):
                    sent = cookies(client)
                    ask = Ask(
                        path.encode(),
                        f"t={quote(token, safe='')}&since=0".encode(),
                        [*sent, (b"host", b"localhost"), (b"accept", b"text/event-stream")],
                    )
                    answer = await Client(app, ask).run()
                    if client is owner and path == "/sse" and token.startswith("~"):
                        continue  # authorize grants the vault, with or without a token
                    check(ask, answer)
                    assert not answer.is_stream, (ask, answer)

    asyncio.run(ask_all())


def cookies(client: QuartClient) -> list[tuple[bytes, bytes]]:
    """Return the header that a client's browser sends."""
    text = "; ".join(f"{cookie.name}={cookie.value}" for cookie in client.cookie_jar or ())
    return [(b"cookie", text.encode())]


# -- valid, and near the limits --------------------------------------------------------------------


async def test_what_is_large_and_valid_is_served() -> None:
    """The longest query, the most tokens, the greatest ids and numbers are no abuse."""
    app = make_app()
    client, token = await token_of(app, "owner")
    whole = f"/sse?{'&'.join([f't={quote(token)}&since=0'] * 16)}"
    longest = f"{whole}&x={'x' * (6144 - len(whole.partition('?')[2]) - 3)}"
    last = {"Last-Event-ID": f"{'z' * 16}.{'9' * 15}-{'9' * 9}~{'9' * 15}-{'9' * 9}@{'f' * 256}"}
    data = "é" * ((1 << 19) - 100)

    async with clean(app):
        async with open_stream(client, longest) as stream:
            await stir(app)
            said = await stream.next("secret.said")
        async with open_stream(client, f"{longest}x") as stream:
            (refused,) = await stream.rest()
        async with open_stream(client, f"/sse/rooms/{'9' * 4000}?since=0", last) as stream:
            reset = await stream.next("sse-reset")
            channel = app.extensions["quart_sse"].channels.declared["rooms"]
            await channel.topic(x=int("9" * 4000)).publish("said", data)
            large = await stream.next("said")

    assert len(longest.partition("?")[2]) == 6144
    assert said.data == SECRET
    assert (refused.event, refused.data) == ("sse-stop", "too-long")
    assert json.loads(reset.data) == [f"rooms?x={'9' * 4000}"]
    assert large.data == data


# -- hosts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", [b"x" * 64, b"x" * 9000, b".", b"a..b", b"[", b"\xff", b"a b", b""]
)
async def test_first_request_for_a_bad_host_breaks_no_page(host: bytes) -> None:
    """Fragments are rendered for the host that was asked for first, unless it is none."""
    app = make_app()
    async with clean(app):
        try:
            await Client(app, Ask(b"/sse/news", headers=[(b"host", host)])).run()
        except Exception as error:
            # Quart's own, for every URL and with or without us.
            assert "BadHost" in repr(error)  # noqa: PT017
        answer = await QuartClient(app).get("/sse/~/list/news")
        text = await answer.get_data(as_text=True)

    assert (answer.status_code, text) == (200, "<b>news</b>")


# -- over sockets ----------------------------------------------------------------------------------


async def raw(port: int, data: bytes, *, is_cut: bool = False) -> bytes:
    """Send bytes, and return what comes until the stream is open or the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        writer.write(data)
        if is_cut:
            return b""
        async with asyncio.timeout(5):
            while b"event: sse-" not in answer and (more := await reader.read(65536)):
                answer += more
    except ConnectionError:
        pass  # it would read no further
    finally:
        writer.close()
    return answer


def lines(*texts: bytes, path: bytes = b"/sse/rooms/1", body: bytes = b"") -> bytes:
    """Return a request with some lines of a head."""
    head = [b"GET " + path + b" HTTP/1.1", b"Host: localhost", b"Connection: close", *texts]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


RAW = [
    lines(),
    lines(path=b"/sse?t=~rooms%3Fnumber%3D1&x=\xff\xfe"),
    lines(path=b"/sse/rooms/\0"),
    lines(path=b"/sse/rooms/1\rx"),
    lines(path=b"/sse/rooms/" + b"9" * 60000),
    lines(path=b"/sse?" + b"t=~a&" * 10000),
    lines(path=b"http://elsewhere/sse/rooms/1"),
    lines(path=b"*"),
    lines(path=b"/sse/%2e%2e/%2e%2e/etc/passwd"),
    lines(path=b"/sse/~static/%2e%2e%2fsigner.py"),
    lines(b"Host: another"),
    lines(b"Accept: text/event-stream", b"Accept: */*", b"Last-Event-ID: 0", b"Last-Event-ID: 1"),
    lines(b"Last-Event-ID: \xff\xfe"),
    lines(b"Last-Event-ID: " + b"9" * 20000),
    lines(b"Last-Event-ID: a\r\nSet-Cookie: b"),
    lines(b"Last-Event-ID:"),
    lines(b"X: a\0b"),
    lines(b" folded: x"),
    lines(b"no colon"),
    lines(b"Cookie: " + b"sse_browser=x;" * 2000),
    lines(*[b"X-%d: y" % number for number in range(2000)]),
    lines(b"Content-Length: 5", body=b"12345GET /"),
    lines(b"Content-Length: -1"),
    lines(b"Content-Length: x"),
    lines(b"Content-Length: 5", b"Content-Length: 6", body=b"12345"),
    lines(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"),
    lines(b"Transfer-Encoding: chunked", b"Content-Length: 3", body=b"zz\r\n"),
    lines(b"Expect: 100-continue", b"Content-Length: 3", body=b"abc"),
    lines(b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"),
    lines(b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
    lines(b"Origin: http://["),
    lines(b"Accept: text/event-stream", path=b"/sse/guarded/-1"),
    lines().replace(b"HTTP/1.1", b"HTTP/1.0"),
    lines().replace(b"HTTP/1.1", b"HTTP/9.9"),
    lines().replace(b" HTTP/1.1", b""),
    lines().replace(b"GET", b"HEAD"),
    lines().replace(b"GET", b"G\0T"),
    lines().replace(b"GET", b"TRACE"),
    lines().replace(b"Host: localhost\r\n", b""),
    lines().replace(b"\r\n", b"\n"),
    lines() + lines() + lines(),
]
#: What servers wait for more of.
BEGUN = [
    b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    lines(b"Content-Length: 50", body=b"12345"),
]


@pytest.mark.servers
@pytest.mark.parametrize("command", [uvicorn, hypercorn])
async def test_bytes_that_are_no_request_leave_nothing(
    command: Any, subtests: pytest.Subtests
) -> None:
    """Over a socket anything can be sent, whole or cut anywhere, and the server is as it was."""
    dice = random.Random(7)
    # Of some clients a server notices only by a write that they have gone.
    keys = {"QUART_SSE_LINGER": "0", "QUART_SSE_PRESENCE_LINGER": "0", "QUART_SSE_HEARTBEAT": "2"}
    # Of this one Hypercorn 0.18 keeps a task of its own when a write finds the socket closed.
    some = [data for data in RAW if not (command is hypercorn and b"Upgrade: websocket" in data)]
    async with serve(command, keys) as server:
        await raw(server.port, lines())
        before = await settled(server)
        answers = [(data, await raw(server.port, data)) for data in some]
        cut = BEGUN + [data[: dice.randrange(1, len(data))] for data in some for _ in range(2)]
        for at in range(0, len(cut), 20):
            await asyncio.gather(
                *(raw(server.port, data, is_cut=True) for data in cut[at : at + 20])
            )
        after = await settled(server, before)
        output = server.output

    for data, answer in answers:
        with subtests.test(data=data[:60]):
            status = re.match(rb"HTTP/1\.[01] ([1-4])\d\d", answer)
            assert status or not answer
            assert b"data: error" not in answer
    assert not {name: after[name] for name in EXACT if after[name] > before[name]}
    assert "Traceback" not in output


#: Seconds until what is closed must have been noticed, and between two looks at it.
PATIENCE, POLL = 15.0, 0.05


async def settled(server: Server, before: dict[str, int] | None = None) -> dict[str, int]:
    """Return what a process holds once no client is connected, and it is as it was, or never is."""
    loop = asyncio.get_running_loop()
    end, held, last = loop.time() + PATIENCE, await look(server), {"": 0}
    while loop.time() < end:
        is_idle = not (held["connections"] or held["topics"] or held["departed"])
        if is_idle and (
            held == last if before is None else all(held[n] <= before[n] for n in EXACT)
        ):
            break
        await asyncio.sleep(POLL)  # the connection of the last look is closing, too
        last, held = held, await look(server)
        last["memory"] = held["memory"]
    return held


# -- a flood ---------------------------------------------------------------------------------------

LIMIT, FLOOD = 50, 600
#: Requests at once over sockets, and of how many the one is that a plain view's latency is.
MANY, PINGS = 2000, 40
#: How many times longer a view may take during the flood, as it stands in the same queue.
SLOWER = 100


@pytest.mark.parametrize(
    ("key", "words", "is_known"),
    [
        ("CONNECTIONS", "overloaded", False),
        ("PER_TOPIC", "overloaded", False),
        ("PER_ADDRESS", "overloaded", False),
        ("PER_IDENTITY", "evicted", True),
        ("PER_BROWSER", "evicted", True),
    ],
)
async def test_limit_holds_however_many_come_at_once(key: str, words: str, is_known: bool) -> None:
    """However long each is judged, and all at the same time, no more streams are open."""
    app = make_app(**{f"QUART_SSE_MAX_{key}": LIMIT})
    ask = Ask(b"/sse/slow/1", headers=[(b"host", b"localhost"), (b"accept", b"text/event-stream")])
    async with clean(app) as state:
        if is_known:
            client, _ = await token_of(app, "owner")
            async with open_stream(client, "/sse/slow/1") as stream:
                browser = stream.headers["set-cookie"].partition(";")[0].encode()
            mine = cookies(client) if key == "PER_IDENTITY" else [(b"cookie", browser)]
            ask.headers = [*ask.headers, *mine]
        clients = [Held(app, ask) for _ in range(FLOOD)]
        async with asyncio.TaskGroup() as group:
            for held in clients:
                group.create_task(held.run())
            live = [0]
            while not all(held.opened.is_set() for held in clients):
                await asyncio.sleep(0)
                live.append(sum(not stream.is_ended for stream in state.connections))
            for held in clients:
                held.gone.set()
        sent_away = [held for held in clients if f"data: {words}".encode() in held.answer.body]

    assert max(live) == live[-1] == LIMIT
    assert len(sent_away) == FLOOD - LIMIT


class Held(Client):
    """A client that stays until the test ends it, or the server does."""

    async def run(self) -> Answer:
        """Be held by a stream; nothing happens meanwhile."""
        app: Any = self.app
        async with asyncio.timeout(20):
            await app(self.scope, self.receive, self.send)
        self.opened.set()
        return self.answer


@pytest.mark.servers
async def test_plain_views_are_served_during_a_flood() -> None:
    """With far too many at once, the limit holds, and a plain view is answered in time."""
    async with serve(uvicorn, {"QUART_SSE_MAX_CONNECTIONS": str(LIMIT)}) as server:
        idle = [await asyncio.to_thread(ping, server.port) for _ in range(PINGS)]
        ask = lines(b"Accept: text/event-stream", path=b"/sse/guarded/1")
        streams = [asyncio.ensure_future(flow(server.port, ask)) for _ in range(MANY)]
        flooded = []
        while not all(stream.done() for stream in streams):
            # In a thread: how busy our own loop is with its clients is not the question.
            flooded.append(await asyncio.to_thread(ping_until, server.port, streams))
        held = await look(server)
        opened = [writer for stream in streams if (writer := stream.result()) is not None]
        for writer in opened:
            writer.close()
        taken = [seconds for several in flooded for seconds in several]

    assert len(opened) == LIMIT
    assert held["connections"] == LIMIT
    measured = (
        f"idle {median(idle):.4f}, flooded {median(taken):.4f}, {max(taken):.4f}, {len(taken)}"
    )
    logger.info(measured)
    assert median(taken) < SLOWER * median(idle), (median(idle), median(taken), max(taken))


def ping(port: int) -> float:
    """Return the seconds that a plain view takes, over a connection of its own."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/ping")
    assert connection.getresponse().read() == b"pong"
    connection.close()
    return time.monotonic() - begun


def ping_until(port: int, streams: Sequence["asyncio.Future[Any]"]) -> list[float]:
    """Return the same, again and again until all these have been answered."""
    taken = []
    while not all(stream.done() for stream in streams):
        taken.append(ping(port))
    return taken


async def flow(port: int, data: bytes) -> asyncio.StreamWriter | None:
    """Ask for a stream, and return what closes it; None if it was refused."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    answer = b""
    async with asyncio.timeout(30):
        # A refusal is the first that comes, or comes when others have opened meanwhile.
        while b"event: sse-" not in answer:
            answer += await reader.readuntil(b"\n\n")
    if b"event: sse-open" in answer:
        return writer
    writer.close()
    return None
