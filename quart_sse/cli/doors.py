"""The two doors to the commands: ``quart sse``, and ``python -m quart_sse``."""

from collections.abc import Sequence

import click

from ..config import Config
from .changing import close, notify, publish, refresh, send
from .door import AppDoor, UrlDoor
from .group import EPILOG, CommandGroup, fail_usage
from .listing import channels, connections
from .tail import tail
from .top import top
from .typescript import types

_DEFAULTS = Config()
_COMMANDS = [channels, connections, top, tail, publish, notify, refresh, send, close, types]


@click.group(cls=CommandGroup, commands=_COMMANDS, epilog=EPILOG, no_args_is_help=False)
@click.pass_context
def sse(context: click.Context) -> None:
    """Look at the live pages of the app, and publish to them.

    The app's configuration counts. The app is loaded, and does not begin to serve.
    """
    from quart.cli import ScriptInfo  # where there is no app, Quart is not loaded

    context.obj = AppDoor(context.ensure_object(ScriptInfo).load_app)


@click.group(cls=CommandGroup, commands=_COMMANDS, epilog=EPILOG, no_args_is_help=False)
@click.option(
    *("--url",),
    envvar="QUART_SSE_BROKER_URL",
    help="The app's QUART_SSE_BROKER_URL, which is the default.",
)
@click.option(
    *("--prefix",),
    envvar="QUART_SSE_REDIS_PREFIX",
    default=_DEFAULTS.redis_prefix,
    help="The app's QUART_SSE_REDIS_PREFIX, which is the default.",
)
@click.option(
    *("--timeout",),
    type=float,
    default=_DEFAULTS.broker_timeout,
    show_default=True,
    help="Of a call to Redis, and of answers, in seconds.",
)
@click.pass_context
def by_url(context: click.Context, url: str | None, prefix: str, timeout: float) -> None:
    """Look at the live pages of an app that serves elsewhere, and publish to them."""
    context.obj = UrlDoor(url, prefix, timeout)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what a command line says, without an app, and return the exit code.

    Args:
        arguments: Those of the command line; None for ``sys.argv``.
    """
    try:
        code = by_url.main(arguments, "python -m quart_sse", standalone_mode=False)
    except click.UsageError as error:  # of an option before the command
        return fail_usage(error)
    return code if isinstance(code, int) else 0
