"""Imports inside quart_sse point down, by one table, and no test waits for a fixed time."""

import ast
from collections.abc import Iterator, Sequence
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "quart_sse"

#: The wings and the rooms beside them, lowest first. A module imports from lower ones and from its
#: own wing; what stands under `TYPE_CHECKING` or inside a function counts like any other import.
ORDER = [
    "errors",
    "logs",
    "access_log",
    "error_log",
    "serving_loop",
    "background",
    "soon",
    "release",
    "tracing",
    "config",
    "wire",
    "host",
    "broker",
    "publisher",
    "hub",
    "channels",
    "access",
    "registry",
    "streams",
    "server",
    "pages",
    "wiring",
    "metrics",
    "quart",
    "inspector",
    "extension",
    "cli",
    "__main__",
    "testing",
    "__init__",
]
#: The floors inside the hub, lowest first: a module imports from lower floors only.
HUB_FLOORS = [
    {"addresses", "batch", "durations", "lasting", "metadata", "page", "rendered", "slots"},
    {"fragment", "item", "outlet", "traffic"},
    {"connection", "items", "progress"},
    {"item_renders"},
    {"lists"},
    {"fragments"},
    {"audiences", "chains", "outgoing", "own", "roots", "sieve"},
    {"group", "replays"},
    {"subscribers", "batcher"},
    {"delivery", "groups", "idle", "limits"},
    {"connections"},
    {"changes", "receivers", "resume"},
    {"hub"},
]
#: What faces offer to apps, their tests and authors of brokers, although no other wing uses it.
OFFERED = {
    "broker": {"Answers", "Changed", "Past", "Process", "Receiver", "State", "judge"},
    "cli": {"sse"},
    "testing": {
        *(
            "Captured",
            "CapturedEvent",
            "CapturedFragment",
            "CapturedNotification",
            "LivePage",
            "LivePages",
        ),
        *("ReceivedEvent", "capture", "live", "until_live"),
    },
}
#: What only some wings may know: they alone change for another framework or template engine.
FRAMEWORKS = {
    "quart": {"quart", "inspector", "extension", "cli", "testing"},
    "flask": set[str](),
    "jinja2": {"pages", "quart"},
    "opentelemetry": {"tracing"},
}


def module_name(path: Path) -> str:
    """Return a file's name in the table: `quart_sse/broker/base.py` is `broker.base`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
WINGS = {name for name in ORDER if (PACKAGE / name / "__init__.py").exists()}


def wing_of(module: str) -> str:
    """Return the wing of a module, or its own name if it is in none."""
    return module.split(".")[0]


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


def imports_of_ours(module: str) -> list[tuple[str, str, str]]:
    """Return place, full name and module of everything of the package that a module imports."""
    return [
        (place, imported, own)
        for place, imported in imports_of(module)
        if (own := own_module(imported)) is not None and own != module
    ]


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_only_from_lower_wings(module: str) -> None:
    """A module's wing is in the list, and what it imports is of a lower one or of its own."""
    wing = wing_of(module)
    assert wing in ORDER, (
        f"quart_sse.{module} is in no wing that is known. Add {wing!r} to ORDER in {__file__}, "
        "just above the highest wing that it imports."
    )

    upward = [
        f"{place} imports {imported}"
        for place, imported, own in imports_of_ours(module)
        if wing_of(own) != wing and ORDER.index(wing_of(own)) >= ORDER.index(wing)
    ]

    assert not upward


@pytest.mark.parametrize("module", MODULES)
def test_other_wings_are_imported_by_their_faces(module: str) -> None:
    """What stands inside a wing can be moved without a change of others."""
    inside = [
        f"{place} imports {imported}"
        for place, imported, own in imports_of_ours(module)
        if wing_of(own) in WINGS - {wing_of(module)} and own not in WINGS | {"broker.redis"}
    ]

    assert not inside


@pytest.mark.parametrize("wing", sorted(WINGS))
def test_wing_says_what_it_is_for_and_what_it_offers(wing: str) -> None:
    """Its face has a sentence of purpose, offers what it imports, and that is used elsewhere."""
    face = ast.parse(MODULES[wing].read_text("utf-8"))
    imported = {
        alias.asname or alias.name
        for node in face.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    (offered,) = (
        ast.literal_eval(node.value)
        for node in face.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    used = {
        name.rpartition(".")[2]
        for module in MODULES
        if wing_of(module) != wing
        for _, name, own in imports_of_ours(module)
        if own == wing
    }

    assert (ast.get_docstring(face) or "").split("\n")[0].endswith(".")
    assert offered == sorted(imported, key=offered.index), "__all__ is what is imported"
    assert imported == set(offered)
    assert not imported - used - OFFERED.get(wing, set()), "no other wing uses it"


def test_rooms_of_the_hub_import_from_lower_floors() -> None:
    """Inside the largest wing, too, imports point down."""
    floor_of = {room: floor for floor, rooms in enumerate(HUB_FLOORS) for room in rooms}
    rooms = {name.partition(".")[2] for name in MODULES if name.startswith("hub.")}
    assert rooms == floor_of.keys()

    upward = [
        f"{place} imports {imported}"
        for room in rooms
        for place, imported, own in imports_of_ours(f"hub.{room}")
        if own.startswith("hub.") and floor_of[own.partition(".")[2]] >= floor_of[room]
    ]

    assert not upward


@pytest.mark.parametrize("wing", sorted(WINGS))
def test_rooms_of_a_wing_import_in_no_circle(wing: str) -> None:
    """One can be read after the other, the last one with all that it needs."""
    rooms = [name for name in MODULES if name.startswith(f"{wing}.")]
    needs = {room: {own for _, _, own in imports_of_ours(room) if own in rooms} for room in rooms}

    assert list(TopologicalSorter(needs).static_order())


@pytest.mark.parametrize("module", MODULES)
def test_only_some_wings_know_a_framework(module: str) -> None:
    """Quart and Jinja can be replaced by a change of these wings alone."""
    known = [
        f"{place} imports {imported}"
        for place, imported in imports_of(module)
        if (name := imported.split(".")[0]) in FRAMEWORKS
        and wing_of(module) not in FRAMEWORKS[name]
    ]

    assert not known


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
