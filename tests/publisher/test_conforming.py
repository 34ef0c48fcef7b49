"""What is wrong with data, in words."""

from typing import Any

import pytest

from quart_sse.publisher.conforming import fault_of

INTEGER, TEXT = {"type": "integer"}, {"type": "string"}
PERSON = {
    "type": "object",
    "properties": {"id": INTEGER, "name": TEXT},
    "required": ["id"],
    "additionalProperties": False,
}
TREE = {
    "$ref": "#/$defs/Tree",
    "$defs": {
        "Tree": {"type": "object", "properties": {"of": {"items": {"$ref": "#/$defs/Tree"}}}}
    },
}
MAYBE = {"anyOf": [INTEGER, {"type": "null"}]}
PAIR = {"type": "array", "prefixItems": [INTEGER, TEXT], "minItems": 2, "items": False}

GOOD: list[tuple[Any, Any]] = [
    ({}, object()),
    (INTEGER, 1),
    ({"type": "number"}, 1),
    ({"type": "number"}, 1.5),
    ({"type": "boolean"}, True),
    (MAYBE, None),
    (PERSON, {"id": 1}),
    ({"type": "object"}, {"a": 1}),
    ({"type": "object", "additionalProperties": INTEGER}, {"a": 1}),
    ({"enum": ["a", 1]}, 1),
    ({"const": "a"}, "a"),
    (PAIR, [1, "a"]),
    (TREE, {"of": [{"of": []}, {}]}),
    ({"type": "array", "items": INTEGER}, []),
    ({"type": "later"}, 1),  # of another release
    ({"$ref": "#/$defs/Gone"}, 1),
]
WRONG: list[tuple[Any, Any, str]] = [
    (INTEGER, "1", "it is '1', and must be an integer"),
    (INTEGER, True, "it is True, and must be an integer"),
    (INTEGER, 1.0, "it is 1.0, and must be an integer"),
    (TEXT, "x" * 0 or None, "it is None, and must be a string"),
    ({"type": "null"}, 0, "it is 0, and must be null"),
    (MAYBE, "x", "it is 'x', and must be an integer or null"),
    (PERSON, {}, "field 'id' is missing"),
    (PERSON, {"id": 1, "namex": "x"}, "there is no field 'namex' (its fields are id, name)"),
    (PERSON, {"id": "x"}, "field 'id' is 'x', and must be an integer"),
    (PERSON, [], "it is [], and must be an object"),
    ({"enum": ["a", 1]}, True, "it is True, and must be one of 'a', 1"),
    ({"const": 1}, 2, "it is 2, and must be 1"),
    (PAIR, [1], "there are 1 items, and must be 2"),
    (PAIR, [1, "a", 2], "there are 3 items, and must be 2"),
    (PAIR, ["a", "a"], "item 0 is 'a', and must be an integer"),
    (TREE, {"of": [{}, 7]}, "field 'of', item 1 is 7, and must be an object"),
    (TEXT, list(range(99)), "..., and must be a string"),
]


@pytest.mark.parametrize(("schema", "value"), GOOD, ids=range(len(GOOD)))
def test_data_conform(schema: Any, value: Any) -> None:
    """What a keyword of another release says is not looked at."""
    assert fault_of(schema, value) == ""


@pytest.mark.parametrize(("schema", "value", "fault"), WRONG, ids=range(len(WRONG)))
def test_fault_names_the_place(schema: Any, value: Any, fault: str) -> None:
    """The value and what it must be; a long value is cut."""
    found = fault_of(schema, value)

    assert found.endswith(fault)
    assert len(found) < 120


def test_data_may_be_deep() -> None:
    """What is deeper than any page reads is not looked at."""
    value: dict[str, Any] = {}
    for _ in range(5_000):
        value = {"of": [value]}

    assert fault_of(TREE, value) == ""
