"""The commands that publish, refresh, send and close."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..errors import ParameterError
from ..publisher import AsyncPublisherTopic, ShellPublisher
from ..wire import LEVELS, Level
from .door import Door
from .group import NOT_OPEN, end, note
from .printing import json_option, print_json

Function = TypeVar("Function", bound=Callable[..., Any])


def _data_options(function: Function) -> Function:
    """Add DATA and ``--text``."""
    text = click.option("--text", help="A text that is sent as it is, instead of DATA.")
    return click.argument("data", metavar="[DATA]", required=False)(text(function))


@click.command()
@click.argument("topic", metavar="TOPIC")
@click.argument("event", metavar="EVENT")
@_data_options
@click.option("--where", help="For which connections it is, as a JSON object.")
@click.option("--exclude", help="Id of a connection that it is not for.")
@click.option("--no-refresh", is_flag=True, help="Refresh nothing that is refreshed on the event.")
@json_option
@click.pass_obj
def publish(
    door: Door,
    topic: str,
    event: str,
    data: str | None,
    text: str | None,
    where: str | None,
    exclude: str | None,
    no_refresh: bool,
    as_json: bool,
) -> None:
    """Publish an event, and print its id.

    DATA is JSON, and null if it is left out; a text needs --text. After "--" it may begin with a
    dash.
    """

    async def work() -> str:
        given = _given(data, text)
        condition = None if where is None else _read("--where", where)
        async with door.open() as publisher:
            target = publisher.target(topic)
            return await target.publish(
                event, given, where=condition, exclude=exclude, refresh_on=not no_refresh
            )

    _print_id(asyncio.run(work()), as_json)


@click.command()
@click.argument("topic", metavar="TOPIC")
@click.argument("message", metavar="MESSAGE")
@click.option("--level", type=click.Choice(LEVELS), default="info", show_default=True)
@click.option("--title", help="A heading.")
@click.option("--data", help="What templates and scripts need beside it, as JSON.")
@click.option("--id", "own", help="By which a browser shows it once.")
@click.option("--where", help="For which connections it is, as a JSON object.")
@json_option
@click.pass_obj
def notify(
    door: Door,
    topic: str,
    message: str,
    level: Level,
    title: str | None,
    data: str | None,
    own: str | None,
    where: str | None,
    as_json: bool,
) -> None:
    """Notify people, and print the id."""

    async def work() -> str:
        given = None if data is None else _read("--data", data)
        condition = None if where is None else _read("--where", where)
        async with door.open() as publisher:
            target = publisher.target(topic)
            notification = await target.notify(
                message, level=level, title=title, data=given, id=own, where=condition
            )
            return notification.id

    _print_id(asyncio.run(work()), as_json)


@click.command()
@click.argument("topic", metavar="TOPIC")
@click.argument("fragments", metavar="[FRAGMENT]...", nargs=-1)
@click.option("--item", help="Key of the item of a list that has changed; FRAGMENT is the list.")
@json_option
@click.pass_obj
def refresh(
    door: Door, topic: str, fragments: tuple[str, ...], item: str | None, as_json: bool
) -> None:
    """Render fragments again for their viewers.

    Without names, all of the topic's channel.
    """

    async def work() -> None:
        async with door.open() as publisher:
            await _topic(publisher, topic).refresh(*fragments, item=item)

    asyncio.run(work())
    if as_json:
        print_json({})


@click.command()
@click.argument("id", metavar="ID")
@click.argument("event", metavar="EVENT")
@_data_options
@json_option
@click.pass_obj
def send(
    door: Door,
    id: str,
    event: str,
    data: str | None,
    text: str | None,
    as_json: bool,
) -> None:
    """Send an event to one open connection.

    DATA is as for publish, and "connections" prints the ids. The exit code is 6 if no connection
    with this ID is open.
    """

    async def work() -> bool:
        given = _given(data, text)
        async with door.open() as publisher:
            return await publisher.send(id, event, given)

    is_open = asyncio.run(work())
    if as_json:
        print_json({"is_open": is_open})
    if not is_open:
        note(f"No connection {id!r} is open, so nothing was sent. `connections` prints the ids.")
        end(NOT_OPEN)


@click.command()
@click.argument("topic", metavar="TOPIC")
@json_option
@click.pass_obj
def close(door: Door, topic: str, as_json: bool) -> None:
    """Take a topic off all open connections."""

    async def work() -> None:
        async with door.open() as publisher:
            await _topic(publisher, topic).close()

    asyncio.run(work())
    if as_json:
        print_json({})


def _topic(publisher: ShellPublisher, name: str) -> AsyncPublisherTopic:
    target = publisher.target(name)
    if not isinstance(target, AsyncPublisherTopic):
        raise ParameterError(f"{name!r} is no topic. Name one, such as 'room?id=3'.")
    return target


def _given(data: str | None, text: str | None) -> Any:
    """Return an event's data."""
    if text is None:
        return None if data is None else _read("DATA", data)
    if data is not None:
        raise click.UsageError("DATA and --text exclude each other. Leave one out.")
    return text


def _print_id(id: str, as_json: bool) -> None:
    if as_json:
        print_json({"id": id})
    else:
        click.echo(id)


def _read(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ParameterError(
            f"{name} is no JSON: {error}. Quote it for the shell, such as '{{\"a\": 1}}'"
            f"{', or send a text with --text' if name == 'DATA' else ''}."
        ) from None
