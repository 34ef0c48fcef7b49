"""The command that shows the figures of all processes, again and again."""

import asyncio
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import click

from ..errors import BrokerUnavailable, SetupError
from .door import Door
from .group import note
from .printing import clean, json_option, print_json

if TYPE_CHECKING:
    from ..broker import Process
    from ..registry import Stats, Surveyed

#: Takes the cursor to the first line; clears the rest of a line, and of the screen.
_HOME, _REST_OF_LINE, _REST = "\x1b[H", "\x1b[K", "\x1b[J"
#: Clears the screen, before the first time.
_CLEAR = "\x1b[2J"
#: Shown topics.
_TOPICS = 8


@click.command()
@click.option(
    *("--every",),
    type=click.FloatRange(0.2, 3600),
    default=2.0,
    show_default=True,
    help="Seconds from one look to the next.",
)
@click.option(
    *("--count",), type=click.IntRange(1), help="Number of looks; without it, Ctrl-C ends it."
)
@json_option
@click.pass_obj
def top(door: Door, every: float, count: int | None, as_json: bool) -> None:
    """Show the figures of all processes.

    This needs Redis. On a terminal they stay in their place; elsewhere each look is one line. Rates
    are those since the look before.
    """
    asyncio.run(_top(door, every, count, as_json))


async def _top(door: Door, every: float, count: int | None, as_json: bool) -> None:
    from ..registry import Survey  # other commands do not wait for it

    is_screen = sys.stdout.isatty() and not as_json
    if is_screen:
        click.echo(_CLEAR, nl=False)
    before: Surveyed | None = None
    then, looks = 0.0, 0
    async with door.open() as publisher:
        survey = Survey(publisher.ask, publisher.live, publisher.timeout)
        while True:
            now = time.monotonic()
            try:
                found = await survey.figures()
            except BrokerUnavailable as error:
                if before is None:
                    raise
                note(f"The broker does not answer; it is asked again. {error}")  # it may come back
            else:
                if not found.by_process and not found.silent:
                    raise SetupError(
                        "No process of the app is live. Start the app with the same "
                        "QUART_SSE_BROKER_URL and QUART_SSE_REDIS_PREFIX; a process is listed some "
                        "seconds later."
                    )
                rates = {} if before is None else _rates(before.total, found.total, now - then)
                _show(found, rates, is_screen, as_json)
                before, then = found, now
            looks += 1
            if looks == count:
                return
            await asyncio.sleep(max(now + every - time.monotonic(), 0.0))


def _rates(before: "Stats", after: "Stats", seconds: float) -> Mapping[str, float]:
    """Return what figures grow by in a second; that of a process that has gone counts as 0."""
    return {
        name: max(getattr(after, name) - getattr(before, name), 0) / seconds
        for name in ("published", "delivered", "written")
    }


def _show(found: "Surveyed", rates: Mapping[str, float], is_screen: bool, as_json: bool) -> None:
    if as_json:
        print_json(_json(found, rates))
    elif is_screen:
        width, height = shutil.get_terminal_size()
        lines = [clean(line)[: width - 1] for line in _screen(found, rates)][: height - 1]
        click.echo(_HOME + "".join(f"{line}{_REST_OF_LINE}\n" for line in lines) + _REST, nl=False)
    else:
        click.echo(f"{time.strftime('%H:%M:%S')}  {_line(found, rates)}")


def _line(found: "Surveyed", rates: Mapping[str, float]) -> str:
    """Return the figures in one line."""
    total = found.total
    parts = [
        f"{total.connections} connections",
        f"{total.identities} users",
        f"{total.processes} processes",
        f"broker {total.broker}",
        f"published {_rate(rates, 'published')}",
        f"delivered {_rate(rates, 'delivered')}",
        f"lag {_ms(total.lag.p50)}",
        f"renders {_ms(total.renders.p50)}",
    ]
    if total.renders_failed:
        parts.append(f"{total.renders_failed} renders failed")
    if found.silent:
        parts.append(f"no answer from {', '.join(map(_name, found.silent))}")
    return ", ".join(parts)


def _screen(found: "Surveyed", rates: Mapping[str, float]) -> Iterator[str]:
    """Yield the lines of a screen."""
    total = found.total
    yield (
        f"{time.strftime('%H:%M:%S')}  broker {total.broker}   {total.processes} processes   "
        f"{total.connections} connections   {total.identities} users   {total.topics} topics"
    )
    yield ""
    yield (
        f"published {_rate(rates, 'published'):>10}   lag      "
        f"{_pair(total.lag.p50, total.lag.p99)}"
    )
    yield (
        f"delivered {_rate(rates, 'delivered'):>10}   renders  "
        f"{_pair(total.renders.p50, total.renders.p99)}   {total.renders_failed} failed"
    )
    written = f"{rates['written'] / 1024:.1f} KiB/s" if rates else "-"
    yield (
        f"written   {written:>10}   held for slow clients {total.queued} B   "
        f"conflated {total.conflated}   dropped {total.dropped}   resets {total.resets}"
    )
    yield ""
    yield f"{'PROCESS':<28} {'RELEASE':<10} {'BROKER':<9} {'CONNECTIONS':>11} {'LAG P99':>9}"
    for process, each in sorted(found.by_process.items(), key=lambda item: _name(item[0])):
        yield (
            f"{_name(process):<28} {process.release or '-':<10} {each.broker:<9} "
            f"{each.connections:>11} {_ms(each.lag.p99):>9}"
        )
    for process in found.silent:
        yield f"{_name(process):<28} {process.release or '-':<10} no answer"
    yield ""
    yield f"{'TOPIC':<60} {'VIEWERS':>8}"
    for name, number in list(total.top_topics.items())[:_TOPICS]:
        yield f"{name:<60} {number:>8}"
    yield ""
    yield f"ended    {_reasons(total.ended)}"
    yield f"refused  {_reasons(total.refused)}"
    if found.reached:
        yield f"limits   {_reasons(found.reached)}"


def _json(found: "Surveyed", rates: Mapping[str, float]) -> Mapping[str, object]:
    from ..registry import written

    return {
        "total": written(found.total),
        "rates": rates,
        "processes": [
            {"id": each.id, "host": each.host, "pid": each.pid, "release": each.release, **figures}
            for each, stats in found.by_process.items()
            for figures in ({"connections": stats.connections, "broker": stats.broker},)
        ],
        "reached": found.reached,
        "silent": [each.id for each in found.silent],
    }


def _name(process: "Process") -> str:
    return f"{process.host}:{process.pid}" if process.host else process.id


def _rate(rates: Mapping[str, float], name: str) -> str:
    return f"{rates[name]:.1f}/s" if rates else "-"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.1f} ms"


def _pair(half: float | None, most: float | None) -> str:
    return f"median {_ms(half)}, 99 of 100 {_ms(most)}"


def _reasons(numbers: Mapping[str, int]) -> str:
    ordered = sorted(numbers.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{name} {number}" for name, number in ordered) or "none"
