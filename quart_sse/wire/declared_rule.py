"""Check a URL rule before the app's own converters are known."""

from collections.abc import Mapping
from typing import Any

from werkzeug.routing import BaseConverter, Map, Rule

from ..errors import DeclarationError

#: Names with another meaning in the extension's URLs or macros.
_RESERVED_PARAMETERS = frozenset({"fragment", "t", "since", "tag", "attrs", "caller", "self"})


class _DeclaredRule(Rule):
    """A rule that parses before the app's own converters are known."""

    def __init__(self, rule: str, endpoint: str) -> None:
        super().__init__(rule, endpoint=endpoint)
        #: parameter -> the name of its converter, and that one's arguments
        self.converters: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {}

    def get_converter(
        self,
        variable_name: str,
        converter_name: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> BaseConverter:
        """Return a converter that accepts any text."""
        self.converters[variable_name] = converter_name, args, dict(kwargs)
        return BaseConverter(self.map)


def parsed(rule: str) -> _DeclaredRule:
    """Return a valid rule, which has been parsed."""
    found = _DeclaredRule(rule, "rule")
    Map([found])
    return found


def converters_in(rule: str) -> frozenset[str]:
    """Return the names of the converters in a valid rule."""
    return frozenset(name for name, _, _ in parsed(rule).converters.values())


def check_rule(channel: str, rule: str) -> frozenset[str]:
    """Return the names of a URL rule's parameters.

    Raises:
        DeclarationError: If it is invalid, begins with ``/~``, or has a reserved parameter.
    """
    if not rule.startswith("/") or rule.startswith("/~"):
        raise DeclarationError(
            f"The rule {rule!r} of channel {channel!r} must begin with '/', and not with '/~', "
            "with which the URLs of fragments begin."
        )
    found = _DeclaredRule(rule, channel)
    try:
        Map([found])
    except (ValueError, TypeError, SyntaxError) as error:
        raise DeclarationError(f"The rule {rule!r} of channel {channel!r}: {error}") from None
    reserved = found.arguments & _RESERVED_PARAMETERS
    if reserved:
        raise DeclarationError(
            f"The rule {rule!r} of channel {channel!r} has a parameter {min(reserved)!r}, which "
            "means something else in the extension's URLs or macros. Choose another name."
        )
    return frozenset(found.arguments)
