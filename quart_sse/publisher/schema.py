"""JSON Schema of the data of events, as Python types describe them, and data of such types."""

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, TypeAlias

from ..errors import DeclarationError

#: A JSON Schema; of its keywords those that :func:`schema_of` and pydantic write for data.
Schema: TypeAlias = Mapping[str, Any]

_PLAIN: dict[Any, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    type(None): "null",
    None: "null",
}
_LISTS = (list, tuple, Sequence, Iterable)


def schema_of(hint: Any) -> Schema:
    """Return the JSON Schema of what a type's values are written as.

    Args:
        hint: A dataclass, TypedDict or pydantic model, or a type of which JSON has the values:
            ``str``, ``list[int]``, ``dict[str, float] | None`` and the like. ``Any`` takes all.

    Raises:
        DeclarationError: If JSON has no such values, or a name in an annotation is not defined.
    """
    if is_model(hint):
        model: Schema = hint.model_json_schema(mode="serialization")
        return model
    defs: dict[str, Any] = {}
    found = _Schemas(defs).of(hint)
    return {**found, "$defs": defs} if defs else found


def is_model(hint: Any) -> bool:
    """Whether a type is a pydantic model, without loading pydantic."""
    return isinstance(hint, type) and hasattr(hint, "model_json_schema")


def bare(hint: Any) -> Any:
    """Return a type without what stands around it: ``Annotated``, ``NotRequired``, ``NewType``."""
    while True:
        origin = typing.get_origin(hint)
        name = getattr(origin, "__name__", None) or getattr(origin, "_name", None)
        if origin is typing.Annotated:
            hint = hint.__origin__
        elif name in {"Required", "NotRequired", "ReadOnly"}:
            (hint,) = typing.get_args(hint)
        elif hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__
        else:
            return hint


def hints_of(record: Any) -> dict[str, Any]:
    """Return the types of a dataclass's or TypedDict's fields.

    Raises:
        DeclarationError: If a name in an annotation is not defined.
    """
    try:
        return typing.get_type_hints(record, include_extras=True)
    except NameError as error:
        raise DeclarationError(
            f"The types of {record.__name__} cannot be read: {error}. Import the name outside of "
            "`if TYPE_CHECKING`, at the level of the module."
        ) from None


class _Schemas:
    """Makes the schema of one type; classes with fields are in ``defs``, so that they may recur."""

    def __init__(self, defs: dict[str, Any]) -> None:
        self._defs = defs
        self._names: dict[Any, str] = {}

    def of(self, hint: Any) -> Schema:
        hint = bare(hint)
        if hint is Any or hint is object:
            return {}
        if hint in _PLAIN:
            return {"type": _PLAIN[hint]}
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin is typing.Literal:
            return {"enum": list(arguments)}
        if origin in (typing.Union, types.UnionType):
            return {"anyOf": [self.of(each) for each in arguments]}
        if origin is tuple and arguments[-1:] != (...,):
            items = [self.of(each) for each in arguments]
            return {"type": "array", "prefixItems": items, "minItems": len(items), "items": False}
        if (origin or hint) in _LISTS:
            return {"type": "array", "items": self.of(arguments[0] if arguments else Any)}
        if (origin or hint) in (dict, Mapping):
            key, value = arguments or (str, Any)
            if bare(key) is str:
                return {"type": "object", "additionalProperties": self.of(value)}
        if isinstance(hint, type):
            return self._class(hint)
        raise _unfit(hint)

    def _class(self, hint: Any) -> Schema:
        if dataclasses.is_dataclass(hint):
            # All fields are written, also those with a default.
            names = [field.name for field in dataclasses.fields(hint)]
            return self._record(hint, names, names)
        if typing.is_typeddict(hint):
            return self._record(hint, hints_of(hint), sorted(hint.__required_keys__))
        if issubclass(hint, Enum) and issubclass(hint, str | int):
            return {"enum": [each.value for each in hint]}
        if issubclass(hint, str):
            return {"type": "string"}
        if hint in _texts():
            return {"type": "string"}
        raise _unfit(hint)

    def _record(self, hint: Any, names: Iterable[str], required: list[str]) -> Schema:
        name = self._names.get(hint)
        if name is None:
            name = hint.__name__
            while name in self._defs:
                name += "_"
            self._names[hint] = name
            self._defs[name] = {}
            hints = hints_of(hint)
            self._defs[name] = {
                **_described(hint),
                "type": "object",
                "properties": {each: self.of(hints[each]) for each in names},
                "required": required,
                "additionalProperties": False,
            }
        return {"$ref": f"#/$defs/{name}"}


def _described(record: Any) -> Schema:
    """Return what the docstring of a class says, but for that which a dataclass makes."""
    text = (record.__doc__ or "").strip().partition("\n\n")[0]
    is_made = typing.is_typeddict(record) and text.startswith("dict(")
    return (
        {}
        if not text or is_made or text.startswith(f"{record.__name__}(")
        else {"description": text}
    )


def _unfit(hint: Any) -> DeclarationError:
    name = hint.__name__ if isinstance(hint, type) else repr(hint)
    return DeclarationError(
        f"{name} cannot be the type of an event's data, or of "
        "a field, because JSON has no such values. Use a dataclass, a TypedDict, a pydantic model, "
        "or types such as str, int, list[str] and dict[str, float]."
    )


def _texts() -> dict[Any, Callable[[str], Any]]:
    """Return the types that are written as a text, each with what reads it."""
    from datetime import date, datetime
    from decimal import Decimal
    from email.utils import parsedate_to_datetime
    from uuid import UUID

    return {
        datetime: parsedate_to_datetime,
        date: lambda text: parsedate_to_datetime(text).date(),
        Decimal: Decimal,
        UUID: UUID,
    }


def built(hint: Any, value: Any) -> Any:
    """Return the value of a type that JSON says, the JSON's own where the type has no other.

    Args:
        hint: The type.
        value: What the JSON holds, which conforms to the type's schema.
    """
    hint = bare(hint)
    if is_model(hint):
        return hint.model_validate(value)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        fitting = [each for each in arguments if each is not type(None)]
        return built(fitting[0], value) if value is not None and len(fitting) == 1 else value
    if isinstance(value, list) and origin in _LISTS and arguments:
        many = arguments if origin is tuple and ... not in arguments else arguments[:1] * len(value)
        items = [built(each, item) for each, item in zip(many, value, strict=False)]
        return tuple(items) if origin is tuple else items
    if isinstance(value, dict) and isinstance(hint, type) and dataclasses.is_dataclass(hint):
        hints = hints_of(hint)
        fields = [field for field in dataclasses.fields(hint) if field.init]
        return hint(**{each.name: built(hints[each.name], value[each.name]) for each in fields})
    if isinstance(value, dict) and typing.is_typeddict(hint):
        hints = hints_of(hint)
        return {name: built(hints[name], item) for name, item in value.items()}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    reader = _texts().get(hint) if isinstance(value, str) else None
    return value if reader is None else reader(value)
