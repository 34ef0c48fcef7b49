"""A channel's URL rule: converts parameters to URLs and names of topics, and back."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from werkzeug.routing import BaseConverter, Map, MapAdapter, Rule

from ..errors import DeclarationError
from .naming import parse_topic, topic_name

#: Names with another meaning in the extension's URLs or macros.
_RESERVED_PARAMETERS = frozenset({"fragment", "t", "since", "tag", "attrs", "caller", "self"})


class UrlRule:
    """The URL rule of one channel, whose parameters pick a topic.

    Parameters of clients and of publishers make a round trip through the app's URL map. Its
    converters thus normalize both in the same way, and a topic never has two names.

    Args:
        channel: The channel's name.
        rule: The rule as it was declared, such as ``/comments/<int:discussion_id>``.

    Raises:
        DeclarationError: If the rule is invalid, begins with ``/~``, or has a reserved parameter.
    """

    def __init__(self, channel: str, rule: str, blueprint: str | None = None) -> None:
        self._channel = channel
        #: Endpoint of the fragments, whose name says which blueprint's hooks a request runs.
        self.fragment_endpoint: str = (
            f"sse.{channel}.fragment"
            if blueprint is None
            else f"{blueprint}.sse-{channel}-fragment"
        )
        self.parameters: frozenset[str] = _check_rule(channel, rule)

    def values(self, url_map: Map, topic: str) -> dict[str, Any] | None:
        """Return the parameters of a topic; None if the channel can have no topic of this name."""
        name, texts = parse_topic(topic)
        if name != self._channel or texts.keys() != self.parameters:
            return None
        try:
            given = self.parameters_of(url_map, topic)
        except Exception:  # an app's converter may raise anything for text that it rejects
            return None
        back = self.round_trip(url_map, given)
        return None if back is None or self.topic_of(url_map, back) != topic else back

    def parameters_of(self, url_map: Map, topic: str) -> dict[str, Any]:
        """Return the parameters of a topic whose name is valid, without a round trip."""
        converters = self._converters(url_map)
        _, texts = parse_topic(topic)
        return {name: converters[name].to_python(text) for name, text in texts.items()}

    def topic_of(self, url_map: Map, values: Mapping[str, Any]) -> str:
        """Return the name of the topic that the parameters pick."""
        converters = self._converters(url_map) if values else {}
        texts = {name: unquote(converters[name].to_url(value)) for name, value in values.items()}
        return topic_name(self._channel, texts)

    def fragment_path(self, url_map: Map, values: Mapping[str, Any], fragment: str) -> str:
        """Return the path of a fragment's URL, without the app's root path."""
        named = {**values, "fragment": fragment}
        return str(_adapter(url_map).build(self.fragment_endpoint, named))

    def round_trip(self, url_map: Map, params: Mapping[str, Any]) -> dict[str, Any] | None:
        """Build the stream's URL from parameters and match it again.

        Returns:
            The parameters that the match gives; None if the URL cannot be built or leads elsewhere.
        """
        adapter, endpoint = _adapter(url_map), f"sse.{self._channel}.stream"
        try:
            path = adapter.build(endpoint, dict(params))
            matched, values = adapter.match(unquote(path.partition("?")[0]), method="GET")
        except Exception:  # an app's converter may raise anything for a value that it rejects
            return None
        if matched != endpoint or values.keys() != self.parameters:
            return None
        return dict(values)

    def _converters(self, url_map: Map) -> Mapping[str, BaseConverter]:
        (rule,) = url_map.iter_rules(f"sse.{self._channel}.stream")
        return rule._converters


class _DeclaredRule(Rule):
    """A rule that parses before the app's own converters are known."""

    def get_converter(self, *args: Any, **kwargs: Any) -> BaseConverter:
        """Return a converter that accepts any text."""
        return BaseConverter(self.map)


def _check_rule(channel: str, rule: str) -> frozenset[str]:
    """Return the names of a URL rule's parameters.

    Raises:
        DeclarationError: See :class:`UrlRule`.
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


def _adapter(url_map: Map) -> MapAdapter:
    return url_map.bind("localhost")
