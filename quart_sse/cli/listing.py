"""The commands that list channels and connections."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import click

from ..broker import Process
from ..errors import BrokerUnavailable, SetupError, SSEError
from ..publisher import ChannelRecord, Declared
from .door import Door
from .group import INCOMPLETE, end, fail, note
from .printing import json_option, local, print_json, print_table

if TYPE_CHECKING:
    from ..registry import ConnectionInfo, Found


class _Channels(NamedTuple):
    """The channels of the app, and who listens to them."""

    declared: Declared
    viewers: Mapping[str, int] | None = None
    silent: tuple[Process, ...] = ()
    trouble: SSEError | None = None  #: why viewers are not counted


@click.command()
@json_option
@click.pass_obj
def channels(door: Door, as_json: bool) -> None:
    """List channels, and how many listen to each.

    VIEWERS are the open connections of all processes. To count them needs Redis, and so does all of
    it where there is no app.
    """
    found = asyncio.run(_channels(door))
    records = sorted(found.declared.channels.values(), key=lambda each: each.name)
    if as_json:
        rows = [_channel_json(each, found.viewers) for each in records]
        print_json({"channels": rows, "silent": _names(found.silent)})
    else:
        head = ["CHANNEL", "RULE", "PUBLIC", "HISTORY", "FRAGMENTS", "VIEWERS"]
        print_table(head, [_channel_row(each, found.viewers) for each in records])
    if isinstance(found.trouble, BrokerUnavailable):
        end(fail(found.trouble))
    if found.trouble is not None:
        note(f"Viewers are not counted. {found.trouble}")
    elif found.viewers is None and not found.silent:
        note("Viewers are not counted: no process of the app is live.")
    _finish(found.silent)


async def _channels(door: Door) -> _Channels:
    from ..registry import count_by_channel  # other commands do not wait for it

    own = door.declared()
    try:
        async with door.open() as publisher:
            declared = await publisher.declared()
            counted = await count_by_channel(publisher.ask, publisher.live, publisher.timeout)
            return _Channels(declared, *counted)
    except (SetupError, BrokerUnavailable) as error:
        if own is None:
            raise
        return _Channels(own, trouble=error)


def _channel_json(record: ChannelRecord, viewers: Mapping[str, int] | None) -> Mapping[str, object]:
    return {
        "name": record.name,
        "rule": record.rule,
        "public": record.public,
        "history": record.history,
        "history_ttl": record.history_ttl,
        "fragments": sorted(record.fragments),
        "personal": sorted(record.personal),
        "viewers": None if viewers is None else viewers.get(record.name, 0),
    }


def _channel_row(record: ChannelRecord, viewers: Mapping[str, int] | None) -> list[str]:
    personal = set(record.personal)
    fragments = [
        f"{name} (personal)" if name in personal else name for name in sorted(record.fragments)
    ]
    return [
        record.name,
        record.rule,
        "-" if record.public is None else "yes" if record.public else "no",
        f"{record.history} for {record.history_ttl:g} s" if record.history else "none",
        ", ".join(fragments) or "none",
        "-" if viewers is None else str(viewers.get(record.name, 0)),
    ]


@click.command()
@click.option("--topic", help="Only those that listen to this topic.")
@click.option("--channel", help="Only those that listen to any topic of this channel.")
@click.option("--identity", help="Only those of this user.")
@json_option
@click.pass_obj
def connections(
    door: Door,
    topic: str | None,
    channel: str | None,
    identity: str | None,
    as_json: bool,
) -> None:
    """List the open connections (with Redis).

    They are those of all processes.
    """
    found = asyncio.run(_connections(door, topic, channel, identity))
    infos = sorted(found, key=lambda info: (info.connected_at, info.id))
    if as_json:
        rows = [_connection_json(info) for info in infos]
        print_json({"connections": rows, "silent": _names(found.silent)})
    else:
        head = ["ID", "IDENTITY", "SINCE", "ADDRESS", "PROCESS", "TOPICS", "USER AGENT"]
        print_table(head, [_connection_row(info) for info in infos])
    _finish(found.silent)


async def _connections(
    door: Door, topic: str | None, channel: str | None, identity: str | None
) -> "Found":
    from ..registry import conditions, find

    told = conditions(topic, channel, identity, None)
    async with door.open() as publisher:
        if not await publisher.live():
            raise SetupError(
                "No process of the app is live. Start the app with the same QUART_SSE_BROKER_URL "
                "and QUART_SSE_REDIS_PREFIX; a process is listed some seconds later."
            )
        return await find(publisher.ask, publisher.live, told, publisher.timeout)


def _connection_json(info: "ConnectionInfo") -> Mapping[str, object]:
    return {
        "id": info.id,
        "identity": info.identity,
        "connected_at": info.connected_at.isoformat(),
        "remote_address": info.remote_address,
        "process": _process_json(info.process),
        "topics": list(info.topics),
        "metadata": info.metadata,
        "user_agent": info.user_agent,
    }


def _connection_row(info: "ConnectionInfo") -> list[str]:
    return [
        info.id,
        info.identity or "-",
        local(info.connected_at),
        info.remote_address or "-",
        _name(info.process),
        " ".join(info.topics) or "-",
        info.user_agent or "-",
    ]


def _process_json(process: Process) -> Mapping[str, object]:
    return {"id": process.id, "host": process.host, "pid": process.pid, "release": process.release}


def _name(process: Process) -> str:
    return f"{process.host}:{process.pid}" if process.host else process.id


def _names(processes: Iterable[Process]) -> list[Mapping[str, object]]:
    return [_process_json(each) for each in processes]


def _finish(silent: Iterable[Process]) -> None:
    """Name the processes that have not answered, and end with their exit code if there are any."""
    names = ", ".join(map(_name, silent))
    if names:
        note(
            f"No answer from {names}, so what is there is missing here. Ask again; a process that "
            "was killed is listed for a minute, and one of an older release counts no viewers."
        )
        end(INCOMPLETE)
