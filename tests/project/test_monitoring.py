"""What is offered to Prometheus and Grafana: read by them, or by their own tools."""

import asyncio
import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import CollectorRegistry

from quart_sse import Ending
from quart_sse.metrics import Metrics
from tests.support.browsers import serve_forum
from tests.support.servers import ROOT, RawStream, free_port, until_so

FOLDER = ROOT / "monitoring"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "grafana-dashboard.json").read_text("utf-8"))
ALERTS = (FOLDER / "alerts.yml").read_text("utf-8")
#: What Grafana puts in place of its variables.
VARIABLES = {"$__rate_interval": "1m", "$job": ".*", "$instance": ".*"}


def program(name: str) -> str:
    """Return the path of a program."""
    path = shutil.which(name)
    assert path, f"{name} is missing; 'make test' installs it, or: apt-get install prometheus"
    return path


def promtool(*arguments: str, text: str = "") -> str:
    """Run promtool, which must be content, and return what it prints."""
    command = [program("promtool"), *arguments]
    done = subprocess.run(
        command, cwd=FOLDER, input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def expressions() -> Iterator[str]:
    """Yield what the dashboard asks for, as Grafana sends it."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            text = target["expr"]
            for name, value in VARIABLES.items():
                text = text.replace(name, value)
            yield text


def names() -> set[str]:
    """Return the names of all time series."""
    registry = CollectorRegistry()
    Metrics(registry)
    found = set()
    for family in registry.collect():
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}
        found |= {family.name + each for each in endings.get(family.type, [""])}
    return found


def test_prometheus_accepts_the_alerts_and_their_tests_pass() -> None:
    """By its own tool."""
    assert "SUCCESS" in promtool("check", "rules", "alerts.yml")
    assert "SUCCESS" in promtool("test", "rules", "alerts-test.yml")


def test_each_alert_has_a_test_in_which_it_fires() -> None:
    """An alert that never fires protects nothing."""
    tests = (FOLDER / "alerts-test.yml").read_text("utf-8")
    alerts = re.findall(r"alert: (\w+)", ALERTS)
    fired = re.findall(r"alertname: (\w+)\n +eval_time: \w+\n +exp_alerts:", tests)

    assert len(alerts) == len(set(alerts)) == 8
    assert sorted(alerts) == sorted(fired)


def test_alerts_and_dashboard_ask_for_metrics_and_endings_that_there_are() -> None:
    """A name that was changed in the code is changed here, too."""
    asked = ALERTS + "".join(expressions())
    known = names()

    assert set(re.findall(r"quart_sse_\w+", asked)) <= known
    reasons = {ending.reason for ending in Ending}
    assert set(re.findall(r'ending="([\w-]+)"', asked)) <= reasons


def test_document_names_every_metric() -> None:
    """And no other one."""
    text = (ROOT / "docs" / "monitoring.md").read_text("utf-8")
    listed = set(re.findall(r"`(quart_sse_\w+)`", text))
    for first, rest in re.findall(r"`(quart_sse_messages)_\w+_total`((?:, `\.\.\._\w+`)+)", text):
        listed |= {first + each for each in re.findall(r"`\.\.\.(_\w+)`", rest)}

    wholes = {re.sub(r"_(bucket|count|sum)$", "", name) for name in names()}
    assert listed == wholes


def test_dashboard_follows_the_schema_of_grafana() -> None:
    """Nothing of it is unknown to Grafana's own types, and nothing has another form there."""
    register_default_plugins()
    read = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(DASHBOARD)))

    def missing(told: Any, back: Any, place: str = "") -> Iterator[str]:
        if isinstance(told, dict) and isinstance(back, dict):
            for key, each in told.items():
                yield from (
                    missing(each, back[key], f"{place}/{key}")
                    if key in back
                    else [f"{place}/{key}"]
                )
        elif isinstance(told, list) and isinstance(back, list) and len(told) == len(back):
            for number, (each, other) in enumerate(zip(told, back, strict=True)):
                yield from missing(each, other, f"{place}/{number}")
        elif told != back:
            yield place

    assert [*missing(DASHBOARD, read)] == []
    assert [*missing({**DASHBOARD, "panles": []}, read)] == ["/panles"]


def test_panels_lie_beside_each_other() -> None:
    """Each has a number of its own, and no two share a place."""
    places = set[tuple[int, int]]()
    for panel in DASHBOARD["panels"]:
        grid = panel["gridPos"]
        own = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not own & places, panel["title"]
        assert max(x for x, _ in own) < 24
        places |= own
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)


@asynccontextmanager
async def prometheus(folder: Path, target: int) -> AsyncIterator[httpx.AsyncClient]:
    """Run Prometheus, which reads an app and the alerts, until the block ends.

    It is ready when the block begins: between listening and that it answers 503.
    """
    port = free_port()
    config = {
        "global": {"scrape_interval": "250ms", "evaluation_interval": "250ms"},
        "rule_files": [str(FOLDER / "alerts.yml")],
        "scrape_configs": [
            {"job_name": "app", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
        ],
    }
    file = folder / "prometheus.yml"
    file.write_text(json.dumps(config))  # JSON is YAML
    process = await asyncio.create_subprocess_exec(
        program("prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

            async def is_ready() -> bool:
                with contextlib.suppress(httpx.TransportError):
                    return (await client.get("/-/ready")).status_code == 200
                return False

            await until_so(is_ready)
            yield client
    finally:
        process.kill()
        await process.wait()


@pytest.mark.servers
async def test_prometheus_reads_the_example(tmp_path: Path) -> None:
    """And answers all that the dashboard asks for."""
    async with serve_forum(2, tmp_path) as forum, prometheus(tmp_path, forum.port) as client:
        text = (await forum.get("/metrics")).partition(b"\r\n\r\n")[2].decode()
        quart_sse = "".join(line for line in text.splitlines(keepends=True) if "quart_sse_" in line)
        promtool("check", "metrics", text=re.sub(r"(?m)^.*_created.*\n", "", quart_sse))
        stream = await RawStream.open(forum.port, "/sse/forum")

        async def ask(query: str) -> list[dict[str, Any]]:
            answer = await client.get("/api/v1/query", params={"query": query})
            assert answer.status_code == 200, answer.text
            found: list[dict[str, Any]] = answer.json()["data"]["result"]
            return found

        async def is_read() -> bool:
            found = await ask('quart_sse_channel_connections{channel="forum"}')
            return [each["value"][1] for each in found] == ["1"]

        await until_so(is_read)
        for query in expressions():
            found = await ask(query)
            assert found or "rate(" in query, query
        rules = (await client.get("/api/v1/rules")).json()["data"]["groups"][0]["rules"]
        assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
        await stream.close()
