"""Streams behind nginx, HAProxy and Caddy, as docs/deploy.md configures them: ``make proxies``."""

import asyncio
import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from proxies import configurations, table
from proxies.catalogue import PROXIES, STREAMS
from proxies.measure import HEARTBEAT, IDLE, Outcome, judge, measure, measure_delays
from proxies.memory import memory_per_stream
from proxies.running import in_front_of, serve_app
from tests.support.documents import blocks_of
from tests.support.servers import ROOT

QUICK = sorted({proxy.package for proxy in PROXIES.values() if proxy.is_quick})


@pytest.mark.servers
@pytest.mark.parametrize("package", QUICK)
async def test_proxy_passes_streams_as_the_page_says(package: str, tmp_path: Path) -> None:
    """Events at once, streams without events stay open, the end is whole, twenty fit into one.

    What left is noticed long before a heartbeat. HTTP/1.1 and HTTP/2 go at the same time.
    """
    proxies = [proxy for proxy in PROXIES.values() if proxy.package == package]
    folders = [tmp_path / proxy.name for proxy in proxies]
    for folder in folders:
        folder.mkdir()

    outcomes = await asyncio.gather(
        *(measure(proxy, folder, late=15.0) for proxy, folder in zip(proxies, folders, strict=True))
    )

    assert [outcome.broken for outcome in outcomes] == [[], []]
    assert [outcome.streams for outcome in outcomes] == [None, STREAMS]


@pytest.mark.servers
async def test_haproxy_without_its_option_holds_events_back(tmp_path: Path) -> None:
    """The page says so, and what is measured would not pass."""
    proxy = PROXIES["haproxy"]
    text = proxy.text.replace("option http-no-delay", "")

    async with (
        serve_app(HEARTBEAT) as app,
        in_front_of(app.port, replace(proxy, text=text), tmp_path / "proxy", IDLE) as running,
        running.client() as client,
    ):
        measured = Outcome(proxy.name)
        await measure_delays(measured, app, client)

    assert 0.15 < measured.event < 1
    judge(proxy, measured)
    assert [what for what in measured.broken if what.startswith("an event took")]


@pytest.mark.servers
@pytest.mark.parametrize("name", ["HAProxy", "nginx"])
async def test_idle_stream_costs_a_proxy_what_the_page_says(name: str, tmp_path: Path) -> None:
    """Its operators count with it."""
    page = (ROOT / "docs/deploy.md").read_text("utf-8")
    (said,) = re.findall(rf"{name} ([\d.]+)(?: KiB)?,", page)

    found = await memory_per_stream(PROXIES[name.lower()], tmp_path)

    assert found == pytest.approx(float(said), rel=0.5)


def test_every_proxy_is_installed_by_a_target() -> None:
    """A machine without them needs nothing but `make proxies`."""
    script = (ROOT / "scripts/tools.sh").read_text("utf-8")
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    wanted = set(re.findall(r"need ([\w-]+)", script)) | {
        re.split("[>=<]", each)[0] for each in groups["proxies"]
    }

    assert {proxy.package for proxy in PROXIES.values()} <= wanted


# -- the verdict -----------------------------------------------------------------------------------


def outcome(**changed: object) -> Outcome:
    """Return what holds, with something changed."""
    good = Outcome("nginx-h2", 0.01, 0.01, True, 0.1, True, 502, 0.1, 20, 3.0)
    return replace(good, broken=[], **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, []),
        ({"first": 1.5}, ["the first byte took 1.50 s"]),
        ({"event": 0.21}, ["an event took 0.210 s"]),
        ({"is_idle_open": False}, ["a stream without events was closed"]),
        ({"is_whole": False}, ["the stop of the app did not come through whole"]),
        ({"down": 200}, ["200 stands for an app that is away"]),
        ({"noticed": 15.0}, ["a client that left was noticed after 15.0 s"]),
        ({"streams": 6}, ["6 streams of 20"]),
        ({"tabs": 20.0}, ["tabs were current after 20.0 s"]),
    ],
)
def test_what_does_not_hold_is_named(changed: dict[str, object], said: list[str]) -> None:
    """Each figure that the page promises is judged."""
    judged = outcome(**changed)

    judge(PROXIES["nginx-h2"], judged)

    assert judged.broken == said


@pytest.mark.parametrize("make", [table.heading, lambda: table.row(outcome())])
def test_rows_are_as_wide_as_the_heading(make: Callable[[], str]) -> None:
    """The table can be pasted into the page."""
    assert {len(line) for line in make().splitlines()} == {len(table.row(outcome()))}


# -- the page --------------------------------------------------------------------------------------

TEXTS = "\n".join(
    [
        *(text for name, text in vars(configurations).items() if name.isupper()),
        *(" ".join(proxy.command) for proxy in PROXIES.values()),
    ]
)


@pytest.mark.parametrize(
    "place",
    [
        pytest.param((block.heading, block.code), id=block.place)
        for block in blocks_of(ROOT / "docs/deploy.md")
        if block.language in ("nginx", "haproxy", "apache", "caddy", "lighttpd", "envoy")
    ],
)
def test_configuration_in_the_page_is_what_was_measured(place: tuple[str, str]) -> None:
    """Each line, but for ports and names of hosts."""
    known = {_plain(line) for line in TEXTS.splitlines()}
    lines = [_plain(line) for line in place[1].splitlines()]

    assert [line for line in lines if line and line not in known] == []


def _plain(line: str) -> str:
    line = line.partition("  # ")[0].strip()
    for port, name in (("8000", "@APP@"), ("443", "@PORT@"), ("example.org", "@CADDY_SITE@")):
        line = line.replace(port, name)
    return line


def test_page_has_every_proxy() -> None:
    """The table of the page is that of the last run."""
    page = (ROOT / "docs/deploy.md").read_text("utf-8")
    for name in PROXIES:
        assert f"| {name.ljust(table.WIDTH)} |" in page
