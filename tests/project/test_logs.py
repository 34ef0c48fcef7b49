"""Lines of the log: declared once, used as they are declared, and listed in the docs."""

import ast
import gc
import inspect
import json
import logging
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from quart_sse.error_log import REPEATED
from quart_sse.logs import PARTS, LogLine, logger_of
from tests.support.documents import ROOT, blocks
from tests.support.log_lines import all_lines, modules
from tests.support.redis_server import RedisServer, running_redis
from tests.support.sites import Site, serving
from tests.support.streams import open_stream, until

DOCUMENT = ROOT / "docs" / "logging.md"
PACKAGE = ROOT / "quart_sse"
#: What stands in place of everything that may not be in the log.
CANARY = "kanarienvogel"
#: Methods that log a line -> the place of the line among their arguments.
METHODS = {"log": 2, "warn": 1, "say": 0, "say_full": 0, "write": 0}
LINES = [line for _, _, line in all_lines()]


def table() -> dict[str, tuple[str, str, str]]:
    """Return event -> logger, level and fields, as the docs have them."""
    rows = re.findall(
        r"^\| `([\w-]+)` \| `?([\w* ]+)`? \| (\w+) \| (.*?) \| .+ \|$",
        DOCUMENT.read_text("utf-8"),
        re.M,
    )
    return {name: (part, level, fields) for name, part, level, fields in rows}


def test_docs_list_the_lines_that_are_declared() -> None:
    """Each with its logger, level and fields; none is listed that is not there."""
    declared: dict[str, tuple[str, str, str]] = {
        line.name: (
            line.part,
            logging.getLevelName(line.level),
            ", ".join(f"`{name}`: {kind.__name__}" for name, kind in line.fields.items()),
        )
        for line in LINES
    }
    repeated = REPEATED["hub"]
    fields = ", ".join(f"`{name}`: {kind.__name__}" for name, kind in repeated.fields.items())
    declared[repeated.name] = ("that of the first", "ERROR", fields)

    assert len(LINES) > 50
    assert table() == declared


def test_names_of_lines_are_used_once() -> None:
    """A name finds one line, in the log and in the code."""
    names = [line.name for line in LINES]

    assert sorted(set(names)) == sorted(names)
    assert all(re.fullmatch("[a-z]+(-[a-z]+)*", name) for name in names)


def test_line_is_in_the_logger_of_its_wing() -> None:
    """Whoever turns a logger up gets what that part of the package logs."""
    strays = [
        f"{module.__name__} logs {line.name} as {line.part}"
        for module, _, line in all_lines()
        if (wing := module.__name__.split(".")[1]) in PARTS and wing != line.part
    ]

    assert not strays


def test_loggers_are_made_in_one_place() -> None:
    """No module logs past the lines, so that none lacks a name."""
    strays = [
        f"{path.relative_to(ROOT)}: {ast.unparse(node)}"
        for path in PACKAGE.rglob("*.py")
        if path.name != "logs.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"getLogger", "logger"}
        if ast.unparse(node) not in {"self.logger", "line.logger"}
    ]

    assert not strays


def uses(path: Path) -> list[tuple[str, str, set[str] | None]]:
    """Return place, constant and fields of each call of a module that logs a line."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        called, method = ast.unparse(node.func.value), node.func.attr
        args = [ast.unparse(each) for each in node.args]
        named: set[str] | None = {each.arg or "**" for each in node.keywords}
        if called.isupper():
            constant = called
            if method == "write":
                (given,) = (each for each in node.args[:1] if isinstance(each, ast.Dict))
                named = {ast.literal_eval(key) for key in given.keys if key is not None}
        elif method in METHODS and len(args) > METHODS[method] and args[METHODS[method]].isupper():
            constant = args[METHODS[method]]
        else:
            continue
        found.append((f"{path.relative_to(ROOT)}:{node.lineno}", constant, named))
    return found


def test_calls_have_the_fields_that_are_declared() -> None:
    """Each call names a declared line and gives all of its fields, and each line is logged."""
    wrong, used = [], set[str]()
    for module in modules():
        file = inspect.getsourcefile(module)
        assert file
        for place, constant, fields in uses(Path(file)):
            line = getattr(module, constant, None)
            if isinstance(line, LogLine):
                used.add(line.name)
                if fields != line.fields.keys():
                    wrong.append(f"{place}: {constant} has the fields {fields}")

    assert not wrong
    assert used == {line.name for line in LINES}


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_words_of_a_line_fit_its_fields(line: LogLine, caplog: pytest.LogCaptureFixture) -> None:
    """The text is made of the fields; the record carries them, and the name, beside it."""
    samples = {str: "text", int: 7, float: 2.5}
    given = {name: samples[kind] for name, kind in line.fields.items()}
    with caplog.at_level(logging.DEBUG):
        line.log(**given)

    (record,) = caplog.records
    assert record.getMessage()[0].isupper() or record.getMessage()[0] in "@7st"
    assert record.name == f"quart_sse.{line.part}"
    assert (record.__dict__["sse_event"], record.__dict__["sse_fields"]) == (line.name, given)
    assert record.funcName == "test_words_of_a_line_fit_its_fields", "it names who has logged it"


def test_line_that_is_off_is_not_made(caplog: pytest.LogCaptureFixture) -> None:
    """Where its logger is set higher; others are not concerned."""
    line = LogLine("hub", "quiet", logging.INFO, "Quiet.")
    with caplog.at_level(logging.WARNING, "quart_sse.hub"):
        line.log()
        assert not line.is_on
    with caplog.at_level(logging.INFO, "quart_sse.hub"):
        line.log()

    assert [record.getMessage() for record in caplog.records] == ["Quiet."]


def test_loggers_stand_below_that_of_the_package() -> None:
    """One level set for `quart_sse` holds for all parts."""
    above = logging.getLogger("quart_sse")

    assert all(logger_of(part).parent is above for part in PARTS)


def test_example_of_the_docs_writes_json() -> None:
    """Printed as it stands, before an app that serves: each line has the event and its fields."""
    code = "\n".join(block.code for block in blocks(DOCUMENT, "python"))
    done = subprocess.run(
        [sys.executable, "-c", code + SERVED], capture_output=True, text=True, check=True, cwd=ROOT
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]

    assert [line["event"] for line in lines] == ["serving", "streams-end", "stopped"]
    assert lines[0]["state"] == "ready"
    assert lines[0]["logger"] == "quart_sse.server"
    assert lines[0]["process"] in lines[0]["text"]


#: What the reader of the docs has behind them: an app, served for a moment.
SERVED = """
import asyncio

