"""The declared channels of one app, with its settings and its URL map."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from werkzeug.routing import Map

from ..broker import Keep
from ..config import Config
from ..errors import DeclarationError
from ..host import Host
from ..hub import ChannelLimits, FragmentSpec
from ..publisher import Declared, write
from ..wire import channel_of, is_audience, neutral_adapter
from .channel import Channel
from .declaration import Declaration
from .options import ChannelOptions, StreamSettings, settings_of, shortest


class AppChannels:
    """Look up an app's channels, topics and fragments by name.

    Topic names may come from a client: :meth:`values` decides whether one exists, and the methods
    that begin with ``known_`` take only names that it has accepted.

    Args:
        channels: Channel name -> channel. Several apps may share the mapping, and channels that
            are declared later appear in it.
        config: The app's settings.
        host: The framework, which has the app's URL map.
    """

    def __init__(self, channels: Mapping[str, Channel], config: Config, host: Host) -> None:
        self.declared = channels
        self._config = config
        self._host = host
        self._app_settings = settings_of(ChannelOptions(), config)  # of a stream without topics
        self._settings: dict[str, StreamSettings] = {}  #: of each channel
        self._have_headers = 0, False  #: the number of channels, and whether any has headers

    @property
    def url_map(self) -> Map:
        """The app's URL map."""
        return self._host.url_map

    def check(self) -> None:
        """Refuse to serve while something is refreshed on an event that nothing declares.

        Raises:
            DeclarationError: If there is such a thing; the message names it.
        """
        declared = {name: self.known(name) for name in self.declared}
        for each in declared.values():
            for fault in each.faults(declared):
                raise DeclarationError(fault)

    def get(self, name: str) -> Declaration | None:
        """Return what is declared of the channel of this name, or None."""
        channel = self.declared.get(name)
        return None if channel is None else channel._declaration

    def of(self, topic: str) -> Declaration | None:
        """Return what is declared of a topic's channel, or None if there is no such channel."""
        return self.get(topic.partition("?")[0])

    def known(self, topic: str) -> Declaration:
        """Return what is declared of a topic's channel, which is known to be declared."""
        return self.declared[topic.partition("?")[0]]._declaration

    def at(self, path: str) -> Declaration | None:
        """Return what is declared of the channel whose own URL has a path; None for other paths.

        Args:
            path: Path of a request, without the app's root path.
        """
        try:
            endpoint, _ = neutral_adapter(self._host.url_map).match(path, method="GET")
        except Exception:  # an app's converter may raise anything for text that it rejects
            return None
        wing, _, name = endpoint.removesuffix(".stream").partition(".")
        return self.get(name) if wing == "sse" and endpoint.endswith(".stream") else None

    def record(self) -> Declared:
        """Return what the app declares, as publishers work by it."""
        config, url_map = self._config, self._host.url_map
        return Declared(
            {name: self.known(name).record(config, url_map) for name in self.declared},
            prefix=config.url_prefix,
            root=urlsplit(config.base_url or "").path,
            keep=Keep(config.history, config.history_ttl),
            max_bytes=config.pending_bytes,
        )

    def write(self) -> str:
        """Return what the app declares as text, for publishers in other processes."""
        return write(self.record())

    @property
    def have_headers(self) -> bool:
        """Whether any channel has response headers or origins of its own."""
        number = len(self.declared)  # each request asks, and channels are only added
        if self._have_headers[0] != number:
            options = (self.known(name).options for name in self.declared)
            self._have_headers = number, any(each.headers or each.origins for each in options)
        return self._have_headers[1]

    def spec(self, topic: str, fragment: str) -> FragmentSpec | None:
        """Return a fragment's declared options, or None if it is not declared."""
        channel = self.of(topic)
        declared = None if channel is None else channel.known.get(fragment)
        return None if declared is None else declared.spec

    def specs(self, topic: str) -> list[FragmentSpec]:
        """Return the declared options of all fragments of a topic; empty for an unknown channel."""
        channel = self.of(topic)
        return [] if channel is None else [each.spec for each in channel.fragments.values()]

    def built_in(self, topic: str) -> Iterable[str]:
        """Return the names of the built-in fragments that a topic has."""
        channel = self.of(topic)
        return () if channel is None else channel.built_in

    def announces(self, topic: str) -> bool:
        """Whether the broker records who listens to a topic, because the app has asked for it."""
        channel = self.of(topic)
        return channel is not None and channel.has_presence

    def presence_keys(self, topic: str) -> tuple[str, ...]:
        """Return the keys of metadata that the presence of a topic carries."""
        channel = self.of(topic)
        return () if channel is None else channel.presence_keys

    def keep(self, topic: str) -> Keep:
        """Return how much history a topic or an audience keeps; none for an unknown channel."""
        if is_audience(topic):
            whole = channel_of(topic)
            if whole is None:
                return Keep(self._config.history, self._config.history_ttl)
            channel = self.get(whole)
        else:
            channel = self.of(topic)
        return Keep(0, self._config.history_ttl) if channel is None else channel.keep(self._config)

    def limits(self, topic: str) -> ChannelLimits:
        """Return the limits that a topic's channel has of its own; none for an unknown channel."""
        channel = self.of(topic)
        if channel is None:
            return ChannelLimits("")
        options = channel.options
        return ChannelLimits(channel.name, options.max_connections, options.max_per_topic)

    def settings(self, topics: Iterable[str]) -> StreamSettings:
        """Return the settings of a stream of these topics, all of declared channels."""
        found = [self._settings_of(name) for name in {topic.partition("?")[0] for topic in topics}]
        return found[0] if len(found) == 1 else shortest(found or [self._app_settings])

    def _settings_of(self, channel: str) -> StreamSettings:
        # Kept, for each stream asks three times.
        settings = self._settings.get(channel)
        if settings is None:
            settings = settings_of(self.known(channel).options, self._config)
            self._settings[channel] = settings
        return settings

    @property
    def heartbeats(self) -> set[float]:
        """The intervals of heartbeats that streams may have, in seconds."""
        own = (self.known(name).options.heartbeat for name in self.declared)
        return {self._config.heartbeat, *(interval for interval in own if interval is not None)}

    def is_private(self, topics: Iterable[str]) -> bool:
        """Whether any of these topics needs a token: its channel is unknown or not public."""
        channels = map(self.of, topics)
        return any(channel is None or not channel.public for channel in channels)

    @property
    def are_private(self) -> bool:
        """Whether any channel needs tokens or has a personal fragment."""
        return any(
            not channel.public or channel.personal for channel in map(self.known, self.declared)
        )

    def values(self, topic: str) -> dict[str, Any] | None:
        """Return a topic's parameters, or None if no such topic can exist.

        Args:
            topic: The topic's name; it may come from a client.
        """
        channel = self.of(topic)
        return None if channel is None else channel.url_rule.values(self._host.url_map, topic)

    def known_values(self, topic: str) -> dict[str, Any]:
        """Return the parameters of a topic whose name :meth:`values` has accepted."""
        return self.known(topic).url_rule.parameters_of(self._host.url_map, topic)

    def fragment_path(self, topic: str, values: Mapping[str, Any], fragment: str) -> str:
        """Return the URL path of a fragment, without the app's root path.

        Args:
            topic: The topic's name.
            values: Its parameters, as :meth:`known_values` returns them.
            fragment: The fragment's name.
        """
        return self.known(topic).url_rule.fragment_path(self._host.url_map, values, fragment)
