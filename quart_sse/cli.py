"""``python -m quart_sse``: publish from a shell, where there is no app."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import BrokerUnavailable, ConfigError, ParameterError, SetupError, SSEError
from .publisher import Publisher, PublisherTarget, PublisherTopic
from .wire import channel_of, identity_of, is_audience, parse_topic

#: Exit codes; 0 is success, and 2 is that of argparse for wrong usage.
REFUSED, USAGE, NOT_SET_UP, NOT_PUBLISHED, MAYBE_PUBLISHED = 1, 2, 3, 4, 5

_EPILOG = """\
TOPIC is a topic's name, as "load" or "room?id=3". "everyone", "user?identity=7" and
"everyone?channel=room" mean all streams, those of a user, and all who listen to a channel.

exit codes: 0 done, 1 refused (unknown channel, wrong parameter, event or fragment), 2 wrong usage,
3 not set up (no process of the app has declared its channels), 4 the broker is unavailable and
nothing was published, 5 the same, and it may have been published."""


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Do what the command line says, and return the exit code.

    Args:
        arguments: Those of the command line; None for ``sys.argv``.
        environ: The environment, from which the URL and the prefix are taken without options.
    """
    options = _parser(environ).parse_args(arguments)
    try:
        _do(options)
    except ConfigError as error:
        return _fail(error, USAGE)
    except SetupError as error:
        return _fail(error, NOT_SET_UP)
    except BrokerUnavailable as error:
        return _fail(error, MAYBE_PUBLISHED if error.maybe_published else NOT_PUBLISHED)
    except SSEError as error:
        return _fail(error, REFUSED)
    return 0


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m quart_sse",
        description="Publish to the pages of an app that serves elsewhere.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    url = environ.get("QUART_SSE_BROKER_URL")
    parser.add_argument(
        *("--url",),
        default=url,
        required=url is None,
        help="the app's QUART_SSE_BROKER_URL, which is the default",
    )
    parser.add_argument(
        *("--prefix",),
        default=environ.get("QUART_SSE_REDIS_PREFIX", "sse"),
        help="the app's QUART_SSE_REDIS_PREFIX, which is the default",
    )
    parser.add_argument("--timeout", type=float, default=2.0, help="of a call to Redis, in seconds")
    commands = parser.add_subparsers(dest="command", required=True)

    publish = commands.add_parser("publish", help="publish an event, and print its id")
    publish.add_argument("topic", metavar="TOPIC")
    publish.add_argument("event", metavar="EVENT")
    data = publish.add_mutually_exclusive_group()
    data.add_argument("data", metavar="DATA", nargs="?", default="null", help="JSON")
    data.add_argument("--text", help="a text that is sent as it is, instead of DATA")
    publish.add_argument("--where", help="for which connections it is, as a JSON object")
    publish.add_argument("--exclude", help="id of a connection that it is not for")

    refresh = commands.add_parser("refresh", help="render fragments again for their viewers")
    refresh.add_argument("topic", metavar="TOPIC")
    refresh.add_argument("fragments", metavar="FRAGMENT", nargs="*", help="none means all")

    close = commands.add_parser("close", help="take a topic off all open connections")
    close.add_argument("topic", metavar="TOPIC")
    return parser


def _do(options: argparse.Namespace) -> None:
    with Publisher(options.url, prefix=options.prefix, timeout=options.timeout) as publisher:
        if options.command == "publish":
            data = _json("DATA", options.data) if options.text is None else options.text
            where = None if options.where is None else _json("--where", options.where)
            target = _target(publisher, options.topic)
            print(target.publish(options.event, data, where=where, exclude=options.exclude))  # noqa: T201
            return
        topic = _target(publisher, options.topic)
        if not isinstance(topic, PublisherTopic):
            raise ParameterError(f"{options.topic!r} is no topic. Name one, such as 'room?id=3'.")
        if options.command == "refresh":
            topic.refresh(*options.fragments)
        else:
            topic.close()


def _target(publisher: Publisher, name: str) -> PublisherTarget:
    if not is_audience(name):
        return publisher.topic_of_texts(*parse_topic(name))
    identity, channel = identity_of(name), channel_of(name)
    if identity is not None:
        return publisher.user(identity)
    return publisher.everyone if channel is None else publisher.channel(channel).everyone


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ParameterError(
            f"{name} is no JSON: {error}. Quote it for the shell, such as '{{\"a\": 1}}'"
            f"{', or send a text with --text' if name == 'DATA' else ''}."
        ) from None


def _fail(error: SSEError, code: int) -> int:
    print(" ".join(str(error).split()), file=sys.stderr)  # noqa: T201
    return code
