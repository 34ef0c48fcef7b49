"""A group of commands whose errors are one line, with an exit code for scripts."""

import os
import sys
from typing import Any, NoReturn

import click

from ..errors import BrokerUnavailable, ConfigError, SetupError, SSEError

#: Exit codes; 0 is success.
REFUSED, USAGE, NOT_SET_UP, NOT_PUBLISHED, MAYBE_PUBLISHED, NOT_OPEN, INCOMPLETE = range(1, 8)
#: That of a program which SIGINT has ended, as shells count.
INTERRUPTED = 130

EPILOG = """\
TOPIC is a topic's name, as "news" or "room?id=3". "everyone", "user?identity=7" and
"everyone?channel=room" mean all streams, those of a user, and all who listen to a channel.

\b
Exit codes:
  0    done
  1    refused: unknown channel, wrong parameter, event, fragment or JSON
  2    wrong usage, URL or prefix
  3    not set up: no Redis, no SSE, or no process of the app has declared its channels
  4    the broker is unavailable, and nothing was published
  5    the broker is unavailable, and it may have been published
  6    send: no such connection is open
  7    a live process has not answered, so what is printed is incomplete
  130  ended by Ctrl-C
"""


class CommandGroup(click.Group):
    """Commands whose errors are one line on stderr, and which end with the codes above."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            ctx.exit(fail_usage(error))
        except SSEError as error:
            ctx.exit(fail(error))
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            # As `... | head` ends. Python would flush what is left, and fail once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)


def end(code: int) -> NoReturn:
    """End the command with an exit code."""
    click.get_current_context().exit(code)


def note(text: str) -> None:
    """Print one line that is no result."""
    click.echo(" ".join(text.split()), err=True)


def fail(error: SSEError) -> int:
    """Print an error, and return the exit code."""
    note(str(error))
    if isinstance(error, ConfigError):
        return USAGE
    if isinstance(error, SetupError):
        return NOT_SET_UP
    if isinstance(error, BrokerUnavailable):
        return MAYBE_PUBLISHED if error.maybe_published else NOT_PUBLISHED
    return REFUSED


def fail_usage(error: click.UsageError) -> int:
    """Print what is wrong with a command line, and return the exit code."""
    path = "" if error.ctx is None else f" See {error.ctx.command_path} --help."
    note(f"{error.format_message()}{path}")
    return USAGE
