"""The suite: quart_sse beside other libraries, nchan and a floor, in one run.

    python -m benchmarks suite [--turns 3] [--peers ours,nchan] [--write docs]

CPU is that of the server's processes, and ratios are between rows of one run: machines differ, and
one machine differs from minute to minute. The client is one process; where it costs more than the
server, latencies are partly its own, and the row says so.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from . import redis_pair
from .charts import bars
from .epoll import Streams, quantile
from .load import LoadError, allow_sockets
from .peers import PEERS, Running, running
from .servers import ROOT, cpu_seconds, memory_kib

#: Streams of the table, of the large events and of the idle ones.
STREAMS, MANY, IDLE = 500, 1000, 10_000
NEWS = "/sse/news"


@dataclass
class Row:
    """What one peer costs.

    Args:
        paced_us: CPU per delivery of events that come one by one, in microseconds.
        p50_ms: Latency of these, from the publishing on.
        p99_ms: The same, of the slowest hundredth.
        burst_us: CPU per delivery of events that come at once.
        per_second: Deliveries per second of these.
        kib: Memory per idle stream.
        connect_us: CPU of opening a stream.
        client_us: CPU of the client per delivery of those that come one by one.
    """

    paced_us: float
    p50_ms: float
    p99_ms: float
    burst_us: float
    per_second: float
    kib: float
    connect_us: float
    client_us: float


def measure(peer: Running, streams: int = STREAMS, paced: int = 60, burst: int = 200) -> Row:
    """Measure a peer that runs."""
    warm = Streams(peer.port, [NEWS] * 20)
    warm.open()
    warm.deliver(lambda: peer.publish(5), 5)
    empty, cpu = memory_kib(peer.pid), cpu_seconds(peer.pid)
    clients = Streams(peer.port, [NEWS] * streams)
    clients.open()
    warm.close()
    clients.wait(0.3)
    connect = (cpu_seconds(peer.pid) - cpu) / streams * 1e6
    kib = (memory_kib(peer.pid) - empty) / (streams - 20)
    clients.deliver(lambda: peer.publish(20, 100), 20)
    cpu = cpu_seconds(peer.pid)
    own = clients.deliver(lambda: peer.publish(paced, 20), paced)
    paced_us = (cpu_seconds(peer.pid) - cpu) / (paced * streams) * 1e6
    latencies = [*clients.latencies_ms]
    cpu, begun = cpu_seconds(peer.pid), time.monotonic()
    clients.deliver(lambda: peer.publish(burst), burst)
    seconds = time.monotonic() - begun
    burst_us = (cpu_seconds(peer.pid) - cpu) / (burst * streams) * 1e6
    clients.close()
    return Row(
        paced_us,
        quantile(latencies, 0.5),
        quantile(latencies, 0.99),
        burst_us,
        burst * streams / seconds,
        kib,
        connect,
        own / (paced * streams) * 1e6,
    )


def compare(names: list[str], turns: int, **load: int) -> dict[str, Row]:
    """Measure peers in turns, and return the medians of each."""
    found: dict[str, list[Row]] = {name: [] for name in names}
    for turn in range(turns):
        for name in names if turn % 2 == 0 else reversed(names):
            try:
                with running(name) as peer:
                    found[name].append(measure(peer, **load))
            except LoadError as error:
                print(f"{name}: {error}", flush=True)
                continue
            print(f"turn {turn + 1} {name:14} {found[name][-1].paced_us:6.1f} us", flush=True)
    return {
        name: Row(*(statistics.median(getattr(row, f.name) for row in rows) for f in fields(Row)))
        for name, rows in found.items()
        if rows
    }


def large(peer: Running, size: int = 20_000, events: int = 15) -> dict[str, float]:
    """Send large events to many streams."""
    clients = Streams(peer.port, [NEWS] * MANY)
    clients.open()
    clients.deliver(lambda: peer.publish(3, 5, size), 3)
    cpu = cpu_seconds(peer.pid)
    clients.deliver(lambda: peer.publish(events, 5, size), events)
    cpu = (cpu_seconds(peer.pid) - cpu) / (events * MANY) * 1e6
    clients.close()
    return {"CPU, us": cpu, "p99, ms": quantile(clients.latencies_ms, 0.99)}


def fast(peer: Running, rate: int = 200, seconds: int = 5) -> dict[str, float]:
    """Send many streams many events; nothing may be lost."""
    clients = Streams(peer.port, [NEWS] * MANY)
    clients.open()
    clients.deliver(lambda: peer.publish(rate, rate), rate)
    cpu, begun = cpu_seconds(peer.pid), time.monotonic()
    clients.deliver(lambda: peer.publish(rate * seconds, rate), rate * seconds)
    took = time.monotonic() - begun
    core = (cpu_seconds(peer.pid) - cpu) / took
    clients.close()
    return {
        "CPU, us": core * took / (rate * seconds * MANY) * 1e6,
        "of a core": core,
        "p99, ms": quantile(clients.latencies_ms, 0.99),
        "deliveries/s": rate * seconds * MANY / took,
    }


def topics(peer: Running, number: int = 5000) -> dict[str, float]:
    """Publish to each of many topics, which have one to three streams each."""
    paths = [f"/sse/topics/{topic % number}" for topic in range(number * 3 // 2)]
    clients = Streams(peer.port, paths)
    clients.open()
    cpu = cpu_seconds(peer.pid)
    clients.deliver(lambda: peer.publish(3, 0, more=f"&topics={number}"), 3)
    cpu = cpu_seconds(peer.pid) - cpu
    clients.close()
    return {"CPU a delivery, us": cpu / (3 * len(paths)) * 1e6}


def storm(peer: Running, refreshes: int = 2000) -> dict[str, float]:
    """Refresh a fragment far more often than it is rendered."""
    clients = Streams(peer.port, ["/sse/board?fragments=list"] * STREAMS)
    clients.open()
    clients.wait(0.5)
    cpu, begun = cpu_seconds(peer.pid), time.monotonic()
    # Of the storm each stream gets a few versions; the mark stands in the last alone.
    clients.deliver(lambda: peer.publish(1, more=f"&storm={refreshes}"), 1)
    cpu, took = cpu_seconds(peer.pid) - cpu, time.monotonic() - begun
    clients.close()
    return {"CPU a refresh, us": cpu / refreshes * 1e6, "refreshes/s": refreshes / took}


def idle(peer: Running, streams: int = IDLE) -> dict[str, float]:
    """Hold idle streams through two heartbeats."""
    empty = memory_kib(peer.pid)
    cpu = cpu_seconds(peer.pid)
    clients = Streams(peer.port, [NEWS] * streams)
    seconds = clients.open()
    clients.wait(3)
    connect = cpu_seconds(peer.pid) - cpu
    grown = memory_kib(peer.pid) - empty
    cpu = cpu_seconds(peer.pid)
    clients.wait(30)
    cpu = (cpu_seconds(peer.pid) - cpu) / 30
    clients.close()
    return {
        "memory, MB": grown / 1000,
        "KiB a stream": grown / streams,
        "idle, % of a core": 100 * cpu,
        "CPU of 1,000 connects, s": connect / streams * 1000,
        "connects/s": streams / seconds,
    }


#: Workload -> what is measured, of which peers, and with which app of ours.
WORKLOADS: Mapping[str, tuple[Callable[[Running], dict[str, float]], list[str]]] = {
    "20 kB to 1,000 streams, 5 a second": (large, ["ours", "plain", "docs", "nchan"]),
    "200 events a second to 1,000 streams": (fast, ["ours", "nchan"]),
    "5,000 topics with 1 or 2 streams": (topics, ["ours"]),
    "2,000 refreshes at once, 500 streams": (storm, ["ours"]),
    "10,000 idle streams": (idle, ["ours", "tuned"]),
}


def table(rows: Mapping[str, Row]) -> str:
    """Return the rows as Markdown, with ratios to nchan."""
    base = rows.get("nchan")
    lines = [
        (
            "| | paced, us | x nchan | p50, ms | p99, ms | burst, us | x nchan | deliveries/s "
            "| KiB a stream | connect, us |"
        ),
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, row in sorted(rows.items(), key=lambda each: each[1].paced_us):
        paced = f"{row.paced_us / base.paced_us:.2f}" if base else ""
        burst = f"{row.burst_us / base.burst_us:.2f}" if base else ""
        mark = " *" if row.client_us > row.paced_us else ""
        lines.append(
            f"| {PEERS[name].title}{mark} | {row.paced_us:.1f} | {paced} | {row.p50_ms:.1f} "
            f"| {row.p99_ms:.1f} | {row.burst_us:.2f} | {burst} | {row.per_second:,.0f} "
            f"| {row.kib:.1f} | {row.connect_us:.0f} |"
        )
    return "\n".join(lines)


def more_workloads() -> str:
    """Measure the other workloads, and return them as Markdown."""
    lines = ["| workload | | |", "|---|---|---|"]
    for title, (work, names) in WORKLOADS.items():
        for name in names:
            if not PEERS[name].is_here:
                continue
            try:
                with running(name, {"QUART_SSE_MAX_CONNECTIONS": "20000"}) as peer:
                    found = work(peer)
            except LoadError as error:
                print(f"{title}, {name}: {error}", flush=True)
                continue
            told = ", ".join(f"{what} {value:,.2f}" for what, value in found.items())
            lines.append(f"| {title} | {PEERS[name].title} | {told} |")
            print(lines[-1], flush=True)
    for row in redis_pair.rows():
        lines.append(row)
        print(row, flush=True)
    return "\n".join(lines)


def write(folder: Path, rows: Mapping[str, Row], command: str, more: str) -> None:
    """Write the table into ``performance.md`` of a folder, between its marks, and the charts."""
    page = folder / "performance.md"
    for name, text in (
        ("table", f"`{command}`\n\n{table(rows)}"),
        ("workloads", more),
    ):
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, _, rest = page.read_text().partition(begin)
        after = rest.partition(end)[2]
        if text:
            page.write_text(f"{before}{begin}\n{text}\n{end}{after}")
    for name, title in (
        ("paced_us", "CPU per delivery, one by one, us"),
        ("burst_us", "CPU per delivery, in a burst, us"),
        ("kib", "Memory per idle stream, KiB"),
    ):
        values = {PEERS[peer].title: getattr(row, name) for peer, row in rows.items()}
        (folder / f"performance-{name.partition('_')[0]}.svg").write_text(bars(title, values))


def main(arguments: list[str]) -> None:
    """Run the suite."""
    parser = argparse.ArgumentParser(prog="benchmarks suite", description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--short", action="store_true", help="few streams and events, in seconds")
    parser.add_argument("--write", type=Path, help="a folder with performance.md, such as docs")
    parser.add_argument("--json", type=Path, help="where the medians go")
    given = parser.parse_args(arguments)
    allow_sockets(IDLE + MANY)
    asked = given.peers.split(",")
    names = [name for name in asked if PEERS[name].is_here]
    for name in set(asked) - {*names}:
        print(f"{name} is left out: {PEERS[name].needs} is not installed.")
    load = {"streams": 100, "paced": 20, "burst": 50} if given.short else {}
    rows = compare(names, given.turns, **load)
    print(table(rows))
    print("* where the client costs more than the server")
    more = "" if given.short else more_workloads()
    if given.json is not None:
        text = json.dumps({name: vars(row) for name, row in rows.items()}, indent=1)
        given.json.write_text(text)
    if given.write is not None:
        command = f"python -m benchmarks suite --turns {given.turns}"
        write(given.write if given.write.is_absolute() else ROOT / given.write, rows, command, more)
