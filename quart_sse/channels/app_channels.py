"""The declared channels, as one app has them: with its settings and its URL map."""

from collections.abc import Iterable, Mapping
from typing import Any

from ..broker import Keep
from ..config import Config
from ..host import Host
from ..hub import FragmentSpec
from .channel import Channel


class AppChannels:
    """Channel name -> channel, for one app.

    Args:
        channels: The declared channels; several apps may share them, and more may be declared.
        config: The app's settings.
        host: Has the app's URL map.
    """

    def __init__(self, channels: Mapping[str, Channel], config: Config, host: Host) -> None:
        self.declared = channels
        self._config = config
        self._host = host

    def get(self, name: str) -> Channel | None:
        """Return a channel by its name; None if none is declared."""
        return self.declared.get(name)

    def of(self, topic: str) -> Channel | None:
        """Return the channel that a topic belongs to; None if none is declared."""
        return self.declared.get(topic.partition("?")[0])

    def known(self, topic: str) -> Channel:
        """Return the channel of a topic that is known to have one."""
        return self.declared[topic.partition("?")[0]]

    def spec(self, topic: str, fragment: str) -> FragmentSpec | None:
        """Return how a fragment of a topic was declared; None if it was not."""
        channel = self.of(topic)
        declared = None if channel is None else channel.fragments.get(fragment)
        return None if declared is None else declared.spec

    def specs(self, topic: str) -> list[FragmentSpec]:
        """Return how the fragments of a topic were declared; none if its channel was not."""
        channel = self.of(topic)
        return [] if channel is None else [each.spec for each in channel.fragments.values()]

    def keep(self, topic: str) -> Keep:
        """Return how a topic's history is kept."""
        channel = self.of(topic)
        return Keep(0, self._config.history_ttl) if channel is None else channel.keep(self._config)

    def is_private(self, topics: Iterable[str]) -> bool:
        """Whether any of these topics needs a token, because its channel is not public."""
        channels = map(self.of, topics)
        return any(channel is None or not channel.public for channel in channels)

    @property
    def are_private(self) -> bool:
        """Whether any channel has what is not for everyone: a token, or a personal fragment."""
        return any(
            not channel.public or channel.shared != channel.specs.keys()
            for channel in self.declared.values()
        )

    def values(self, topic: str) -> dict[str, Any] | None:
        """Return the parameters of a topic by its name; None if there can be no such topic.

        Args:
            topic: A topic's name, which may come from anyone.
        """
        channel = self.of(topic)
        return None if channel is None else channel.url_rule.values(self._host.url_map, topic)

    def known_values(self, topic: str) -> dict[str, Any]:
        """Return the parameters of a topic that :meth:`values` has found to be one before."""
        return self.known(topic).url_rule.parameters_of(self._host.url_map, topic)

    def fragment_path(self, topic: str, values: Mapping[str, Any], fragment: str) -> str:
        """Return the path of a fragment of a known topic, without the app's root path.

        Args:
            topic: The topic's name.
            values: Its parameters, as :meth:`known_values` gives them.
            fragment: The fragment's name.
        """
        return self.known(topic).url_rule.fragment_path(self._host.url_map, values, fragment)
