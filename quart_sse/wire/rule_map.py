"""URL rules of channels in a map of Werkzeug: checked alone, and as an app has them."""

from collections.abc import Mapping
from typing import Any

from werkzeug.routing import BaseConverter, Map, Rule

from ..errors import DeclarationError

#: Names with another meaning in the extension's URLs or macros.
_RESERVED_PARAMETERS = frozenset({"fragment", "t", "since", "tag", "attrs", "caller", "self"})


def make_map(
    prefix: str, rules: Mapping[str, str], converters: Mapping[str, type[BaseConverter]]
) -> Map:
    """Return the part of an app's URL map that channels have, for a process without the app.

    Args:
        prefix: ``QUART_SSE_URL_PREFIX``.
        rules: Channel name -> its rule.
        converters: Name -> converter of the app's own.
    """
    found = [
        Rule(prefix, endpoint="sse.connect"),
        Rule(f"{prefix}/~static/<path:filename>", endpoint="sse.static"),
    ]
    for name, rule in rules.items():
        found += [
            Rule(f"{prefix}{rule}", endpoint=f"sse.{name}.stream"),
            Rule(f"{prefix}/~/<fragment>{rule}", endpoint=f"sse.{name}.fragment"),
        ]
    return Map(found, converters=dict(converters))


def own_converters(url_map: Map, channel: str) -> dict[str, type[BaseConverter]]:
    """Return the converters in a channel's rule that Werkzeug does not have: name -> class.

    Args:
        url_map: The app's URL map.
        channel: The channel's name.
    """
    (rule,) = url_map.iter_rules(f"sse.{channel}.stream")
    used = {type(converter) for converter in rule._converters.values()}
    return {
        name: converter
        for name, converter in url_map.converters.items()
        if converter in used and Map.default_converters.get(name) is not converter
    }


class _DeclaredRule(Rule):
    """A rule that parses before the app's own converters are known."""

    def get_converter(self, *args: Any, **kwargs: Any) -> BaseConverter:
        """Return a converter that accepts any text."""
        return BaseConverter(self.map)


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
    parsed = _DeclaredRule(rule, endpoint=channel)
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
