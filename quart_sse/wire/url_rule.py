"""A channel's URL rule: converts parameters to URLs and names of topics, and back.

Werkzeug is loaded with the first rule: programs that only send are not kept waiting for it.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from weakref import WeakSet

from ..errors import ParameterError
from .naming import parse_topic, plain, topic_name

if TYPE_CHECKING:
    from werkzeug.routing import BaseConverter, Map, MapAdapter


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
        from .declared_rule import check_rule

        self._channel = channel
        self.rule = rule
        #: Endpoint of the fragments, whose name says which blueprint's hooks a request runs.
        self.fragment_endpoint: str = (
            f"sse.{channel}.fragment"
            if blueprint is None
            else f"{blueprint}.sse-{channel}-fragment"
        )
        self.parameters: frozenset[str] = check_rule(channel, rule)
        #: maps in which the URL without parameters is known to lead here: an app may publish to
        #: the same topic thousands of times a second, and adds no routes while it serves
        self._led: WeakSet[Map] = WeakSet()

    def select(self, url_map: "Map", params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the name of the topic that parameters select, and what its URL says of them.

        Raises:
            ParameterError: If a parameter is missing or unknown, or its URL leads back to another
                value.
        """
        self._check_names(params)
        if not params and url_map in self._led:
            return self._channel, {}
        params = {
            name: plain(value) if isinstance(value, str) else value
            for name, value in params.items()
        }
        back = self.round_trip(url_map, params)
        for name, value in params.items():
            if back is None or not _is_same(value, back[name]):
                got = "nothing" if back is None else repr(back[name])
                raise ParameterError(
                    f"The parameter {name}={value!r} of channel {self._channel!r} comes back from "
                    f"its URL as {got}. Pass a value that the converter in {self.rule!r} takes."
                )
        if back is None:
            raise ParameterError(
                f"The URL of channel {self._channel!r} does not lead to it: a route of the app, or "
                f"of another channel, hides its rule {self.rule!r}. Change one of the two rules."
            )
        if not params:
            self._led.add(url_map)
        return self.topic_of(url_map, back), back

    def select_texts(self, url_map: "Map", texts: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
        """Do what :meth:`select` does, with parameters as they stand in a URL.

        Raises:
            ParameterError: As for :meth:`select`.
        """
        self._check_names(texts)
        values = None
        with suppress(UnicodeEncodeError):  # of half a character
            name = topic_name(self._channel, texts)
            values = self.values(url_map, name)
        if values is None:
            given = ", ".join(f"{each}={text!r}" for each, text in sorted(texts.items()))
            raise ParameterError(
                f"Channel {self._channel!r} has no topic with {given or 'no parameters'}. Pass "
                f"texts that the converters in {self.rule!r} take, as its URLs have them."
            )
        return name, values

    def _check_names(self, params: Mapping[str, Any]) -> None:
        if params.keys() != self.parameters:
            wanted = ", ".join(sorted(self.parameters)) or "no parameters"
            raise ParameterError(
                f"A topic of channel {self._channel!r} takes {wanted}, not "
                f"{', '.join(sorted(params)) or 'none'}. Its rule is {self.rule!r}."
            )

    def values(self, url_map: "Map", topic: str) -> dict[str, Any] | None:
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

    def parameters_of(self, url_map: "Map", topic: str) -> dict[str, Any]:
        """Return the parameters of a topic whose name is valid, without a round trip."""
        converters = self._converters(url_map)
        _, texts = parse_topic(topic)
        return {name: converters[name].to_python(text) for name, text in texts.items()}

    def topic_of(self, url_map: "Map", values: Mapping[str, Any]) -> str:
        """Return the name of the topic that the parameters pick."""
        converters = self._converters(url_map) if values else {}
        texts = {name: unquote(converters[name].to_url(value)) for name, value in values.items()}
        return topic_name(self._channel, texts)

    def fragment_path(self, url_map: "Map", values: Mapping[str, Any], fragment: str) -> str:
        """Return the path of a fragment's URL, without the app's root path."""
        named = {**values, "fragment": fragment}
        return str(neutral_adapter(url_map).build(self.fragment_endpoint, named))

    def round_trip(self, url_map: "Map", params: Mapping[str, Any]) -> dict[str, Any] | None:
        """Build the stream's URL from parameters and match it again.

        Returns:
            The parameters that the match gives; None if the URL cannot be built or leads elsewhere.
        """
        adapter, endpoint = neutral_adapter(url_map), f"sse.{self._channel}.stream"
        try:
            path = adapter.build(endpoint, dict(params))
            matched, values = adapter.match(unquote(path.partition("?")[0]), method="GET")
        except Exception:  # an app's converter may raise anything for a value that it rejects
            return None
        if matched != endpoint or values.keys() != self.parameters:
            return None
        return dict(values)

    def _converters(self, url_map: "Map") -> "Mapping[str, BaseConverter]":
        # One for each host, all with the same path.
        rule = next(iter(url_map.iter_rules(f"sse.{self._channel}.stream")))
        return rule._converters


def neutral_adapter(url_map: "Map") -> "MapAdapter":
    """Return an adapter for the rules without a host, which the extension always has.

    Args:
        url_map: The app's URL map.
    """
    return url_map.bind("" if url_map.host_matching else "localhost")


def _is_same(given: Any, back: Any) -> bool:
    """Whether a parameter came back unchanged; True and 1.0 are not 1."""
    if isinstance(given, bool) is not isinstance(back, bool):
        return False
    return bool(given == back) and isinstance(given, type(back))


def make_map(
    prefix: str, rules: Mapping[str, str], converters: "Mapping[str, type[BaseConverter]]"
) -> "Map":
    """Return the part of an app's URL map that channels have, for a process without the app.

    Args:
        prefix: ``QUART_SSE_URL_PREFIX``.
        rules: Channel name -> its rule.
        converters: Name -> converter of the app's own.
    """
    from werkzeug.routing import Map, Rule

    found = [
        Rule(prefix, endpoint="sse.connect"),
        Rule(f"{prefix}/~static/<path:filename>", endpoint="sse.static"),
        Rule(f"{prefix}/~publish", endpoint="sse.publish"),
    ]
    for name, rule in rules.items():
        found += [
            Rule(f"{prefix}{rule}", endpoint=f"sse.{name}.stream"),
            Rule(f"{prefix}/~/<fragment>{rule}", endpoint=f"sse.{name}.fragment"),
        ]
    return Map(found, converters=dict(converters))


def own_converters(url_map: "Map", rule: str) -> "dict[str, type[BaseConverter]]":
    """Return the converters in a channel's rule that Werkzeug does not have: name -> class.

    Args:
        url_map: The app's URL map.
        rule: The channel's rule.
    """
    from werkzeug.routing import Map

    from .declared_rule import converters_in

    found = {name: url_map.converters[name] for name in converters_in(rule)}
    usual = Map.default_converters
    return {name: each for name, each in found.items() if usual.get(name) is not each}


def converters_of(rule: str) -> "dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]]":
    """Return the converter of each parameter in a rule: its name, and its arguments.

    Args:
        rule: The channel's rule, which is valid.
    """
    from .declared_rule import parsed

    return parsed(rule).converters
