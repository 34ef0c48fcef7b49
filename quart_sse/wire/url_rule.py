"""A channel's URL rule: from parameters to URLs and names of topics, and back."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from werkzeug.routing import BaseConverter, Map, MapAdapter, Rule

from ..errors import DeclarationError
from .naming import parse_topic, topic_name

#: Parameters that would be taken for something else in a URL or a macro.
_RESERVED_PARAMETERS = frozenset({"fragment", "t", "since", "tag", "attrs", "caller", "self"})


class UrlRule:
    """The URL rule of one channel, whose parameters pick a topic.

    Whatever comes from outside or is published to goes through the app's own URL map and back, so
    that one topic never has two names.

    Args:
        channel: The channel's name.
        rule: The rule as it was declared.

    Raises:
        DeclarationError: If a channel cannot be reached by it.
    """

    def __init__(self, channel: str, rule: str) -> None:
        self._channel = channel
        self.parameters = _check_rule(channel, rule)

    def values(self, url_map: Map, topic: str) -> dict[str, Any] | None:
        """Return the parameters of a topic by its name; None if there can be no such topic."""
        name, texts = parse_topic(topic)
        if name != self._channel or texts.keys() != self.parameters:
            return None
        try:
            given = self.parameters_of(url_map, topic)
        except Exception:  # an app's own converter may raise anything at what is not its own
            return None
        back = self.round_trip(url_map, given)
        return None if back is None or self.topic_of(url_map, back) != topic else back

    def parameters_of(self, url_map: Map, topic: str) -> dict[str, Any]:
        """Return the parameters of a topic that is known to be one, without building its URL."""
        converters = self._converters(url_map)
        _, texts = parse_topic(topic)
        return {name: converters[name].to_python(text) for name, text in texts.items()}

    def topic_of(self, url_map: Map, values: Mapping[str, Any]) -> str:
        """Return the name of the topic that parameters pick."""
        converters = self._converters(url_map) if values else {}
        texts = {name: unquote(converters[name].to_url(value)) for name, value in values.items()}
        return topic_name(self._channel, texts)

    def fragment_path(self, url_map: Map, values: Mapping[str, Any], fragment: str) -> str:
        """Return the path of a fragment, without the app's root path."""
        endpoint = f"sse.{self._channel}.fragment"
        return str(_adapter(url_map).build(endpoint, {**values, "fragment": fragment}))

    def round_trip(self, url_map: Map, params: Mapping[str, Any]) -> dict[str, Any] | None:
        """Build a URL and match it; returns the parameters that came back, if they did."""
        adapter, endpoint = _adapter(url_map), f"sse.{self._channel}.stream"
        try:
            path = adapter.build(endpoint, dict(params))
            matched, values = adapter.match(unquote(path.partition("?")[0]), method="GET")
        except Exception:  # an app's own converter may raise anything at what is not its own
            return None
        if matched != endpoint or values.keys() != self.parameters:
            return None
        return dict(values)

    def _converters(self, url_map: Map) -> Mapping[str, BaseConverter]:
        (rule,) = url_map.iter_rules(f"sse.{self._channel}.stream")
        return rule._converters


class _DeclaredRule(Rule):
    """A rule whose converters are not known yet: the app may bring its own."""

    def get_converter(self, *args: Any, **kwargs: Any) -> BaseConverter:
        """Return a converter that takes anything."""
        return BaseConverter(self.map)


def _check_rule(channel: str, rule: str) -> frozenset[str]:
    """Return the parameters of a URL rule.

    Raises:
        DeclarationError: If a channel cannot be reached by it.
    """
    if not rule.startswith("/") or rule.startswith("/~"):
        raise DeclarationError(
            f"The rule {rule!r} of channel {channel!r} must begin with '/' and not with '/~', "
            "which begins the URLs of fragments."
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


def _adapter(url_map: Map) -> MapAdapter:
    return url_map.bind("localhost")
