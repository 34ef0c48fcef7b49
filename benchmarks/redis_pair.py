"""Two processes of an app at one Redis: ``python -m benchmarks redis``.

One process publishes and the other one has the stream, as behind a proxy. The same is measured in
one process, in turns, so that what Redis adds is a difference within one run. Then both publish
and both receive, at a rate.
"""

import contextlib
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from .epoll import Streams, quantile
from .load import LoadError
from .peers import Running, running
from .servers import cpu_seconds

NEWS = "/sse/news"
PROGRAM = "redis-server"
#: Events of a turn whose latency is measured, and how many come in a second.
EVENTS, PACE = 200, 100
#: Publishes per second that are asked of both processes, for so many seconds, by so many requests
#: at once in each. No more can be measured, so it is more than should be sustained.
RATE, SECONDS, AT_ONCE = 6000, 5, 20


@contextlib.contextmanager
def redis() -> Iterator[tuple[str, int]]:
    """Run a Redis on a socket until the block ends; gives its URL and process id."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "redis.sock")
        command = [PROGRAM, "--port", "0", "--unixsocket", str(path), "--dir", folder]
        process = subprocess.Popen(
            [*command, "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL
        )
        try:
            until = time.monotonic() + 10
            while not path.is_socket():
                if process.poll() is not None or time.monotonic() > until:
                    raise LoadError("redis-server did not start.")
                time.sleep(0.05)
            yield f"unix://{path}", process.pid
        finally:
            process.terminate()
            process.wait()


def delay(publisher: Running, receiver: Streams) -> float:
    """Return the median time from a publish to a stream, in milliseconds."""
    receiver.deliver(lambda: publisher.publish(EVENTS, PACE), EVENTS)
    return quantile(receiver.latencies_ms, 0.5)


def compare_delays(turns: int = 5) -> dict[str, float]:
    """Measure what Redis adds to the time from a publish to a stream: medians of turns."""
    with (
        redis() as (url, _),
        running("ours") as alone,
        running("ours", {"QUART_SSE_BROKER_URL": url}) as publisher,
        running("ours", {"QUART_SSE_BROKER_URL": url}) as other,
    ):
        near, far = Streams(alone.port, [NEWS]), Streams(other.port, [NEWS])
        near.open()
        far.open()
        pairs = ((alone, near), (publisher, far))
        for peer, receiver in pairs:
            delay(peer, receiver)  # the first time, which imports and connects
        found = [[delay(*pair) for pair in pairs] for _ in range(turns)]
        near.close()
        far.close()
    inside, across = (quantile([turn[at] for turn in found], 0.5) for at in (0, 1))
    return {"in one, p50, ms": inside, "across, p50, ms": across, "adds, ms": across - inside}


def publish_much(publishers: list[Running], seconds: float) -> None:
    """Let processes publish at once, and wait until they have."""
    rate = RATE / len(publishers) / AT_ONCE
    threads = [
        threading.Thread(target=each.publish, args=(round(rate * seconds), rate))
        for each in publishers
        for _ in range(AT_ONCE)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def sustain() -> dict[str, float]:
    """Let both processes publish, and each send all of it to a stream; nothing may be lost."""
    with (
        redis() as (url, pid),
        running("ours", {"QUART_SSE_BROKER_URL": url}) as one,
        running("ours", {"QUART_SSE_BROKER_URL": url}) as other,
    ):
        receivers = Streams(one.port, [NEWS])
        receivers.open()
        receivers.open(port=other.port)

        def run(seconds: float) -> None:
            receivers.deliver(lambda: publish_much([one, other], seconds), round(RATE * seconds))

        run(0.2)
        pids = pid, one.pid, other.pid
        before, begun = [cpu_seconds(each) for each in pids], time.monotonic()
        run(SECONDS)
        took = time.monotonic() - begun
        cpu = [cpu_seconds(each) - was for each, was in zip(pids, before, strict=True)]
        receivers.close()
    return {
        "publishes/s": RATE * SECONDS / took,
        "p50, ms": quantile(receivers.latencies_ms, 0.5),
        "p99, ms": quantile(receivers.latencies_ms, 0.99),
        "Redis, of a core": cpu[0] / took,
        "each process, of a core": sum(cpu[1:]) / 2 / took,
    }


#: Workload -> what is measured.
WORKLOADS: Mapping[str, Callable[[], dict[str, float]]] = {
    f"{PACE} events a second, to a stream of another process": compare_delays,
    f"{RATE:,} publishes a second asked of two processes, each to a stream of both": sustain,
}


def rows() -> Iterator[str]:
    """Measure, and give the rows of the table in docs/performance.md."""
    if shutil.which(PROGRAM) is None:
        print(f"The workloads of Redis are left out: {PROGRAM} is not installed.")
        return
    for title, work in WORKLOADS.items():
        try:
            found = work()
        except LoadError as error:
            print(f"{title}: {error}", flush=True)
            continue
        told = ", ".join(f"{what} {value:,.2f}" for what, value in found.items())
        yield f"| {title} | quart_sse, Uvicorn, Redis | {told} |"


def main() -> None:
    """Print the rows."""
    for row in rows():
        print(row, flush=True)
