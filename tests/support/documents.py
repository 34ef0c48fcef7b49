"""Documents whose code runs: their blocks, and how these are run as a reader would.

How a document is run:

- ``python`` blocks run in their order, in one namespace for the whole document, with the app's
  context where there is an app; they may ``await`` on top level, as in a view. Only what stands
  under "A whole app" is an app of its own, and so is every block of the recipes.
- ``expression  # => value`` is compared.
- A ``jinja`` block that begins with ``{# templates/NAME #}`` is that template; the others are
  rendered, with all macros imported.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quart import Quart

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
GUIDE = ROOT / "docs" / "guide.md"
RECIPES = ROOT / "docs" / "recipes.md"
REFERENCE = ROOT / "docs" / "reference.md"
WHOLE_APP = "A whole app"


@dataclass(frozen=True)
class Block:
    """A fenced piece of a document."""

    place: str  #: such as "README.md:12"
    heading: str
    language: str
    code: str


def blocks_of(document: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a document."""
    heading, language, first, code = "", "", 0, list[str]()
    for number, line in enumerate(document.read_text("utf-8").splitlines(), 1):
        fence = re.fullmatch(r" *```(\w*)", line)
        if fence is None:
            if language:
                code.append(line)
            elif line.startswith("## "):
                heading = line.removeprefix("## ")
        elif language:
            place = f"{document.relative_to(ROOT)}:{first}"
            yield Block(place, heading, language, "\n".join(code) + "\n")
            language, code = "", []
        else:
            language, first = fence[1] or "text", number + 1


def blocks(document: Path, language: str, *, whole: bool = False) -> list[Block]:
    """Return the blocks of a language; those of the whole app, or all others."""
    return [
        block
        for block in blocks_of(document)
        if block.language == language
        and (block.heading == WHOLE_APP or document == RECIPES) is whole
    ]


async def run(block: Block, namespace: dict[str, Any]) -> None:
    """Run a block of Python as its reader would, and compare what it says about values."""
    compiled = compile(block.code, block.place, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    async with AsyncExitStack() as stack:
        if isinstance(namespace.get("app"), Quart):
            await stack.enter_async_context(namespace["app"].app_context())
        waiting = eval(compiled, namespace)
        if inspect.iscoroutine(waiting):
            await waiting
        for expression, value in re.findall(r"^(\S.*?)  # => (.*)$", block.code, re.MULTILINE):
            assert eval(expression, namespace) == eval(value), f"{block.place}: {expression}"


def template_of(block: Block) -> tuple[str, str] | None:
    """Return name and text of a template that is shown; None for any other block."""
    found = re.match(r"\{# templates/(\S+) #\}\n", block.code)
    return None if found is None else (found[1], block.code[found.end() :])


def write_templates(document: Path, folder: Path) -> None:
    """Write the templates that a document shows to where an app in that folder finds them."""
    templates = folder / "templates"
    templates.mkdir(exist_ok=True)
    for block in blocks(document, "jinja"):
        template = template_of(block)
        if template is not None:
            path = templates / template[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(template[1], "utf-8")


async def run_whole(document: Path, heading: str) -> dict[str, Any]:
    """Run the app that is printed in one block under a heading; returns its namespace."""
    (block,) = (
        block for block in blocks(document, "python", whole=True) if block.heading == heading
    )
    namespace: dict[str, Any] = {"__name__": "app_of_the_reader"}
    await run(block, namespace)
    return namespace


async def run_document(document: Path) -> dict[str, Any]:
    """Run a document in the current folder; returns its namespace."""
    write_templates(document, Path.cwd())
    # No module is called so, and Quart then takes the current folder for the app's.
    namespace: dict[str, Any] = {"__name__": "app_of_the_reader"}
    for block in blocks(document, "python"):
        await run(block, namespace)
    return namespace


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def links_to_tests(text: str) -> list[tuple[str, str]]:
    """Return file and function of each ``[test](../tests/wing/test_room.py "test_name")``."""
    return re.findall(r'\[test\]\(\.\./(tests/\w+/\w+\.py) "(\w+)"\)', text)


def has_test(file: str, name: str) -> bool:
    """Return whether a file of the repository holds a test of a name."""
    path = ROOT / file
    pattern = rf"^(async )?def {name}\("
    return path.is_file() and bool(re.search(pattern, path.read_text("utf-8"), re.M))
