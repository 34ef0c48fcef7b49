"""Spans from publish to render to write, in one process and across processes."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from quart_sse import BrokerUnavailable, Publisher
from quart_sse.tracing import MOST_LINKS, Tracing, find_tracing, is_trace
from tests.support.documents import ROOT, blocks
from tests.support.redis_server import RedisServer, running_redis
from tests.support.servers import RawStream, serve, until_so
from tests.support.sites import Site, serving
from tests.support.spans import Spans, id_of, is_below
from tests.support.streams import open_stream, until

TRACE = f"00-{'a' * 32}-{'b' * 16}-01"
CANARY = "kanarienvogel"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Spans:
    """Everything is recorded."""
    return Spans(monkeypatch)


@pytest.fixture(params=["memory", "redis"])
async def site(request: pytest.FixtureRequest, tmp_path: Path, spans: Spans) -> AsyncIterator[Site]:
    """A site that was made when there was a provider, with a broker of each kind."""
    if request.param == "memory":
        site = Site("memory://", debounce=0)
        async with serving(site):
            yield site
        return
    async with running_redis(tmp_path) as redis:
        site = Site(redis.url, debounce=0)
        async with serving(site):
            yield site


# -- one process -----------------------------------------------------------------------------------


async def test_event_is_published_and_written(site: Site, spans: Spans) -> None:
    """The write is below the publish, which is below what the app was doing."""
    async with site.view(1) as (stream, _), site.view(1) as (other, _):
        with trace.get_tracer("app").start_as_current_span("view"):
            published = await site.room().publish("said", CANARY)
        await stream.next("rooms.said?room=1")
        await other.next("rooms.said?room=1")
        await until(lambda: spans.named("write rooms"))

    view, publish, write = (spans.one(name) for name in ("view", "publish rooms", "write rooms"))
    assert publish.parent is not None
    assert publish.parent.span_id == id_of(view)
    assert publish.kind is SpanKind.PRODUCER
    assert publish.attributes == {
        "messaging.system": "quart_sse",
        "messaging.destination.name": "rooms",
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.message.id": published.id,
        "quart_sse.name": "said",
    }
    assert is_below(write, publish)
    assert write.kind is SpanKind.CONSUMER
    assert write.attributes == {
        "messaging.system": "quart_sse",
        "messaging.destination.name": "rooms",
        "messaging.operation.name": "write",
        "messaging.operation.type": "process",
        "quart_sse.streams": 2,
    }


async def test_refresh_is_rendered_and_written(site: Site, spans: Spans) -> None:
    """What the renderer records is below the render, though its context is empty otherwise."""

    @site.rooms.fragment("list")
    def render(room: int) -> str:
        with trace.get_tracer("app").start_as_current_span("query"):
            return f"<b>{room}</b>"

    async with open_stream(site.app, "/sse/rooms/1?fragments=list") as stream:
        await stream.next("sse-open")
        with trace.get_tracer("app").start_as_current_span("view"):
            await site.room().refresh("list")
        await stream.next("message")
        await until(lambda: spans.named("write rooms"))

    refresh, write = spans.one("refresh rooms"), spans.one("write rooms")
    drawn = spans.one("render rooms")
    query = spans.one("query")
    assert is_below(drawn, refresh)
    assert is_below(write, drawn)
    assert query.parent is not None
    assert query.parent.span_id == id_of(drawn)
    assert drawn.attributes is not None
    assert drawn.attributes["quart_sse.name"] == "list"


async def test_render_of_many_refreshes_is_one_span(site: Site, spans: Spans) -> None:
    """It is below the first and linked to all, up to a bound."""
    held = asyncio.Event()
    begun: list[int] = []

    @site.rooms.fragment("list")
    async def render(room: int) -> str:
        begun.append(room)
        await held.wait()
        return f"<b>{len(begun)}</b>"

    async with open_stream(site.app, "/sse/rooms/1?fragments=list") as stream:
        await stream.next("sse-open")
        await site.room().refresh("list")
        await until(lambda: begun)
        for _ in range(MOST_LINKS + 3):
            await site.room().refresh("list")
        held.set()
        await until(lambda: len(spans.named("render rooms")) == 2)

    first, second = spans.named("render rooms")
    refreshes = spans.named("refresh rooms")
    assert len(refreshes) == MOST_LINKS + 4
    assert is_below(first, refreshes[0])
    assert is_below(second, refreshes[1])
    assert [link.context.span_id for link in second.links] == [
        id_of(span) for span in refreshes[1 : MOST_LINKS + 1]
    ]
    assert second.attributes is not None
    assert second.attributes["messaging.batch.message_count"] == MOST_LINKS


async def test_render_that_fails_is_an_error(site: Site, spans: Spans) -> None:
    """The next try is below the same publish."""
    fails = [False]

    @site.rooms.fragment("list")
    def render(room: int) -> str:
        if fails[0]:
            raise ValueError("The renderer fails.")
        return "<b></b>"

    async with open_stream(site.app, "/sse/rooms/1?fragments=list") as stream:
        await stream.next("sse-open")
        fails[0] = True
        await site.room().refresh("list")
        await until(lambda: spans.named("render rooms"))
        fails[0] = False
        await until(lambda: len(spans.named("render rooms")) == 2)

    failed, drawn = spans.named("render rooms")
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "RenderError"
    assert drawn.status.status_code is StatusCode.UNSET
    assert is_below(drawn, spans.one("refresh rooms"))


async def test_push_and_personal_fragment_are_written_without_a_render(
    site: Site, spans: Spans
) -> None:
    """Their writes are below what was published."""
    site.rooms.fragment("list")(lambda room: "<b></b>")
    site.rooms.fragment("mine", personal=True)(lambda room: "<i></i>")
    async with open_stream(site.app, "/sse/rooms/1?fragments=list") as stream:
        await stream.next("sse-open")
        await site.room().push("list", "<b>new</b>")
        await stream.next("message")
        await until(lambda: spans.named("write rooms"))

    assert is_below(spans.one("write rooms"), spans.one("push rooms"))
    assert not spans.named("render rooms")


async def test_messages_of_a_bundle_have_spans_of_their_own(site: Site, spans: Spans) -> None:
    """Written together, they are one write, linked to both."""
    async with site.view(1, more="&room=2") as (stream, _):
        async with site.sse.batch():
            await site.room().publish("said", 1)
            await site.room().publish("said", 2)
        await stream.next("rooms.said?room=1")
        await stream.next("rooms.said?room=1")
        await until(lambda: spans.named("write rooms"))

    publishes, writes = spans.named("publish rooms"), spans.named("write rooms")
    assert len(publishes) == 2
    assert is_below(writes[0], publishes[0])
    linked = [link.context.span_id for write in writes for link in write.links]
    assert linked == [id_of(span) for span in publishes]


async def test_names_have_no_parameters_and_no_identities(site: Site, spans: Spans) -> None:
    """Topics hold ids, and those of users their identities: spans have channels alone."""
    async with site.view(1, who=CANARY) as (stream, handle):
        await site.sse.user(CANARY).publish("said", CANARY)
        await site.rooms.everyone.publish("said", CANARY, where={"key": CANARY})
        await site.sse.everyone.publish("said", CANARY)
        await handle.send("note", CANARY)
        await stream.next("everyone.said")
        await until(lambda: any(span.name.startswith("write") for span in spans.all))

    assert {span.name for span in spans.all} >= {
        "publish user",
        "publish rooms",
        "publish everyone",
    }
    assert CANARY not in "".join(span.to_json() for span in spans.all)
    assert "room=" not in "".join(span.to_json() for span in spans.all)


async def test_publish_that_nobody_hears_is_one_span(site: Site, spans: Spans) -> None:
    """Nothing is rendered or written."""
    site.rooms.fragment("list")(lambda room: "<b></b>")
    await site.room().publish("said", 1)
    await site.room().refresh("list")
    async with site.view(1) as (stream, _):
        await site.room().publish("said", 2)
        await stream.next("rooms.said?room=1")
        await until(lambda: spans.named("write rooms"))

    assert [span.name for span in spans.all] == [
        "publish rooms",
        "refresh rooms",
        *["publish rooms", "write rooms"],
    ]


async def test_publish_that_fails_is_an_error(spans: Spans) -> None:
    """As when the broker is away."""
    site = Site("unix:///nowhere/redis.sock", broker_timeout=0.1)
    async with site.app.app_context():
        with pytest.raises(BrokerUnavailable):
            await site.room().publish("said", 1)
        with pytest.raises(BrokerUnavailable):
            await publish_two(site)

    assert len(spans.all) == 3
    assert {span.status.status_code for span in spans.all} == {StatusCode.ERROR}
    assert {(span.attributes or {})["error.type"] for span in spans.all} == {"BrokerUnavailable"}


async def publish_two(site: Site) -> None:
    """Publish two events together."""
    async with site.sse.batch():
        await site.room().publish("said", 2)
        await site.room().publish("said", 3)


# -- what is not recorded --------------------------------------------------------------------------


async def test_publish_that_is_not_sampled_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its message carries no trace, and no process records anything of it."""
    spans = Spans(monkeypatch, ALWAYS_OFF)
    site = Site("memory://", debounce=0)
    site.rooms.fragment("list")(lambda room: "<b></b>")
    async with serving(site), open_stream(site.app, "/sse/rooms/1?fragments=list") as stream:
        await stream.next("sse-open")
        await site.room().refresh("list")
        await stream.next("message")
        await site.room().publish("said", 1)
        await stream.next("said")
        (kept,) = await site.app.extensions["quart_sse"].broker.kept(site.room().name, 9)

    assert not spans.all
    assert kept.trace == ""


