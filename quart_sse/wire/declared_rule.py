"""Check a URL rule before the app's own converters are known."""

from typing import Any

from werkzeug.routing import BaseConverter, Map, Rule

from ..errors import DeclarationError

#: Names with another meaning in the extension's URLs or macros.
_RESERVED_PARAMETERS = frozenset({"fragment", "t", "since", "tag", "attrs", "caller", "self"})


class _DeclaredRule(Rule):
    """A rule that parses before the app's own converters are known."""

    def __init__(self, rule: str, endpoint: str) -> None:
        super().__init__(rule, endpoint=endpoint)
        self.names: set[str] = set()  #: of the converters in it

    def get_converter(
        self, variable_name: str, converter_name: str, *args: Any, **kwargs: Any
    ) -> BaseConverter:
        """Return a converter that accepts any text."""
        self.names.add(converter_name)
        return BaseConverter(self.map)


def converters_in(rule: str) -> frozenset[str]:
    """Return the names of the converters in a valid rule."""
    parsed = _DeclaredRule(rule, "rule")
    Map([parsed])
    return frozenset(parsed.names)


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
    parsed = _DeclaredRule(rule, channel)
    try:
        Map([parsed])
    except (ValueError, TypeError, SyntaxError) as error:
        raise DeclarationError(f"The rule {rule!r} of channel {channel!r}: {error}") from None
    reserved = parsed.arguments & _RESERVED_PARAMETERS
    if reserved:
        raise DeclarationError(
            f"The rule {rule!r} of channel {channel!r} has a parameter {min(reserved)!r}, which "
            "means something else in the extension's URLs or macros. Choose another name."
        )
    return frozenset(parsed.arguments)