from quart import Quart

from quart_sse import SSE

app = Quart(__name__)
SSE(app)


async def serve() -> None:
    async with app.test_app():
        pass


asyncio.run(serve())
"""


class Served(NamedTuple):
    """A site, and its Redis if it has one."""

    site: Site
    redis: RedisServer | None


@pytest.fixture(params=["memory", "redis"])
async def secretive(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Served]:
    """A site whose broker has a password, and what takes the broker away."""
    if request.param == "memory":
        yield Served(Site("memory://"), None)
        return
    async with running_redis(tmp_path) as redis:
        await redis.ask("CONFIG", "SET", "requirepass", CANARY)
        redis.url = f"unix://:{CANARY}@{redis.socket}"
        yield Served(Site(redis.url), redis)


async def test_log_has_no_secrets(secretive: Served, caplog: pytest.LogCaptureFixture) -> None:
    """What is in tokens, data, HTML, metadata, identities and passwords is in no line.

    All that a process does is done at DEBUG, with failures and refusals, and Redis gone at the end.
    """
    caplog.set_level(logging.DEBUG, "quart_sse")
    site, redis = secretive
    async with serving(site):
        await use(site, redis, caplog)
        if redis is not None:
            await redis.kill()
            await until(lambda: "broker-away" in events(caplog))
            async with open_stream(site.client(CANARY), "/sse/news") as refused:
                await refused.rest()

    said = "\n".join(map(complete, ours(caplog)))
    assert events(caplog) >= {
        *("serving", "stream-opened", "stream-ended", "stream-refused", "bad-signature"),
        *("streams-revoked", "hook-failed", "render-failed", "streams-end", "stopped"),
        *("control-unreadable", "soon-failed"),
        *(["where-failed"] if redis is None else ["broker-away", "message-unreadable"]),
    }
    assert CANARY not in said
    kinds = {line.name: line.fields for line in [*LINES, *REPEATED.values()]}
    for record in ours(caplog):
        fields = kinds[record.__dict__["sse_event"]]
        for name, value in record.__dict__["sse_fields"].items():
            assert isinstance(value, fields[name] | int), (record, name)


def events(caplog: pytest.LogCaptureFixture) -> set[str]:
    """Return the names of the lines that were logged."""
    return {record.__dict__["sse_event"] for record in ours(caplog)}


def ours(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return what the package has logged."""
    return [record for record in caplog.records if record.name.startswith("quart_sse.")]


async def use(site: Site, redis: RedisServer | None, caplog: pytest.LogCaptureFixture) -> None:
    """Do all that a site does, with the canary in everything that is given to it."""
    sse, room = site.sse, site.room()

    @sse.on_connect
    def hook(_: object) -> None:
        raise ValueError("The hook fails.")

    @site.rooms.fragment("list")
    def failing(room: int) -> str:
        raise ValueError("The renderer fails.")

    def fails(_: object) -> bool:
        raise ValueError("The filter fails.")

    meta, client = {"key": CANARY}, site.client(CANARY)
    async with site.view(1, who=CANARY, meta=meta) as (stream, handle):
        await room.publish("said", {"text": CANARY}, where={"key": CANARY})
        await handle.send("note", CANARY)
        await sse.user(CANARY).publish("said", CANARY)
        await room.publish("said", "x", exclude=CANARY)
        if redis is None:
            await room.publish("said", "x", where=fails)
        async with open_stream(client, "/sse/rooms/1?fragments=list") as other:
            await other.next("sse-open")
            await room.push("list", f"<b>{CANARY}</b>")
            await room.refresh("list")
            if redis is not None:
                await redis.ask("PUBLISH", f"{{sse:1}}:{room.name}", f"1|x|event|1-1|{CANARY}")
            await until(lambda: "render-failed" in events(caplog))
            await sse.disconnect(identity=CANARY)
            await other.rest()
        assert CANARY in str(await stream.rest())
    for query in ("", f"?t={CANARY}", f"?t={CANARY}.{CANARY}.{CANARY}&replaces={CANARY}"):
        async with open_stream(client, f"/sse{query}") as refused:
            await refused.rest()
    control = site.app.extensions["quart_sse"].control
    await control.tell("disconnect", {"identity": {CANARY: CANARY}})
    failed = sse.run_soon(fail())
    await until(failed.done)
    del failed
    gc.collect()


async def fail() -> None:
    """Fail later than whoever has asked for it."""
    raise ValueError("The coroutine fails.")


def complete(record: logging.LogRecord) -> str:
    """Return all that a handler may write of a record."""
    return logging.Formatter("%(message)s").format(record) + repr(record.__dict__)
