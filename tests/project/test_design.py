"""The page on the design: its words, rooms and trips are those of the tree."""

import ast
import re
from pathlib import Path

import pytest

from tests.support.servers import ROOT

PACKAGE = ROOT / "quart_sse"
TEXT = (ROOT / "docs" / "design.md").read_text("utf-8")
#: A place such as "`hub/hub.py` `Hub.receive`".
PLACE = re.compile(r"`([\w/]+\.py)`\s+`(\w+(?:\.\w+)?)`")


def section(title: str) -> str:
    """Return the text below a heading."""
    return TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]


def names_in(path: Path) -> set[str]:
    """Return what a module defines: functions, classes, and what these have."""
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}.{each.name}"
                for each in node.body
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return names


@pytest.mark.parametrize(("file", "name"), sorted(set(PLACE.findall(TEXT))))
def test_place_that_is_named_is_there(file: str, name: str) -> None:
    """A name that was changed in the code is changed on the page, too."""
    assert name in names_in(PACKAGE / file)


def test_every_word_has_a_place_and_one_meaning() -> None:
    """The table of words says of each where it is in the code; no word stands there twice."""
    rows = re.findall(r"^\| ([\w ]+) \| (.+) \| (.+) \|$", section("Words"), re.M)[1:]
    words = [word for word, _, _ in rows]

    assert len(words) > 30
    assert len(set(words)) == len(words)
    assert [word for word, _, place in rows if not PLACE.fullmatch(place)] == []


def test_every_class_that_wings_offer_is_a_word_or_a_part_of_one() -> None:
    """What other wings work with has a word, so that the log and the docs can name it."""
    placed = {name.partition(".")[0] for _, name in PLACE.findall(section("Words"))}
    rooms = {file for file, _ in PLACE.findall(section("Words"))}
    offered = {
        (path.relative_to(PACKAGE).as_posix(), node.name)
        for path in PACKAGE.glob("*/*.py")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name in face_of(path)
    }

    assert {name for file, name in offered if file not in rooms} - placed <= PARTS


#: Classes in rooms of their own that are parts of a thing whose word stands elsewhere.
PARTS = {
    "AppChannels",  # channels, as one app has them
    "Declaration",  # a channel, as other wings work with it
    "FragmentSpec",  # parts of a fragment
    "Inside",
    "ItemSpec",
    "LivePages",  # live pages, of one test
    "MemoryBroker",
    "Process",
    "Processes",  # part of control
    "ReceivedEvent",  # an event, as a live page has it
    "Rendered",
    "Renderer",
    "Scripts",  # part of macros
    "StreamAnswer",
    "StreamBody",
    "StreamEndpoints",
    "Streams",
    "Installation",
}


def face_of(path: Path) -> set[str]:
    """Return the names that a module's wing offers to the others."""
    face = path.parent / "__init__.py"
    found: set[str] = set()
    for node in ast.parse(face.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            found.update(ast.literal_eval(node.value))
    return found


def test_every_module_has_its_room_in_the_design() -> None:
    """The table of rooms has every module, and no module that is not there."""
    rows = re.findall(r"^\| ((?:\**`[\w.]+`\**(?:, )?)+) \|", section("The wings"), re.M)
    named = {name for row in rows for name in re.findall(r"`([\w.]+)`", row)}
    modules = {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        for path in PACKAGE.rglob("*.py")
    }

    assert named == modules - {"__init__"}


@pytest.mark.parametrize("trip", ["Publish", "Refresh", "Page", "Connect", "Stop"])
def test_trip_goes_from_room_to_room(trip: str) -> None:
    """Each trip has its stops, and each stop names at least one place."""
    stops = section("Five trips").partition(f"**{trip}.**")[2].partition("\n**")[0]
    steps = re.findall(r"^\d\. (.+(?:\n   .+)*)", stops, re.M)

    assert len(steps) == 4
    assert all(PLACE.search(step) for step in steps)
