"""Metrics for Prometheus: each moves by what has happened, in one process and in several."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from quart import Quart

from quart_sse import SSE, DeclarationError
from quart_sse.metrics import Metrics
from tests.support.redis_server import RedisServer
from tests.support.servers import ROOT, RawStream, Server, serve, until_so
from tests.support.sites import Site, serving
from tests.support.streams import SSE_ACCEPT, open_stream, until

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(text: bytes) -> Samples:
    """Return what Prometheus reads: (name, labels) -> value."""
    return {
        (sample.name.removeprefix("quart_sse_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name.startswith("quart_sse_")
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    """Return one value; 0 if it is not there yet, as for a label that nothing has had."""
    return samples.get((name, tuple(sorted(labels.items()))), 0.0)


async def test_metrics_are_those_of_the_figures(site: Site) -> None:
    """Each one moves by as much as it must, and the labels are channels and endings."""
    site.rooms.fragment("list", debounce=0)(lambda room: "<b>list</b>")
    metrics = site.sse.metrics(CollectorRegistry())
    async with site.view(1, 2, who="ada"), open_stream(site.client(), "/sse/rooms/1") as stream:
        await stream.next("sse-open")
        await site.room(1).publish("said")
        await stream.next("said")
        await site.room(1).refresh("list")
        await stream.next("message")
        found = read(metrics.exposition())
        assert value(found, "connections") == 2
        assert value(found, "channel_connections", channel="rooms") == 2
        assert value(found, "html_bytes") == len("<b>list</b>")
        assert 0 < value(found, "oldest_connection_seconds") < 60
    assert (await site.client().get("/sse", headers=SSE_ACCEPT)).status_code == 200
    await until(lambda: not site.sse.connections)

    found = read(metrics.exposition())
    again = read(metrics.exposition())

    assert found == again | {key: each for key, each in found.items() if "created" in key[0]}
    stats = site.sse.stats()
    assert value(found, "connections") == 0
    assert value(found, "channel_connections", channel="rooms") == 0
    assert value(found, "connections_opened_total") == 2
    assert value(found, "connections_ended_total", ending="gone") == 2
    assert value(found, "connections_refused_total", ending="no-token") == 1
    assert value(found, "messages_published_total") == stats.published == 2
    assert value(found, "messages_received_total") == 2
    assert value(found, "messages_delivered_total") == stats.delivered >= 3
    assert value(found, "messages_conflated_total") == value(found, "messages_dropped_total") == 0
    assert value(found, "written_bytes_total") == stats.written > 100
    assert value(found, "resets_total") == value(found, "renders_failed_total") == 0
    assert value(found, "render_seconds_count") == stats.renders.number == 1
    assert value(found, "render_seconds_sum") == pytest.approx(stats.renders.seconds)
    assert value(found, "lag_seconds_count") == stats.lag.number == 1
    assert value(found, "lag_seconds_bucket", le="+Inf") == 1
    labels = {name for _, pairs in found for name, _ in pairs}
    assert labels == {"channel", "ending", "le"}


async def test_regular_work_brings_them_up_to_date(site: Site) -> None:
    """Without a request for them, as where another process is asked."""
    registry = CollectorRegistry()
    site.sse.metrics(registry)
    async with site.view(1):
        await until(lambda: registry.get_sample_value("quart_sse_connections") == 1)


async def test_end_of_serving_is_counted() -> None:
    """The streams that it ends, too."""
    site, registry = Site("memory://"), CollectorRegistry()
    site.sse.metrics(registry)
    async with serving(site), open_stream(site.client(), "/sse/rooms/1") as stream:
        await stream.next("sse-open")

    ended = registry.get_sample_value("quart_sse_connections_opened_total")
    assert (ended, registry.get_sample_value("quart_sse_connections")) == (1, 0)


async def test_broker_that_is_away_is_told(redis: RedisServer) -> None:
    """The alert rules ask for it."""
    site, registry = Site(redis.url), CollectorRegistry()
    site.sse.metrics(registry)
    async with serving(site):
        await redis.kill()
        await until(lambda: registry.get_sample_value("quart_sse_broker_away") == 1)
        await redis.start()
        await until(lambda: registry.get_sample_value("quart_sse_broker_away") == 0)


async def test_apps_of_one_extension_are_added_up() -> None:
    """Those that are initialised later, too."""
    sse, registry = SSE(), CollectorRegistry()
    sse.channel("news", "/news", public=True)
    apps = [Quart("one"), Quart("other")]
    sse.init_app(apps[0])
    metrics = sse.metrics(registry)
    sse.init_app(apps[1])
    async with (
        apps[0].test_app(),
        apps[1].test_app(),
        open_stream(apps[0], "/sse/news") as one,
        open_stream(apps[1], "/sse/news") as other,
    ):
        await one.next("sse-open")
        await other.next("sse-open")
        assert value(read(metrics.exposition()), "connections") == 2


def test_registry_has_one_set_of_metrics() -> None:
    """However many extensions count in it; one extension has one registry."""
    sse, registry = SSE(), CollectorRegistry()
    metrics = sse.metrics(registry)
    assert isinstance(metrics, Metrics)
    assert sse.metrics(registry) is SSE().metrics(registry) is metrics

    with pytest.raises(DeclarationError, match="another registry before"):
        sse.metrics(CollectorRegistry())


def test_without_prometheus_client_the_remedy_is_named() -> None:
    """And an app without metrics does not load it."""
    code = """
