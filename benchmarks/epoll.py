"""A load client for many streams: raw sockets and epoll in one thread, every delivery counted."""

import re
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence

from .load import LoadError

#: Begins the data of each event; the time when it was published follows.
MARK = b"@@"
_TIME = re.compile(rb"@@(\d{19}) ")
#: Of so many streams the latency of one is noted, for reading it costs the client.
SAMPLE = 10
#: Length of a mark with its time, which two reads may share.
_LENGTH = 22


class Streams:
    """Open streams of one server.

    Args:
        port: The server's.
        paths: Path of each stream's URL.
    """

    def __init__(self, port: int, paths: Sequence[str]) -> None:
        self._port = port
        self._paths = paths
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self.events: dict[int, int] = {}
        self._tails: dict[int, bytes] = {}
        self._sampled: set[int] = set()
        self.latencies_ms: list[float] = []
        self.bytes = 0

    def open(self, patience: float = 120.0, port: int | None = None) -> float:
        """Open all, some at once; return the seconds that it took.

        Args:
            patience: Seconds that it may take.
            port: Of another server, at which as many more are opened; None for the usual one.
        """
        begun = time.monotonic()
        waiting: set[int] = set()
        for number, path in enumerate(self._paths):
            client = socket.create_connection(("127.0.0.1", port or self._port))
            head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
            client.sendall(head.encode())
            client.setblocking(False)
            place = client.fileno()
            self._sockets[place] = client
            self.events[place] = 0
            if number % SAMPLE == 0:
                self._sampled.add(place)
            self._epoll.register(place, select.EPOLLIN)
            waiting.add(place)
            while len(waiting) >= 50:
                waiting -= self._read(5.0)
                if time.monotonic() > begun + patience:
                    raise LoadError(f"{len(waiting)} streams did not open.")
        while waiting:
            waiting -= self._read(1.0)
            if time.monotonic() > begun + patience:
                raise LoadError(f"{len(waiting)} streams did not open.")
        return time.monotonic() - begun

    def _read(self, timeout: float) -> set[int]:
        """Read what has come, for at most a time; return which streams have got anything."""
        found = set()
        for place, _ in self._epoll.poll(timeout):
            try:
                data = self._sockets[place].recv(262_144)
            except BlockingIOError:
                continue
            if not data:
                raise LoadError("The server closed a stream.")
            found.add(place)
            self.bytes += len(data)
            tail = self._tails.get(place, b"")
            # A mark may be cut in two; what is kept is shorter than a whole one.
            self.events[place] += (tail[-1:] + data).count(MARK)
            if place in self._sampled:
                now, data = time.monotonic_ns(), tail + data
                self.latencies_ms += [(now - int(at)) / 1e6 for at in _TIME.findall(data)]
                self._tails[place] = data[-(_LENGTH - 1) :] if MARK in data[-_LENGTH:] else b""
            self._tails.setdefault(place, b"")
            if place not in self._sampled:
                self._tails[place] = data[-1:] if data[-1:] == b"@" and data[-2:] != MARK else b""
        return found

    def deliver(self, act: Callable[[], object], each: int, patience: float = 120.0) -> float:
        """Let something be published, and read until every stream has all of it.

        Args:
            act: Publishes; it runs in a thread of its own.
            each: How many events every stream gets.
            patience: Seconds that it may take.

        Returns:
            The CPU seconds of this client.

        Raises:
            LoadError: If an event is missing or comes twice.
        """
        for place in self.events:
            self.events[place] = 0
        self.latencies_ms.clear()
        errors: list[BaseException] = []

        def run() -> None:
            try:
                act()
            except BaseException as error:
                errors.append(error)

        before, until = time.process_time(), time.monotonic() + patience
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        missing = set(self.events)
        while missing or thread.is_alive():
            self._read(0.2)
            if errors:
                raise LoadError(f"Publishing failed: {errors[0]!r}")
            missing = {place for place in missing if self.events[place] < each}
            if time.monotonic() > until:
                raise LoadError(f"{len(missing)} streams lack events.")
        self._read(0.05)
        if set(self.events.values()) - {each}:
            raise LoadError("A stream got an event twice.")
        return time.process_time() - before

    def wait(self, seconds: float) -> None:
        """Read what comes, for a time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._read(left)

    def close(self) -> None:
        """Close all streams."""
        for client in self._sockets.values():
            client.close()
        self._epoll.close()


def quantile(values: Sequence[float], part: float) -> float:
    """Return a quantile of some values, by the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("nan")
