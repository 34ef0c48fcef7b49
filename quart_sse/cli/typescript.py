"""The command that writes what scripts of pages may name, as TypeScript declarations."""

import asyncio
import json
from collections.abc import Iterable

import click

from ..publisher import ChannelRecord, Declared
from ..wire import converters_of
from .door import Door
from .group import note

_HEAD = """\
// Written by `quart sse types`. Write it again when channels, fragments or parameters change.
"""
_TAIL = """\

interface QuartSSEMessage {
  event: string;
  data: any;
  id: string;
  timestamp: number;
}

type QuartSSECallback = (data: any, message: QuartSSEMessage) => void;

interface QuartSSEPage {
  on<C extends keyof QuartSSEChannels>(
    channel: C,
    event: QuartSSEChannels[C]["events"],
    params: QuartSSEChannels[C]["params"],
    callback: QuartSSECallback,
  ): () => void;
  on<C extends keyof QuartSSEChannels>(
    channel: C,
    event: QuartSSEChannels[C]["events"],
    callback: QuartSSECallback,
  ): () => void;
  on(
    audience: "user" | "everyone" | "connection",
    event: string,
    callback: QuartSSECallback,
  ): () => void;
  on(all: "*", callback: QuartSSECallback): () => void;
  readonly page: string;
  readonly isConnected: boolean;
  readonly isConnecting: boolean;
  readonly error: string;
  readonly lastMessage?: QuartSSEMessage;
  readonly messages: QuartSSEMessage[];
  clearMessages(): void;
  connect(): void;
  disconnect(): void;
  reconnect: boolean;
  attempts: number;
  interval?: number;
  onconnect?: () => void;
  ondisconnect?: (state: string) => void;
  onerror?: (error: string) => void;
}

declare var QuartSSE: QuartSSEPage;
"""


@click.command()
@click.pass_obj
def types(door: Door) -> None:
    """Write TypeScript declarations for scripts.

    They have channels, parameters, fragments, and the names of events where these are declared.
    """
    declared = door.declared() or asyncio.run(_declared(door))
    click.echo(_HEAD, nl=False)
    click.echo(declarations(declared.channels.values()), nl=False)
    click.echo(_TAIL, nl=False)
    note("Data of events are `any`: events have no types yet.")


async def _declared(door: Door) -> Declared:
    async with door.open() as publisher:
        return await publisher.declared()


def declarations(records: Iterable[ChannelRecord]) -> str:
    """Return the interface that has one member for each channel."""
    lines = ["interface QuartSSEChannels {"]
    for record in sorted(records, key=lambda each: each.name):
        events = "string" if record.events is None else _union(record.events)
        lines += [
            f"  {json.dumps(record.name)}: {{",
            f"    params: {_params(record.rule)};",
            f"    fragments: {_union(record.fragments)};",
            f"    events: {events};",
            "  };",
        ]
    return "\n".join([*lines, "}", ""])


def _union(names: Iterable[str]) -> str:
    return " | ".join(json.dumps(name) for name in sorted(names)) or "never"


def _params(rule: str) -> str:
    converters = sorted(converters_of(rule).items())
    fields = [f"{name}: {_type(*converter)}" for name, converter in converters]
    return f"{{ {'; '.join(fields)} }}" if fields else "Record<string, never>"


def _type(name: str, arguments: tuple[object, ...], options: dict[str, object]) -> str:
    """Return the type of a parameter, whose text must be that of the topic's name.

    A number whose text in JavaScript may be another one, such as 1.0, is a string.
    """
    if name == "int" and "fixed_digits" not in options and not arguments:
        return "number"
    if name == "any":
        return _union(map(str, arguments))
    is_known = name in {"int", "float", "string", "default", "path", "uuid"}
    return "string" if is_known else "string | number"
