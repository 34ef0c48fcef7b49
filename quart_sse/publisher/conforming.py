"""Whether data conform to a JSON Schema, and if not, what is wrong."""

from typing import Any

from .schema import Schema

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}
_DEEPEST = 64  #: how deep data are looked at


def fault_of(schema: Schema, value: Any, defs: Schema | None = None, deep: int = 0) -> str:
    """Return what is wrong with data; "" if they conform.

    Keywords that say more than a type, such as ``pattern`` and ``format``, count as fulfilled.

    Args:
        schema: As :func:`~quart_sse.publisher.schema.schema_of` returns it.
        value: What JSON holds.
        defs: The definitions of the whole schema; None takes those of ``schema``.
        deep: How deep in the data the value is.

    Returns:
        Such as ``field 'id' is '12', and must be an integer``.
    """
    defs = schema.get("$defs", {}) if defs is None else defs
    if deep > _DEEPEST:
        return ""
    if "$ref" in schema:
        found = defs.get(str(schema["$ref"]).rpartition("/")[2], {})
        return fault_of(found, value, defs, deep + 1)
    if "anyOf" in schema:
        faults = [fault_of(each, value, defs, deep + 1) for each in schema["anyOf"]]
        return "" if "" in faults else _must(value, schema, defs)
    if "enum" in schema:
        return "" if any(_is_same(value, each) for each in schema["enum"]) else _must(value, schema)
    if "const" in schema:
        return "" if _is_same(value, schema["const"]) else _must(value, schema)
    kind = schema.get("type")
    if kind in _TYPES and not _is_a(value, kind):
        return _must(value, schema, defs)
    if isinstance(value, dict):
        return _fault_of_object(schema, value, defs, deep)
    if isinstance(value, list):
        return _fault_of_array(schema, value, defs, deep)
    return ""


def _is_a(value: Any, kind: str) -> bool:
    # To Python a bool is an int.
    return isinstance(value, _TYPES[kind]) and (
        kind == "boolean" or not isinstance(value, bool) or kind not in {"integer", "number"}
    )


def _is_same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and value == other


def _fault_of_object(schema: Schema, value: dict[str, Any], defs: Schema, deep: int) -> str:
    properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name in schema.get("required", ()):
        if name not in value:
            return f"field {name!r} is missing"
    for name, item in value.items():
        known = properties.get(name, more)
        if known is False:
            return f"there is no field {name!r} (its fields are {', '.join(properties) or 'none'})"
        if known is not True and (fault := fault_of(known, item, defs, deep + 1)):
            return _at(f"field {name!r}", fault)
    return ""


def _fault_of_array(schema: Schema, value: list[Any], defs: Schema, deep: int) -> str:
    first, rest = schema.get("prefixItems", ()), schema.get("items", True)
    if len(value) < schema.get("minItems", 0) or (rest is False and len(value) > len(first)):
        return f"there are {len(value)} items, and must be {len(first)}"
    for number, item in enumerate(value):
        known = first[number] if number < len(first) else rest
        if not isinstance(known, bool) and (fault := fault_of(known, item, defs, deep + 1)):
            return _at(f"item {number}", fault)
    return ""


def _at(place: str, fault: str) -> str:
    """Say where a fault is: ``field 'a', item 0 is ...``."""
    return (
        f"{place} {fault.removeprefix('it ')}" if fault.startswith("it ") else f"{place}, {fault}"
    )


def _must(value: Any, schema: Schema, defs: Schema | None = None) -> str:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return f"it is {shown}, and must be {_named(schema, defs or {})}"


def _named(schema: Schema, defs: Schema) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_named(each, defs) for each in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(map(repr, schema["enum"]))
    if "const" in schema:
        return repr(schema["const"])
    kind = str(schema.get("type", "anything"))
    return f"{'an' if kind[0] in 'aio' else 'a'} {kind}" if kind != "null" else "null"
