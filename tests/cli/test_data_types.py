"""TypeScript types of JSON Schemas."""

from typing import Any

import pytest

from quart_sse.cli.data_types import description_of, type_of

ROOT = {"type": "object", "properties": {"a": {"type": "string"}}}
SCHEMAS: list[tuple[Any, str]] = [
    ({}, "any"),
    ({"type": "integer"}, "number"),
    ({"type": "null"}, "null"),
    ({"type": "later"}, "any"),
    ({"enum": ["a", 1, None]}, '"a" | 1 | null'),
    ({"const": 1}, "1"),
    ({"const": False}, "false"),
    ({"anyOf": [{"type": "integer"}, {"type": "number"}, {"type": "null"}]}, "number | null"),
    ({"type": "array"}, "any[]"),
    ({"type": "array", "items": {"enum": ["a", "b"]}}, '("a" | "b")[]'),
    ({"type": "array", "prefixItems": [{"type": "string"}, {}]}, "[string, any]"),
    ({"type": "object"}, "Record<string, any>"),
    (
        {"type": "object", "additionalProperties": {"type": "boolean"}},
        "Record<string, boolean>",
    ),
    ({"type": "object", "properties": {}, "additionalProperties": False}, "Record<string, never>"),
    (
        {"type": "object", "properties": {"a": {}, "b-c": {}}, "required": ["a"]},
        '{ a: any; "b-c"?: any }',
    ),
    ({"$ref": "#/$defs/A", "$defs": {"A": ROOT}}, "{ a?: string }"),
    ({"$ref": "#/$defs/A", "$defs": {}}, "any"),
    (
        {
            "$ref": "#/$defs/A",
            "$defs": {
                "A": {
                    "type": "object",
                    "properties": {"of": {"type": "array", "items": {"$ref": "#/$defs/A"}}},
                    "required": ["of"],
                }
            },
        },
        "{ of: any[] }",
    ),
]


@pytest.mark.parametrize(("schema", "text"), SCHEMAS, ids=range(len(SCHEMAS)))
def test_schema_has_a_type(schema: Any, text: str) -> None:
    """Where it says nothing that is known, or contains itself, the type is any."""
    assert type_of(schema) == text


def test_description_ends_no_comment() -> None:
    """It is one line, also of a class that stands under a name."""
    assert description_of({"description": "a\n  b */ c"}) == "a b * / c"
    told = {"$ref": "#/$defs/A", "$defs": {"A": {"description": "A thing."}}}
    assert description_of(told) == "A thing."
    assert description_of({}) == ""
