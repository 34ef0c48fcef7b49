"""TypeScript types of the data of events, by their JSON Schema."""

import json
import re
from typing import Any

from ..publisher import Schema

_PLAIN = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
}
_IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)


def type_of(schema: Schema) -> str:
    """Return the TypeScript type of what conforms to a JSON Schema; ``any`` where it says nothing.

    A type that contains itself has ``any`` there.
    """
    return _type(schema, schema.get("$defs", {}), ())


def description_of(schema: Schema) -> str:
    """Return what a schema says of the data, in one line; "" if it says nothing."""
    if "$ref" in schema:
        schema = _definition(schema, schema.get("$defs", {}))
    # The end of a comment would end that of a script.
    return " ".join(str(schema.get("description", "")).replace("*/", "* /").split())


def _definition(schema: Schema, defs: Schema) -> Schema:
    found: Schema = defs.get(str(schema["$ref"]).rpartition("/")[2], {})
    return found


def _type(schema: Any, defs: Schema, within: tuple[str, ...]) -> str:
    if not isinstance(schema, dict):
        return "any"
    if "$ref" in schema:
        name = str(schema["$ref"])
        return "any" if name in within else _type(_definition(schema, defs), defs, (*within, name))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum") or [schema.get("const")]
        return " | ".join(json.dumps(each) for each in values)
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(_type(each, defs, within) for each in schema["anyOf"]))
    kind = schema.get("type")
    if kind == "array":
        return _array(schema, defs, within)
    if kind == "object":
        return _object(schema, defs, within)
    return _PLAIN.get(str(kind), "any")


def _array(schema: Schema, defs: Schema, within: tuple[str, ...]) -> str:
    if "prefixItems" in schema:
        return f"[{', '.join(_type(each, defs, within) for each in schema['prefixItems'])}]"
    item = _type(schema.get("items"), defs, within)
    return f"({item})[]" if " | " in item else f"{item}[]"


def _object(schema: Schema, defs: Schema, within: tuple[str, ...]) -> str:
    properties = schema.get("properties")
    if not properties:
        more = schema.get("additionalProperties", True)
        return f"Record<string, {'never' if more is False else _type(more, defs, within)}>"
    required = schema.get("required", ())
    fields = [
        f"{name if _IDENTIFIER.fullmatch(name) else json.dumps(name)}"
        f"{'' if name in required else '?'}: {_type(each, defs, within)}"
        for name, each in properties.items()
    ]
    return f"{{ {'; '.join(fields)} }}"
