"""The command that writes what scripts of pages may name, as TypeScript declarations."""

import asyncio
import json
import re
from collections.abc import Iterable, Iterator

import click

from ..publisher import ChannelRecord, Declared
from ..wire import converters_of
from .data_types import description_of, type_of
from .door import Door
from .group import note

_HEAD = """\
// Written by `quart sse types`. Write it again when channels, events or fragments change.
"""
_HEAD_OF_JSDOC = """\
// Written by `quart sse types --jsdoc`. Write it again when channels or events change.

export {};
"""
_TAIL = """\

interface QuartSSEMessage {
  event: string;
  data: any;
  id: string;
  timestamp: number;
}

type QuartSSECallback<Data = any> = (data: Data, message: QuartSSEMessage) => void;

/** Name of an event of a channel. */
type QuartSSEEvent<C extends keyof QuartSSEChannels> = keyof QuartSSEChannels[C]["events"] & string;

/** Data of an event, such as `QuartSSEData<"comments", "comment-added">`. */
type QuartSSEData<
  C extends keyof QuartSSEChannels,
  E extends QuartSSEEvent<C>,
> = QuartSSEChannels[C]["events"][E];

interface QuartSSEPage {
  on(all: "*", callback: QuartSSECallback): () => void;
  on(
    audience: "user" | "everyone" | "connection",
    event: string,
    callback: QuartSSECallback,
  ): () => void;
  on<C extends keyof QuartSSEChannels, E extends QuartSSEEvent<C>>(
    channel: C,
    event: E,
    params: QuartSSEChannels[C]["params"],
    callback: QuartSSECallback<QuartSSEData<C, E>>,
  ): () => void;
  on<C extends keyof QuartSSEChannels, E extends QuartSSEEvent<C>>(
    channel: C,
    event: E,
    callback: QuartSSECallback<QuartSSEData<C, E>>,
  ): () => void;
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
@click.option(
    "--jsdoc", is_flag=True, help="Write JSDoc types of events, for scripts without them."
)
@click.pass_obj
def types(door: Door, jsdoc: bool) -> None:
    """Write TypeScript declarations for scripts.

    They have channels, parameters, fragments and events, with the types of their data where a
    channel declares them.
    """
    declared = door.declared() or asyncio.run(_declared(door))
    records = sorted(declared.channels.values(), key=lambda each: each.name)
    if jsdoc:
        click.echo(_HEAD_OF_JSDOC + typedefs(records), nl=False)
    else:
        click.echo(_HEAD + declarations(records) + _TAIL, nl=False)
    untyped = [each.name for each in records if each.events is None]
    if untyped:
        note(
            f"Data are `any` for channels that declare no events: {', '.join(untyped)}. Declare "
            "them with channel.event(name, type)."
        )


async def _declared(door: Door) -> Declared:
    async with door.open() as publisher:
        return await publisher.declared()


def declarations(records: Iterable[ChannelRecord]) -> str:
    """Return the interface that has one member for each channel."""
    lines = ["interface QuartSSEChannels {"]
    for record in sorted(records, key=lambda each: each.name):
        lines += [
            f"  {json.dumps(record.name)}: {{",
            f"    params: {_params(record.rule)};",
            f"    fragments: {_union(record.fragments)};",
            *_events(record),
            "  };",
        ]
    return "\n".join([*lines, "}", ""])


def _events(record: ChannelRecord) -> Iterator[str]:
    if record.events is None:
        yield "    events: Record<string, any>;"
        return
    yield "    events: {"
    for name in sorted(record.events):
        schema = record.types.get(name, {})
        if text := description_of(schema):
            yield f"      /** {text} */"
        yield f"      {json.dumps(name)}: {type_of(schema)};"
    yield "    };"


def typedefs(records: Iterable[ChannelRecord]) -> str:
    """Return a JSDoc type for the data of each declared event."""
    lines: list[str] = []
    for record in records:
        for name in sorted(record.events or ()):
            schema = record.types.get(name, {})
            told = description_of(schema) or f"Data of the event {name} of channel {record.name}."
            lines += [
                "",
                "/**",
                f" * {told}",
                f" * @typedef {{{type_of(schema)}}} {_identifier(record.name, name)}",
                " */",
            ]
    return "\n".join([*lines, ""])


def _identifier(*names: str) -> str:
    """Return the name of a type, such as ``CommentsCommentAdded``."""
    words = [word for name in names for word in re.split(r"\W|_", name)]
    return "".join(word[:1].upper() + word[1:] for word in words)


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
