"""JSON Schema of Python types, and data of such types from JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal, NewType, NotRequired, TypedDict
from uuid import UUID

import pytest

from quart_sse import DeclarationError
from quart_sse.publisher.conforming import fault_of
from quart_sse.publisher.dumps import dumps
from quart_sse.publisher.schema import built, schema_of

if TYPE_CHECKING:
    from pathlib import Path as Missing

UserId = NewType("UserId", int)


class Level(IntEnum):
    """A number with a name."""

    LOW = 1
    HIGH = 2


class Color(StrEnum):
    """A text with a name."""

    RED = "red"


class Mark(TypedDict):
    """Where a comment is marked."""

    at: int
    note: NotRequired[str]


@dataclass
class Comment:
    """A comment,
    and its replies.

    More about it.
    """

    id: Annotated[UserId, "positive"]
    text: str
    level: Level = Level.LOW
    marks: list[Mark] = field(default_factory=list)
    replies: "list[Comment]" = field(default_factory=list)
    paid: Decimal | None = None
    key: UUID | None = None
    sent: datetime | None = None
    day: date | None = None
    pair: tuple[int, str] | None = None


@dataclass
class Bare:
    """Nothing."""


@dataclass
class Silent:
    value: int


@dataclass
class Hidden:
    value: "Missing"


SCHEMAS: list[tuple[Any, Mapping[str, Any]]] = [
    (Any, {}),
    (str, {"type": "string"}),
    (None, {"type": "null"}),
    (list, {"type": "array", "items": {}}),
    (Sequence[int], {"type": "array", "items": {"type": "integer"}}),
    (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
    (dict, {"type": "object", "additionalProperties": {}}),
    (Mapping[str, bool], {"type": "object", "additionalProperties": {"type": "boolean"}}),
    (Literal["a", 1], {"enum": ["a", 1]}),
    (float | None, {"anyOf": [{"type": "number"}, {"type": "null"}]}),
    (Color, {"enum": ["red"]}),
    (datetime, {"type": "string"}),
]


@pytest.mark.parametrize(("hint", "schema"), SCHEMAS, ids=range(len(SCHEMAS)))
def test_types_of_json_have_its_schema(hint: Any, schema: Mapping[str, Any]) -> None:
    """Values are what they are written as."""
    assert schema_of(hint) == schema


def test_classes_are_objects_that_may_recur() -> None:
    """With the first paragraph of their docstring; a dataclass writes all its fields."""
    schema = schema_of(Comment)
    comment, mark = schema["$defs"]["Comment"], schema["$defs"]["Mark"]

    assert schema["$ref"] == "#/$defs/Comment"
    assert comment["properties"]["replies"]["items"] == {"$ref": "#/$defs/Comment"}
    assert comment["required"] == list(comment["properties"])
    assert comment["additionalProperties"] is False
    assert comment["description"].split() == ["A", "comment,", "and", "its", "replies."]
    assert mark["required"] == ["at"]
    assert "description" not in schema_of(Silent)["$defs"]["Silent"]
    json.dumps(schema)


def test_classes_of_one_name_are_kept_apart() -> None:
    """As of two modules."""
    other: Any = dataclass(type("Comment", (), {"__annotations__": {"x": int}}))
    both: Any = dataclass(type("Both", (), {"__annotations__": {"a": Comment, "b": other}}))
    schema = schema_of(both)

    assert set(schema["$defs"]) == {"Both", "Comment", "Comment_", "Mark"}


@pytest.mark.parametrize("hint", [set, set[int], bytes, dict[int, str], Hidden, object(), complex])
def test_what_json_does_not_have_is_refused(hint: Any) -> None:
    """Where it is declared."""
    with pytest.raises(DeclarationError, match=r"JSON has no such values|cannot be read"):
        schema_of(hint)


def test_data_come_back_from_json() -> None:
    """As they were, with the JSON that the app writes."""
    given = Comment(
        UserId(1),
        "a",
        Level.HIGH,
        [{"at": 3}],
        [Comment(UserId(2), "b")],
        Decimal("1.50"),
        UUID(int=7),
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        date(2026, 1, 2),
        (1, "x"),
    )
    value = json.loads(dumps(given))

    assert fault_of(schema_of(Comment), value) == ""
    assert built(Comment, value) == given
    assert built(Comment, given) is given
    assert built(Bare, {}) == Bare()
    assert built(Any, value) is value
    assert built(dict[str, int], value) is value
    assert asdict(given)["level"] is Level.HIGH