import sys
sys.modules["prometheus_client"] = None
from quart_sse import SSE
try:
    SSE().metrics()
except Exception as error:
    print(type(error).__name__, error)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.stdout.startswith("SetupError sse.metrics() needs prometheus-client"), done.stderr
    assert "quart-sse[metrics]" in done.stdout


# -- several processes -----------------------------------------------------------------------------


async def scrape(server: Server) -> Samples:
    """Return what one of the workers tells."""
    return read((await server.get("/metrics")).partition(b"\r\n\r\n")[2])


@pytest.mark.servers
async def test_workers_tell_of_each_other(redis: RedisServer, tmp_path: Path) -> None:
    """Whichever one is asked; what one held that was killed is forgotten, what it did is not."""
    folder = tmp_path / "metrics"
    folder.mkdir()
    environ = {"PROMETHEUS_MULTIPROC_DIR": str(folder), "QUART_SSE_BROKER_URL": redis.url}

    def command(port: int) -> list[str]:
        uvicorn = ["-m", "uvicorn", "tests.apps.metrics:app", "--no-access-log"]
        return [*uvicorn, "--workers", "2", "--port", str(port)]

    async with serve(command, environ) as server:
        await server.until_all_serve(2)
        streams = [await RawStream.open(server.port, "/sse/rooms/1") for _ in range(8)]
        await server.post("/say/1")
        for stream in streams:
            await stream.read_until("hello")
            await stream.read_until("list</b>")

        async def is_told() -> bool:
            found = await scrape(server)
            return (
                value(found, "connections") == 8
                and value(found, "channel_connections", channel="rooms") == 8
                and value(found, "connections_opened_total") == 8
                and value(found, "messages_published_total") == 2
                and value(found, "messages_delivered_total") == 16
                and value(found, "lag_seconds_count") in (1, 2)
                and value(found, "render_seconds_count") in (1, 2)
            )

        for _ in range(4):  # of both workers
            await until_so(is_told)
        pids = {int(found[1]) for each in folder.iterdir() if (found := _PID.search(each.name))}
        assert len(pids) >= 2
        victim = (await server.state())["pid"]
        for stream in streams:
            await stream.close()

        async def is_empty() -> bool:
            found = await scrape(server)
            return value(found, "connections") == 0

        await until_so(is_empty)
        first = [await RawStream.open(server.port, "/sse/rooms/1") for _ in range(6)]
        await until_so(lambda: _has(server, 6))
        os.kill(victim, signal.SIGKILL)
        await server.post("/say/1")
        left = [await _hears(stream) for stream in first].count(True)
        await until_so(lambda: _has(server, left))
        assert value(await scrape(server), "connections_opened_total") == 14
        for stream in first:
            await stream.close()


_PID = re.compile(r"_(\d+)\.db$")


async def _has(server: Server, number: int) -> bool:
    return value(await scrape(server), "connections") == number


async def _hears(stream: RawStream) -> bool:
    """Tell whether a stream is sent what was published, or has ended with its worker."""
    try:
        await stream.read_until("hello")
    except (EOFError, ConnectionError):
        return False
    return True
