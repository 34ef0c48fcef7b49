"""docs/reference.md: it says what the docstrings say, and its examples run."""

import ast
import asyncio
import inspect
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pytest
import quart
from markupsafe import Markup
from werkzeug.routing import Rule

import quart_sse
import quart_sse.testing
from quart_sse import SSE, AsyncPublisher, ChannelRecord
from quart_sse.config import PREFIX, Config
from tests.support.servers import ROOT
from tests.support.streams import open_stream

SCRIPT = ROOT / "scripts" / "reference.py"
REFERENCE = ROOT / "docs" / "reference.md"
COMMENTS = "/discussion/<int:discussion_id>/comments"
TEXT = REFERENCE.read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_reference_is_what_the_docstrings_say() -> None:
    """`make docs` would change nothing."""
    command = [sys.executable, str(SCRIPT), "--print"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert printed == TEXT, "run `make docs`, and commit docs/reference.md"


def test_every_public_name_has_a_section() -> None:
    """What can be imported from the package can be looked up; Config is the table of settings."""
    sections = set(re.findall(r"^### (\w+)$", TEXT, re.MULTILINE))

    assert set(quart_sse.__all__) - sections == {"Config"}
    assert set(quart_sse.testing.__all__) <= sections


def test_public_methods_have_a_section() -> None:
    """A method that can be called can be looked up."""
    sections = set(re.findall(r"^#### (\w+\.\w+)$", TEXT, re.MULTILINE))
    public = [
        getattr(quart_sse, name)
        for name in quart_sse.__all__
        if name != "Config" and not issubclass(getattr(quart_sse, name), Exception)
    ]
    for_tests = [getattr(quart_sse.testing, name) for name in quart_sse.testing.__all__]
    public += [member for member in for_tests if isinstance(member, type)]
    methods = {
        f"{owner.__name__}.{name}"
        for owner in public
        for each in owner.__mro__
        if each is owner or (each.__module__.startswith("quart_sse") and each not in public)
        for name, member in vars(each).items()
        if (inspect.isfunction(member) or isinstance(member, property)) and name[0] != "_"
    }

    assert methods == sections


def test_every_key_has_its_default_and_unit() -> None:
    """Times are seconds and sizes bytes on this page and on that about configuration."""
    row = re.compile(rf"^\| `({PREFIX}\w+)` \| [^|]+ \| (seconds|bytes)? ?", re.MULTILINE)
    units, other = (
        dict(row.findall((ROOT / "docs" / name).read_text("utf-8")))
        for name in ("reference.md", "configuration.md")
    )

    assert units.keys() == {PREFIX + field.name.upper() for field in fields(Config)}
    assert units == other


def namespace_for(example: str) -> dict[str, Any]:
    """Return what an example finds: an app with channels, but for what it makes itself."""
    app = quart.Quart("app_of_the_reader")
    app.secret_key = "secret"
    found: dict[str, Any] = {name: getattr(quart_sse, name) for name in quart_sse.__all__}
    for name in ("Quart", "Response", "redirect", "render_template", "session", "url_for"):
        found[name] = getattr(quart, name)
    found |= {"app": app, "Markup": Markup, "user": SimpleNamespace(id=7), "sse": SSE()}
    found["connection_id"] = "a-tab"
    found |= {"asyncio": asyncio, "time": time, "AsyncIterator": AsyncIterator}
    if makes_the_extension(example):
        return found
    sse = found["sse"] = SSE(app)
    rules = {"prices": "/prices", "board": "/board", "rooms": "/rooms/<int:room>"}
    for name, rule in (rules | {"comments": COMMENTS}).items():
        if f'sse.channel("{name}"' not in example:
            found[name] = sse.channel(name, rule)
    if "comments" in found:
        for name in ("list", "count"):
            found["comments"].fragment(name)(lambda discussion_id: "")
    room = ChannelRecord("room", "/room/<int:id>", fragments=["list", "count"])
    found["publisher"] = AsyncPublisher(sse.broker, channels=[room])
    return found


async def run_in_a_source(compiled: Any, found: dict[str, Any], *, is_async: bool) -> None:
    """Run an example that uses the stream of a callback, in such a callback."""

    async def callback(stream: Any) -> None:
        await eval(compiled, {**found, "stream": stream})

    def blocking(stream: Any) -> None:
        eval(compiled, {**found, "stream": stream})

    async def view() -> quart.Response:
        answer: quart.Response = await found["sse"].stream(callback if is_async else blocking)
        return answer

    found["app"].view_functions["own"] = view
    found["app"].url_map.add(Rule("/own", endpoint="own"))
    async with open_stream(found["app"], "/own") as stream:
        events = await stream.rest()
    assert (events[-1].event, events[-1].data) == ("sse-stop", "done")


def makes_the_extension(example: str) -> bool:
    """Whether an example initialises an app, which must not serve yet."""
    return "SSE(" in example or "init_app(" in example


@pytest.mark.parametrize("example", EXAMPLES)
async def test_example_runs(example: str) -> None:
    """What a docstring shows can be typed, and a comparison is true."""
    found = namespace_for(example)
    compiled = compile(example, str(REFERENCE), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    async with AsyncExitStack() as stack:
        if not makes_the_extension(example):
            await stack.enter_async_context(found["app"].test_app())
            await stack.enter_async_context(found["app"].test_request_context("/"))
            if "comments" in found:
                found["topic"] = found["comments"].topic(discussion_id=7)
            if "connection." in example:
                found["sse"].channel("news", "/news", public=True)
                await stack.enter_async_context(open_stream(found["app"], "/sse/news"))
                (found["connection"],) = found["sse"].connections
        if re.match(r"(await )?stream\.", example):
            await run_in_a_source(compiled, found, is_async=example.startswith("await"))
            return
        running = eval(compiled, found)
        if inspect.iscoroutine(running):
            await running
        if re.fullmatch(r"[^\n]* == [^\n]*\n", example):
            assert eval(example, found)
