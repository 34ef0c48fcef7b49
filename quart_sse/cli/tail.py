"""The command that shows what is published to a topic, as it comes."""

import asyncio
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

import click

from ..broker import Broker, Kind, Message
from ..config import Config
from ..errors import BrokerUnavailable, ParameterError
from ..wire import Id, Position, decode_data
from .door import Door
from .following import Following, Loss
from .group import note
from .printing import clean, json_option, print_json

#: Interval of probes, in seconds.
_PROBE = Config().probe
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_COLOURS = {Kind.EVENT: "cyan", Kind.REFRESH: "green", Kind.PUSH: "yellow"}


@click.command()
@click.argument("topic", metavar="TOPIC")
@click.option(
    *("--since",),
    metavar="WHEN",
    help="Begin with what is kept: since an event's id, a position, or a time ago such as 5m.",
)
@json_option
@click.pass_obj
def tail(door: Door, topic: str, since: str | None, as_json: bool) -> None:
    """Show what is published, as it comes.

    This needs Redis. Ctrl-C ends it, with the exit code 130. Of fragments it shows that they have
    changed, and with --since the last change of each.
    """
    asyncio.run(_tail(door, topic, since, as_json))


async def _tail(door: Door, topic: str, since: str | None, as_json: bool) -> None:
    async with door.open() as publisher:
        place = await publisher.place(topic)
        following = Following(publisher.broker, place, partial(_start, since))
        await following.start()
        probes = asyncio.create_task(_probe(publisher.broker))
        try:
            while True:
                _show(await following.next(), as_json)
        finally:
            probes.cancel()


async def _probe(broker: Broker) -> None:
    """Let the broker notice that its connection is dead, as processes of the app do."""
    while True:
        await asyncio.sleep(_PROBE)
        with suppress(BrokerUnavailable):
            await broker.probe()


def _show(message: Message | Loss, as_json: bool) -> None:
    if isinstance(message, Loss):
        note("Some of what was published before this is no longer kept.")
    elif as_json:
        print_json(_json(message))
    else:
        click.echo(_line(message), color=False if os.environ.get("NO_COLOR") else None)


def _start(since: str | None, now: Position) -> Position:
    """Return where to begin.

    Args:
        since: The option.
        now: Where the broker stands, by its clock.
    """
    if since is None:
        return now
    position = Position.parse(since)
    if position is not None:
        return position
    found = re.fullmatch(r"(\d{1,9})([smhd])", since, re.ASCII)
    try:
        id = Id.parse(since) if found is None else None
    except ValueError:
        raise ParameterError(
            f"--since is {since!r}. Pass an event's id such as 1795302000123-0, a position such as "
            "2d895840.1795302000123-0, or a time ago such as 90s, 5m, 2h or 1d."
        ) from None
    if id is None:
        assert found is not None
        id = Id(max(now.events.ms - int(found[1]) * _SECONDS[found[2]] * 1000, 0), 0)
    return Position(now.epoch, id, id)


def _time(message: Message) -> datetime:
    return datetime.fromtimestamp(message.id.ms / 1000, UTC)


def _line(message: Message) -> str:
    """Return a message as one line, with colours."""
    at = _time(message).astimezone().isoformat(" ", "milliseconds")[:23]
    text = clean(message.data or "")
    if message.kind is Kind.REFRESH:
        text = "(refresh)"
    elif message.kind is Kind.PUSH:
        text = f"(push of {len(message.data or '')} characters of HTML)"
    if message.where is not None:
        text += f"  where={clean(message.where.text)}"
    if message.exclude:
        text += f"  exclude={clean(message.exclude)}"
    name = click.style(clean(message.name or ""), fg=_COLOURS[message.kind], bold=True)
    return f"{click.style(at, dim=True)}  {message.id}  {name}  {text}".rstrip()


def _json(message: Message) -> Mapping[str, object]:
    """Return a message for JSON."""
    told: dict[str, object] = {
        "kind": message.kind.value,
        "id": str(message.id),
        "time": _time(message).isoformat(),
        "topic": message.topic,
        "name": message.name,
    }
    if message.kind is Kind.EVENT:
        told["data"] = decode_data(message.data, message.is_text)
    if message.kind is Kind.PUSH:
        told["html"] = message.data
    if message.where is not None:
        told["where"] = json.loads(message.where.text)
    if message.exclude:
        told["exclude"] = message.exclude.split()
    return told
