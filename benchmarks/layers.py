"""Where the CPU of a delivery, a refresh and a connect goes: ``python -m benchmarks layers``.

The server samples itself by a timer of its own CPU time (``ITIMER_PROF``): each sample counts for
the layer of the function that runs. A call into C counts for the line that makes it, so the write
to a transport, which is the kernel and uvloop, is distinguished from what leads there by its line.
"""

import inspect
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from quart import Quart

from .apps import ours
from .epoll import Streams
from .peers import PEERS, Peer, Running, running
from .suite import MANY, NEWS, STREAMS

#: Seconds of CPU between two samples.
INTERVAL = 0.001
#: A part of a file's path -> its layer; the first that fits counts.
LAYERS = {
    "/quart_sse/": "quart_sse",
    "/uvicorn/": "Uvicorn",
    "/quart/": "Quart and Werkzeug",
    "/werkzeug/": "Quart and Werkzeug",
    "/flask/": "Quart and Werkzeug",
    "/asyncio/": "asyncio",
}


def profiled() -> Quart:
    """Serve our app, and count samples; ``GET /layers`` tells and forgets them."""
    from quart_sse.server.direct import UvicornOutlet

    lines, first = inspect.getsourcelines(UvicornOutlet.write)
    (write,) = (first + at for at, line in enumerate(lines) if ".transport.write(" in line)
    file = inspect.getsourcefile(UvicornOutlet)
    samples: Counter[str] = Counter()

    def sample(_: int, frame: FrameType | None) -> None:
        if frame is None:
            return
        name = frame.f_code.co_filename
        if name == file and frame.f_lineno == write:
            samples["kernel and uvloop: the write"] += 1
            return
        found = (layer for part, layer in LAYERS.items() if part in name)
        samples[next(found, "others, and the benchmark's own")] += 1

    app: Quart = ours()

    @app.get("/layers")
    async def layers() -> dict[str, Any]:
        told = dict(samples)
        samples.clear()
        return told

    @app.before_serving
    async def begin() -> None:
        signal.signal(signal.SIGPROF, sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)

    return app


def ask(peer: Running) -> dict[str, int]:
    """Return the samples since the last time."""
    import http.client
    import json

    link = http.client.HTTPConnection("127.0.0.1", peer.port)
    link.request("GET", "/layers")
    found: dict[str, int] = json.loads(link.getresponse().read())
    return found


def report(title: str, samples: dict[str, int]) -> None:
    """Print a row of the table in docs/performance.md."""
    total = sum(samples.values())
    shares = sorted(samples.items(), key=lambda each: -each[1])
    told = ", ".join(f"{layer} {100 * number / total:.0f} %" for layer, number in shares)
    print(f"| {title} | {told} | {total} |", flush=True)


def main() -> None:
    """Profile each of them."""
    command = (*PEERS["ours"].command[:-1], "benchmarks.layers:profiled")
    PEERS["profiled"] = Peer("profiled", command)
    print("| what | where its CPU goes | samples |\n|---|---|--:|")
    with running("profiled") as peer:
        clients = Streams(peer.port, [NEWS] * STREAMS)
        clients.open()
        clients.deliver(lambda: peer.publish(50, 50), 50)
        ask(peer)
        clients.deliver(lambda: peer.publish(600, 60), 600)
        report("a delivery, one by one, 500 streams", ask(peer))
        clients.close()
    with running("profiled") as peer:
        Streams(peer.port, [NEWS] * 50).open()
        ask(peer)
        clients = Streams(peer.port, [NEWS] * MANY)
        clients.open()
        report("a connect", ask(peer))
        clients.close()
    with running("profiled") as peer:
        clients = Streams(peer.port, ["/sse/board?fragments=list"] * 1)
        clients.open()
        ask(peer)
        clients.deliver(lambda: peer.publish(1, more="&storm=20000"), 1)
        report("a refresh, of 20,000 at once", ask(peer))
        clients.close()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
