"""The tests themselves: none needs another, and each room of the package has one of its name."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import ROOT

PACKAGE, TESTS = ROOT / "quart_sse", ROOT / "tests"
MODULES = sorted(
    path
    for folder in ("tests", "faults", "attacks", "proxies", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
)
NAMES_OF_TESTS = {path.stem for path in TESTS.rglob("test_*.py")}
#: The wings of the package, lowest first.
WINGS = [
    "wire",
    "broker",
    "publisher",
    "hub",
    "channels",
    "access",
    "streams",
    "server",
    "pages",
    "quart",
]
#: Room -> its test, where the room's own name would say too little.
RENAMED = {"broker/redis/broker": "broker/test_redis.py"}


def imported_names(source: str) -> Iterator[str]:
    """Yield every part of every dotted name that a module imports, also inside of functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                yield from alias.name.split(".")
        if isinstance(node, ast.ImportFrom):
            yield from (node.module or "").split(".")


def rooms_of(package: Path) -> list[str]:
    """Return the rooms of a package, such as ``hub/group``.

    A module beside the wings is a room, too, such as ``errors``. As long as a wing is missing, such
    modules may only wait for it, and are left out.
    """
    rooms = [
        path.relative_to(package).with_suffix("").as_posix()
        for path in sorted(package.rglob("*.py"))
        if not path.stem.startswith("__")
    ]
    is_whole = all((package / wing).is_dir() for wing in WINGS)
    return [room for room in rooms if is_whole or "/" in room]


def place_of_test(room: str) -> str:
    """Return where the test of a room is, below ``tests/``."""
    wing, *_, name = room.split("/") if "/" in room else ("project", room)
    return RENAMED.get(room, f"{wing}/test_{name}.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_module_imports_from_a_test(path: Path) -> None:
    """What tests have in common is in ``tests/support/``, or a fixture in a ``conftest.py``."""
    imported = NAMES_OF_TESTS.intersection(imported_names(path.read_text("utf-8")))

    assert not imported, f"{path.relative_to(ROOT)} imports from {sorted(imported)}"


@pytest.mark.parametrize(
    "source",
    [
        "import tests.hub.test_group",
        "from tests.hub import test_group",
        "from tests.hub.test_group import newcomer",
        "from .test_group import newcomer",
        "def f():\n  from ..hub import test_group as group",
    ],
)
def test_imports_are_read_in_every_form(source: str) -> None:
    """The test above sees a test's module by whatever way it is imported."""
    assert "test_group" in imported_names(source)


@pytest.mark.parametrize("room", rooms_of(PACKAGE))
def test_room_has_a_test_of_its_name(room: str) -> None:
    """A reader finds the tests of ``hub/group.py`` in ``tests/hub/test_group.py``."""
    place = place_of_test(room)

    assert (TESTS / place).is_file(), (
        f"quart_sse/{room}.py has no tests of its own. Write tests/{place}, with what this room "
        "promises to the others."
    )


@pytest.mark.parametrize(
    ("room", "place"),
    [
        ("errors", "project/test_errors.py"),
        ("hub/group", "hub/test_group.py"),
        ("broker/redis/link", "broker/test_link.py"),
        ("broker/redis/broker", "broker/test_redis.py"),
    ],
)
def test_place_of_a_test_follows_from_its_room(room: str, place: str) -> None:
    """The rooms of a folder inside a wing are tested beside those of the wing."""
    assert place_of_test(room) == place


def test_rooms_are_those_that_are_there(tmp_path: Path) -> None:
    """Modules beside the wings count when no wing is missing any more."""
    for wing in WINGS[1:]:
        (tmp_path / wing).mkdir()
        (tmp_path / wing / "__init__.py").touch()
    (tmp_path / "hub" / "group.py").touch()
    (tmp_path / "errors.py").touch()

    assert rooms_of(tmp_path) == ["hub/group"]
    (tmp_path / WINGS[0]).mkdir()
    assert rooms_of(tmp_path) == ["errors", "hub/group"]
