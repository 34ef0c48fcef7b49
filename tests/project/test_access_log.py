"""Tokens in the access logs of servers: hidden in whatever form a server logs a URL."""

import logging
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any

import pytest

from quart_sse import HideTokens
from tests.support.servers import RawStream, serve, until_so
from tests.support.streams import connect_urls

APP = "tests.apps.access_log:app"
#: The servers, each with its access log on its output; the format of one has URLs twice.
COMMANDS: dict[str, Callable[[int], Sequence[str]]] = {
    "hypercorn": lambda port: (
        *("-m", "hypercorn", "--access-logfile", "-", "-b", f"127.0.0.1:{port}"),
        *("--access-logformat", "%(r)s %(R)s?%(q)s %(U)s", APP),
    ),
    "uvicorn": lambda port: ("-m", "uvicorn", "--port", str(port), APP),
    "uvicorn-h11": lambda port: ("-m", "uvicorn", "--http", "h11", "--port", str(port), APP),
    "granian": lambda port: (
        *("-m", "granian", "--interface", "asgi", "--port", str(port), "--access-log"),
        *("--access-log-fmt", "%(method)s %(path)s?%(query_string)s %(status)d", APP),
    ),
    "gunicorn": lambda port: (
        *("-m", "gunicorn", "--worker-class", "asgi", "--access-logfile", "-"),
        *("--bind", f"127.0.0.1:{port}", APP),
    ),
}
#: Servers that only the tests with other packages of apps have.
MORE = {"gunicorn"}
SERVERS = [
    pytest.param(name, marks=[pytest.mark.packages if name in MORE else pytest.mark.servers])
    for name in COMMANDS
]


@pytest.mark.parametrize("name", SERVERS)
async def test_server_logs_no_token(name: str) -> None:
    """A page's stream is in the access log, without its token; without the filter it has it."""
    token, hidden = await logged(COMMANDS[name], {})
    shown_token, shown = await logged(COMMANDS[name], {"SHOWN": "1"})

    assert "t=***" in hidden
    assert token not in hidden
    assert shown_token in shown


async def logged(
    command: Callable[[int], Sequence[str]], environ: dict[str, str]
) -> tuple[str, str]:
    """Return the token of a page whose stream was opened, and what the server has logged."""
    async with serve(command, environ) as server:
        (url,) = connect_urls((await server.get("/page")).decode())
        assert "t=" in url
        stream = await RawStream.open(server.port, url)
        await stream.close()

        async def is_logged() -> bool:
            return "t=" in server.output

        await until_so(is_logged)
        return url.partition("t=")[2].partition("&")[0], server.output


def record_of(msg: str, *args: Any) -> logging.LogRecord:
    """Return a record as a logger makes it."""
    return logging.LogRecord("some.access", logging.INFO, "", 0, msg, args, None)


@pytest.mark.parametrize(
    ("msg", "args", "text"),
    [
        ('"GET /sse?t=abc HTTP/1.1" 200', (), '"GET /sse?t=*** HTTP/1.1" 200'),
        (
            '%s - "%s %s" %d',
            ("::1", "GET", "/sse?t=a&t=b", 200),
            '::1 - "GET /sse?t=***&t=***" 200',
        ),
        ("%(r)s", ({"r": "GET /sse?t=a.b-c_d&replaces=e HTTP/2", "s": 200},), None),
        ("%(query_string)s", ({"query_string": "t=%7Eboard&tab=1"},), "t=***&tab=1"),
        ("/sse?tab=1&at=2", (), "/sse?tab=1&at=2"),
        ("/sse?t=", (), "/sse?t="),
        ("%s", (b"t=bytes",), "b't=bytes'"),
    ],
)
def test_tokens_are_hidden_in_every_form(msg: str, args: tuple[Any, ...], text: str | None) -> None:
    """In the message, in single arguments and in a mapping; other parameters are left alone."""
    record = record_of(msg, *args)

    assert HideTokens().filter(record)
    assert record.getMessage() == (text or "GET /sse?t=***&replaces=*** HTTP/2")


def test_formatters_find_the_arguments_that_they_expect() -> None:
    """Those of servers take the arguments apart by themselves."""
    record = record_of("%s %s", "GET", 200)
    HideTokens().filter(record)

    assert record.args == ("GET", 200)


def test_mapping_that_cannot_be_changed_becomes_text() -> None:
    """Its secrets are hidden all the same."""
    record = record_of("%(a)s", MappingProxyType({"a": "/sse?t=abc"}))

    assert HideTokens().filter(record)
    assert record.getMessage() == "/sse?t=***"
