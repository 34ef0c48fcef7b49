"""Imports inside quart_sse point down, by one table, and no test waits for a fixed time."""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "quart_sse"

#: The floors of the house, lowest first. A module imports from lower floors only, never from its
#: own; what stands under `TYPE_CHECKING` or inside a function counts like any other import.
FLOORS = [
    {"errors"},
    {"position", "naming", "config", "assets", "error_log", "html_text", "release"},
    {"event"},
    {"broker.messages", "ending"},
    {"broker.replay"},
    {"broker.base"},
    {"broker.memory", "broker.processes", "broker.redis.payload", "broker.redis.script"},
    {"broker.redis.subscription"},
    {"broker.redis.commands", "broker.redis.link"},
    {"broker.redis.order"},
    {"broker.control", "broker.redis.listener"},
    {"broker.redis.broker"},
    # Faces, above the rooms behind them: so that no room imports from its own wing's face.
    {"broker", "broker.redis"},
    {"connection", "fragment"},
    {"debts", "fragments", "group", "limits", "replays", "signer"},
    {"items", "roots", "routes", "waves"},
    {"arrivals"},
    {"hub"},
    {"revocation"},
    {"addresses", "callbacks", "rules", "state"},
    {"page_request"},
    {"access", "origins", "presence", "render", "shutdown"},
    {"channel", "leaf", "personal", "starts", "stream", "sweeper"},
    {"renewal"},
    {"asgi", "connect", "markup", "notifications"},
    {"views"},
    {"extension"},
    {"publisher", "cli", "metrics", "testing"},
    {"__init__"},
]
FLOOR_OF = {module: floor for floor, modules in enumerate(FLOORS) for module in modules}

#: Up to here nothing knows Quart, so order, history and fan-out are tested without an app.
LAST_FLOOR_WITHOUT_QUART = FLOOR_OF["hub"]


def module_name(path: Path) -> str:
    """Return a file's name in the table: `quart_sse/broker/base.py` is `broker.base`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def absolute_imports(source: str, package: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the line and the full dotted name of everything that a module imports.

    `package` is the one the module is in, from which its relative imports count.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = [*above, *([node.module] if node.module else [])]
            yield from ((node.lineno, ".".join([*base, alias.name])) for alias in node.names)


def imports_of(module: str) -> list[tuple[str, str]]:
    """Return the place ("quart_sse/hub.py:12") and the name of everything a module imports."""
    path = MODULES[module].relative_to(ROOT)
    found = absolute_imports(MODULES[module].read_text("utf-8"), path.parent.parts)
    return [(f"{path.as_posix()}:{line}", imported) for line, imported in found]


def own_module(imported: str) -> str | None:
    """Return the module of the package that an import reaches, None for anything outside.

    The name may be a module or something in one: `quart_sse.hub.Hub` reaches `hub`, and
    `quart_sse.SSE` reaches `__init__`.
    """
    if imported.split(".")[0] != "quart_sse":
        return None
    parts = imported.split(".")[1:]
    while parts and ".".join(parts) not in MODULES:
        parts.pop()
    return ".".join(parts) or "__init__"


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_only_from_lower_floors(module: str) -> None:
    """A module is in the table, and every module of ours that it imports is on a lower floor."""
    assert module in FLOOR_OF, (
        f"quart_sse.{module} has no floor. Add {module!r} to FLOORS in "
        "tests/project/test_layering.py, just above the highest module that it imports."
    )

    upward = [
        f"{place} imports {imported}"
        for place, imported in imports_of(module)
        if (own := own_module(imported)) is not None
        and own in FLOOR_OF  # an unknown one fails in its own case
        and FLOOR_OF[own] >= FLOOR_OF[module]
    ]

    assert not upward


@pytest.mark.parametrize(
    "module",
    [name for name in MODULES if FLOOR_OF.get(name, len(FLOORS)) <= LAST_FLOOR_WITHOUT_QUART],
)
def test_lower_floors_do_not_know_quart(module: str) -> None:
    """Up to the hub, nothing imports Quart or Flask, not even for a type."""
    hosts = [
        f"{place} imports {imported}"
        for place, imported in imports_of(module)
        if imported.split(".")[0] in {"quart", "flask"}
    ]

    assert not hosts


@pytest.mark.parametrize(
    ("source", "package", "imported"),
    [
        ("import quart_sse.event", "quart_sse", "quart_sse.event"),
        ("from . import event", "quart_sse", "quart_sse.event"),
        ("from .broker import Broker", "quart_sse", "quart_sse.broker.Broker"),
        ("from . import Broker", "quart_sse.broker", "quart_sse.broker.Broker"),
        ("from ..event import Event", "quart_sse.broker", "quart_sse.event.Event"),
        ("def f():\n  if TYPE_CHECKING:\n    import quart", "quart_sse", "quart"),
    ],
)
def test_imports_are_read_in_every_form(source: str, package: str, imported: str) -> None:
    """Plain, relative and nested imports are all found, so the two tests above see everything."""
    found = absolute_imports(source, package.split("."))

    assert [name for _, name in found] == [imported]


@pytest.mark.parametrize(
    "path",
    sorted((ROOT / "tests").rglob("*.py")),
    ids=lambda path: path.relative_to(ROOT / "tests").as_posix(),
)
def test_tests_wait_for_something_and_never_for_a_time(path: Path) -> None:
    """No test sleeps a number of seconds: it is too long on every machine but the slowest.

    `sleep(0)` lets other tasks run and is fine; to wait, await the event itself.
    """
    naps = [
        f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)}"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).split(".")[-1] in {"sleep", "wait_for_timeout"}
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and node.args[0].value != 0
    ]

    assert not naps
