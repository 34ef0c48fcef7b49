"""Prometheus metrics of an app, in one process or in many, by ``prometheus-client``.

``sse.metrics()`` makes them. They are plain metrics, because prometheus-client reads no custom
collector of other processes (``PROMETHEUS_MULTIPROC_DIR``): twice a second each process brings them
up to date from what it counts anyway.
"""

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

from .broker import State
from .errors import SetupError
from .hub import BOUNDS
from .registry import Statistics, Stats

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

#: Interval in which a process brings its metrics up to date, in seconds.
INTERVAL = 0.5
#: Set by who runs several processes, whose metrics are then added up.
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"

#: Counter -> field of :class:`Stats`, and what it counts.
COUNTERS = {
    "connections_opened": ("opened", "Streams that have opened."),
    "messages_published": ("published", "Events, refreshes and pushes that the app published."),
    "messages_received": ("received", "Of those, what came from the broker for connections here."),
    "messages_delivered": ("delivered", "Messages for streams, one for each stream."),
    "messages_conflated": ("conflated", "Versions of fragments that a newer one has replaced."),
    "messages_dropped": ("dropped", "Messages that streams were not sent."),
    "written_bytes": ("written", "Bytes that the server was given for streams."),
    "resets": ("resets", "Streams that were reset, because events are lost for them."),
    "renders_failed": ("renders_failed", "Renders of shared fragments that have failed."),
}
#: Counter with a label ``ending`` -> field of :class:`Stats`, and what it counts.
ENDINGS = {
    "connections_ended": ("ended", "Streams that have ended, by their ending."),
    "connections_refused": ("refused", "Streams that were refused, by the ending they were sent."),
}
#: Gauge -> field of :class:`Stats`, what it is, and how those of several processes count.
GAUGES: dict[str, tuple[str, str, Literal["livesum", "livemax"]]] = {
    "connections": ("connections", "Open connections.", "livesum"),
    "oldest_connection_seconds": ("oldest", "Age of the oldest connection.", "livemax"),
    "queued_bytes": ("queued", "Bytes that slow streams hold until clients read.", "livesum"),
    "html_bytes": ("html", "Size of the kept HTML of shared fragments.", "livesum"),
    "kept_bytes": ("kept", "Size of the kept lists of topics in the process.", "livesum"),
}