async def test_without_a_provider_nothing_is_sent() -> None:
    """The API alone, without an SDK, records nothing."""
    site = Site("memory://")
    async with serving(site), site.view(1) as (stream, _):
        await site.room().publish("said", 1)
        await stream.next("rooms.said?room=1")
        (kept,) = await site.app.extensions["quart_sse"].broker.kept(site.room().name, 9)

    assert kept.trace == ""


def test_without_the_api_there_is_no_tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra, which few apps have."""
    assert find_tracing() is not None
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    assert find_tracing() is None


@pytest.mark.parametrize(
    "text", ["", "x", TRACE[:-1], f"{TRACE}-", TRACE.upper(), TRACE[:-1] + "0"]
)
def test_trace_that_no_release_writes_is_none(spans: Spans, text: str) -> None:
    """What stands in Redis comes from outside: it is neither a trace nor a link."""
    with Tracing().render([text], "rooms", "list") as of_render:
        assert of_render == ""

    assert not is_trace(text)
    assert is_trace(TRACE)
    assert not spans.all


# -- several processes -----------------------------------------------------------------------------


async def test_spans_of_processes_are_one_trace(
    redis: RedisServer, spans: Spans, tmp_path: Path
) -> None:
    """A worker publishes; two processes with viewers render and write."""
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    environ = {"QUART_SSE_BROKER_URL": redis.url, "QUART_SSE_DEBOUNCE": "0"}
    command = ("-m", "uvicorn", "tests.apps.traced:app", "--log-level", "warning", "--port")
    async with (
        serve(lambda port: [*command, str(port)], {**environ, "SPANS": str(files[0])}) as one,
        serve(lambda port: [*command, str(port)], {**environ, "SPANS": str(files[1])}) as two,
    ):
        streams = [
            await RawStream.open(server.port, "/sse/news?fragments=count") for server in (one, two)
        ]

        def publish() -> None:
            with (
                Publisher(redis.url) as publisher,
                trace.get_tracer("worker").start_as_current_span("job"),
            ):
                publisher.topic("news").publish("said", {"text": "x"})
                publisher.topic("news").refresh("count")

        await asyncio.to_thread(publish)
        for stream in streams:
            await stream.read_until("event: said")

        async def all_written() -> bool:
            return all(named(file, "render news") and wrote(file, 2) for file in files)

        await until_so(all_written)
        for stream in streams:
            await stream.close()

    job, said, refresh = (spans.one(name) for name in ("job", "publish news", "refresh news"))
    assert job.context is not None
    for file in files:
        (drawn,) = named(file, "render news")
        below = {span["parent_id"] for span in named(file, "write news")}
        ids = {f"0x{id_of(span):016x}" for span in (said,)} | {drawn["context"]["span_id"]}
        assert drawn["parent_id"] == f"0x{id_of(refresh):016x}"
        assert below <= ids
        assert drawn["context"]["trace_id"] == f"0x{job.context.trace_id:032x}"
        (query,) = [span for span in named(file, "query") if span["parent_id"] is not None]
        assert query["parent_id"] == drawn["context"]["span_id"]


async def test_example_of_the_docs_records_spans() -> None:
    """Printed as it stands: a refresh whose page shows the fragment is three spans of one trace."""
    code = "\n".join(block.code for block in blocks(ROOT / "docs" / "tracing.md", "python"))
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", code + VIEWED],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    told = re.findall(r'^    "name": "(.*)",$', done.stdout, re.M)

    assert told == ["refresh comments", "rename", "render comments", "write comments"]
    assert len(set(re.findall(r'"trace_id": "(.+)"', done.stdout))) == 1
    assert "quart_sse.streams" in done.stdout


#: What the reader of the docs has behind them: a viewer, and a change.
VIEWED = """
import asyncio

from tests.support.streams import open_stream


async def change() -> None:
    async with app.test_app():
        async with open_stream(app, "/sse/comments/7?fragments=list") as stream:
            await stream.next("sse-open")
            await rename(7)
            await stream.next("message")


asyncio.run(change())
"""


def named(file: Path, name: str) -> list[dict[str, Any]]:
    """Return the spans of another process with a name."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [span for span in map(json.loads, lines) if span["name"] == name]


def wrote(file: Path, links: int) -> bool:
    """Whether another process has recorded writes with so many links in all."""
    return sum(len(span["links"]) for span in named(file, "write news")) >= links
