"""Measure: ``python -m benchmarks [--streams 500] [--server uvicorn]``, or ``... sizing``.

The first prints the CPU of the whole server process per delivery, paced and in a burst, for
quart_sse and for the way of the Quart docs, taken in turns so that a change of the machine's speed
meets both. CPU time, not wall time: other work on the machine then matters little.

The second prints what several processes cost their Redis; see ``sizing.py``.
"""

import argparse
import asyncio
import statistics
from dataclasses import dataclass

from . import sizing
from .servers import COMMANDS, cpu_seconds, memory_kib, serve

#: Events of the two measurements.
PACED, BURST = 100, 500


class Client(asyncio.Protocol):
    """One stream; counts the events that it gets."""

    def __init__(self) -> None:
        self.opened = asyncio.get_running_loop().create_future()
        self.events = 0
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport
        transport.write(
            b"GET /sse/news HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
        )

    def data_received(self, data: bytes) -> None:
        if not self.opened.done() and b"sse-open" in data:
            self.opened.set_result(None)
        # A name may be cut in two by a chunk; what is kept is shorter than a whole one.
        data = self._tail + data
        self.events += data.count(b"event: news")
        self._tail = data[-10:]


@dataclass
class Figures:
    """What one turn showed."""

    paced_us: float
    burst_us: float
    kib_per_stream: float


async def publish(port: int, count: int, rate: float) -> None:
    """Let the server publish, and wait until it has."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /go?count={count}&rate={rate} HTTP/1.1\r\nHost: localhost\r\n"
    writer.write(f"{head}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
    await reader.read()
    writer.close()


async def deliver(port: int, pid: int, clients: list[Client], count: int, rate: float) -> float:
    """Return the microseconds of CPU per delivery for some events."""
    for client in clients:
        client.events = 0
    before = cpu_seconds(pid)
    await publish(port, count, rate)
    async with asyncio.timeout(120):
        while any(client.events < count for client in clients):  # noqa: ASYNC110 - many to see
            await asyncio.sleep(0.02)
    return (cpu_seconds(pid) - before) / (count * len(clients)) * 1e6


async def turn(server: str, app: str, streams: int) -> Figures:
    """Measure one app once."""
    async with serve(server, app) as (port, pid):
        loop = asyncio.get_running_loop()
        await publish(port, 1, 0)  # so that imports and first-time work are done
        empty = memory_kib(pid)
        clients = []
        for _ in range(streams):
            _, client = await loop.create_connection(Client, "127.0.0.1", port)
            await client.opened
            clients.append(client)
        per_stream = (memory_kib(pid) - empty) / streams
        await deliver(port, pid, clients, 20, 0)
        paced = await deliver(port, pid, clients, PACED, 20)
        burst = await deliver(port, pid, clients, BURST, 0)
        for client in clients:
            client.transport.close()
        return Figures(paced, burst, per_stream)


async def main() -> None:
    """Measure both apps in turns and print medians; or what Redis has to do."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("what", nargs="?", choices=["delivery", "sizing"], default="delivery")
    options.add_argument("--streams", type=int, default=500)
    options.add_argument("--turns", type=int, default=3)
    options.add_argument("--server", choices=sorted(COMMANDS), default="uvicorn")
    given = options.parse_args()
    if given.what == "sizing":
        await sizing.main()
        return
    results: dict[str, list[Figures]] = {"ours": [], "docs": []}
    for _ in range(given.turns):
        for app, figures in results.items():
            figures.append(await turn(given.server, app, given.streams))

    print(f"{given.server}, {given.streams} streams, events of about 120 bytes,")
    print(f"median of {given.turns} turns; CPU of the server process per delivery")
    print(f"{'':12}{'paced 20/s':>14}{'burst of 500':>16}{'memory/stream':>16}")
    medians = {}
    for app, figures in results.items():
        paced = statistics.median(figure.paced_us for figure in figures)
        burst = statistics.median(figure.burst_us for figure in figures)
        memory = statistics.median(figure.kib_per_stream for figure in figures)
        medians[app] = (paced, burst)
        name = {"ours": "quart_sse", "docs": "Quart docs"}[app]
        print(f"{name:12}{paced:>11.1f} us{burst:>13.1f} us{memory:>12.1f} KiB")
    ratios = [ours / docs for ours, docs in zip(*medians.values(), strict=True)]
    print(f"{'ratio':12}{ratios[0]:>14.2f}{ratios[1]:>16.3f}")


if __name__ == "__main__":
    asyncio.run(main())