class Metrics:
    """The metrics of an ``SSE`` object; returned by ``sse.metrics()``.

    Labels are ``channel`` and ``ending``; topics and identities are in no label. Apps of one
    registry are added up.

    Args:
        registry: The registry of prometheus-client.

    Example:
        .. code-block:: python

            metrics = sse.metrics()

            @app.get("/metrics")
            async def show_metrics() -> Response:
                return Response(metrics.exposition(), content_type=metrics.content_type)
    """

    def __init__(self, registry: "CollectorRegistry") -> None:
        from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram

        self.content_type: str = CONTENT_TYPE_LATEST  #: of what :meth:`exposition` returns
        self._registry = used = registry
        self._counters = {
            field: Counter(f"quart_sse_{name}", about, registry=used)
            for name, (field, about) in COUNTERS.items()
        }
        self._endings = {
            field: Counter(f"quart_sse_{name}", about, ["ending"], registry=used)
            for name, (field, about) in ENDINGS.items()
        }
        self._gauges = {
            field: Gauge(f"quart_sse_{name}", about, registry=used, multiprocess_mode=mode)
            for name, (field, about, mode) in GAUGES.items()
        }
        self._by_channel = Gauge(
            "quart_sse_channel_connections",
            "Connections that listen to any topic of a channel.",
            ["channel"],
            registry=used,
            multiprocess_mode="livesum",
        )
        self._states = {
            state.value: Gauge(
                f"quart_sse_broker_{state.value}",
                f"1 if the broker is {state.value} for a process, else 0.",
                registry=used,
                multiprocess_mode="livemax",
            )
            for state in (State.AWAY, State.DEGRADED)
        }
        self._renders = Histogram(
            "quart_sse_render_seconds",
            "Times of the renders of shared fragments.",
            registry=used,
            buckets=BOUNDS,
        )
        self._lag = Histogram(
            "quart_sse_lag_seconds",
            "Times from publishing to the write of the oldest event of each write.",
            registry=used,
            buckets=BOUNDS,
        )
        #: Of each app, what was counted here already.
        self._last: WeakKeyDictionary[Statistics, Stats] = WeakKeyDictionary()
        self._channels = set[str]()
        self._due_at = 0.0

    # -- bringing them up to date ------------------------------------------------------------------

    def add(self, statistics: Statistics) -> None:
        """Count an app.

        Args:
            statistics: Its figures.
        """
        self._last[statistics] = Stats()
        statistics.listen(self._renders.observe, self._lag.observe)

    def poll(self) -> None:
        """Bring the metrics up to date, if that is due; part of the regular work."""
        if time.monotonic() >= self._due_at:
            self._due_at = time.monotonic() + INTERVAL
            self.update()

    def update(self) -> None:
        """Bring the metrics of this process up to date."""
        apps = list(self._last)
        before, now = [self._last[each] for each in apps], [each.figures() for each in apps]
        self._last.update(zip(apps, now, strict=True))
        for field, counter in self._counters.items():
            counter.inc(_sum(now, field) - _sum(before, field))
        for field, labelled in self._endings.items():
            were = _added(getattr(each, field) for each in before)
            for ending, number in _added(getattr(each, field) for each in now).items():
                labelled.labels(ending).inc(number - were.get(ending, 0))
        for field, gauge in self._gauges.items():
            gauge.set(_sum(now, field))
        channels = _added(each.by_channel for each in now)
        self._channels |= channels.keys()
        for channel in self._channels:
            self._by_channel.labels(channel).set(channels.get(channel, 0))
        for state, gauge in self._states.items():
            gauge.set(any(each.broker == state for each in now))

    # -- telling them ------------------------------------------------------------------------------

    def exposition(self) -> bytes:
        """Return the metrics as Prometheus reads them: of all processes, if there are several.

        They are all metrics of the registry, or of the folder ``PROMETHEUS_MULTIPROC_DIR``, also
        those of the app's own.

        Example:
            ``sse.metrics().exposition()``
        """
        from prometheus_client import CollectorRegistry, generate_latest, multiprocess

        self.update()
        folder = os.environ.get(MULTIPROCESS)
        if not folder:
            return generate_latest(self._registry)
        _forget_dead(folder, multiprocess.mark_process_dead)
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


#: Registry -> its metrics, because a registry takes each name once.
_made: dict["CollectorRegistry", Metrics] = {}


def metrics_of(registry: "CollectorRegistry | None") -> Metrics:
    """Return the metrics of a registry, which are made the first time.

    Args:
        registry: The registry of prometheus-client; None for its default.

    Raises:
        SetupError: If prometheus-client is not installed.
    """
    try:
        from prometheus_client import REGISTRY
    except ModuleNotFoundError as error:
        raise SetupError(
            "sse.metrics() needs prometheus-client, which is not installed. Install "
            "quart-sse[metrics]."
        ) from error
    used = REGISTRY if registry is None else registry
    if used not in _made:
        _made[used] = Metrics(used)
    return _made[used]


def _forget_dead(folder: str, forget: Callable[[int], None]) -> None:
    """Forget what processes hold that have ended without saying so: they hold no connection."""
    for path in Path(folder).glob("gauge_live*_*.db"):
        found = re.search(r"_(\d+)\.db$", path.name)
        if found is None or int(found[1]) == os.getpid():
            continue
        try:
            os.kill(int(found[1]), 0)  # asks only whether it is there
        except ProcessLookupError:
            with contextlib.suppress(FileNotFoundError):  # another process was quicker
                forget(int(found[1]))
        except PermissionError:
            pass  # it is there, and another user's


def _sum(parts: Iterable[Stats], field: str) -> float:
    return float(sum(getattr(each, field) for each in parts))


def _added(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in parts:
        for name, number in part.items():
            found[name] = found.get(name, 0) + number
    return found
