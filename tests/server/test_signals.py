"""One handler in front of the server's: apps come and go in any order, and leave it as it was."""

import asyncio
import gc
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from quart_sse.server.signals import listen, unlisten


class Ear:
    """Counts the signals."""

    def __init__(self) -> None:
        self.count = 0

    def signalled(self) -> None:
        """Count one."""
        self.count += 1


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """The signals that the server's own handler gets."""
    numbers: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda number, _: numbers.append(number))
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_apps_leave_in_any_order(heard: list[int], order: tuple[int, ...]) -> None:
    """Those that are there are told, the server always is, and in the end nothing is left."""
    servers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    ears = [Ear() for _ in range(3)]
    assert [listen(ear) for ear in ears] == [servers] * 3
    signal.raise_signal(signal.SIGTERM)
    for at, number in enumerate(order):
        unlisten(ears[number])
        signal.raise_signal(signal.SIGTERM)
        assert sum(ear.count for ear in ears) == 3 + sum(2 - each for each in range(at + 1))

    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == servers
    assert heard == [signal.SIGTERM] * 4


def test_server_that_comes_later_is_called_too(heard: list[int]) -> None:
    """Its handler has taken the place of ours, and the next app puts one in front of it."""
    early, late, also = Ear(), Ear(), list[int]()
    listen(early)
    signal.signal(signal.SIGTERM, lambda number, _: also.append(number))
    listen(late)
    signal.raise_signal(signal.SIGTERM)

    assert (early.count, late.count, also) == (1, 1, [signal.SIGTERM])
    unlisten(early)
    unlisten(late)


def test_app_that_was_forgotten_is_collected(heard: list[int]) -> None:
    """It need not say that it has ended."""
    ear = Ear()
    gone = weakref.ref(ear)
    listen(ear)
    del ear
    gc.collect()
    signal.raise_signal(signal.SIGINT)

    assert gone() is None
    assert heard == [signal.SIGINT]
    last = Ear()
    listen(last)
    unlisten(last)


def test_handler_of_asyncio_is_gone_with_its_loop() -> None:
    """asyncio.run does not restore Python's own if it finds another than its."""
    ear = Ear()

    async def serve() -> None:
        listen(ear)
        signal.raise_signal(signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    python = signal.signal(signal.SIGINT, signal.default_int_handler)
    asyncio.run(serve())
    unlisten(ear)

    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, python)
    signal.signal(signal.SIGUSR1, before)


#: Two processes send SIGTERM all the time, while it is handled and ignored by turns.
RACE = """
import os, signal
from quart_sse.server.signals import ignore_signals

handle, senders, me = lambda number, frame: None, [], os.getpid()
signal.signal(signal.SIGTERM, handle)
for _ in range(2):
    if (sender := os.fork()) == 0:
        signal.alarm(30)
        while os.getppid() == me:
            os.kill(me, signal.SIGTERM)
        os._exit(0)
    senders.append(sender)
for _ in range(100_000):
    signal.signal(signal.SIGTERM, handle)
    ignore_signals()
for sender in senders:
    os.kill(sender, signal.SIGKILL)
"""


def test_signal_that_comes_while_signals_become_ignored_leaves_no_traceback() -> None:
    """A stop by two signals is a usual one."""
    done = subprocess.run([sys.executable, "-c", RACE], capture_output=True, timeout=50, check=True)

    assert done.stderr == b""
