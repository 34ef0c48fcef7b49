"""The channels of an app, as a publisher without the app finds them."""

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..broker import Broker, read_declared
from ..errors import (
    BrokerUnavailable,
    DeclarationError,
    SetupError,
    UnknownChannelError,
    UnknownFragmentError,
)
from ..wire import UrlRule, converters_of, make_map
from .declared import ChannelRecord, Declared, Recorded, read
from .event_type import Declares, EventType

if TYPE_CHECKING:
    from werkzeug.routing import BaseConverter, Map

#: Time for which a publisher works by what it has read, in seconds.
LIFETIME = 60.0
#: Shortest time between two readings for the sake of unknown names, in seconds.
AGAIN = 1.0


class Known:
    """A channel that topics can be selected of.

    Args:
        record: What is known of the channel.
        url_map: The rules of all channels.
    """

    def __init__(self, record: ChannelRecord, url_map: "Map") -> None:
        self.record = record
        self._url_map = url_map
        self._rule = UrlRule(record.name, record.rule)
        types = {
            name: EventType._of_schema(name, record.types.get(name, {}), record.name)
            for name in record.events or ()
        }
        self.declares: Declares = Declares(record.name, types, record.events is not None)

    def select(self, params: Mapping[str, Any], *, are_texts: bool = False) -> str:
        """Return the name of the topic that parameters select.

        Args:
            params: The parameters.
            are_texts: Whether they are texts, as they stand in a URL.

        Raises:
            ParameterError: As for :meth:`UrlRule.select`.
        """
        select = self._rule.select_texts if are_texts else self._rule.select
        return select(self._url_map, params)[0]

    def has_event(self, name: str) -> bool:
        """Whether the channel declares an event, or may have any."""
        return self.record.events is None or name in self.declares.types

    @property
    def is_single(self) -> bool:
        """Whether the channel has one topic alone, because its rule has no parameters."""
        return not converters_of(self.record.rule)

    def fragments(self, names: Iterable[str]) -> list[str]:
        """Return the given fragments, or all if none is given.

        Raises:
            UnknownFragmentError: If the channel does not declare one of them.
        """
        declared = self.record.fragments
        for name in names:
            if name not in declared:
                raise UnknownFragmentError(self.record.name, name, declared)
        return list(names) or list(declared)


class Catalog:
    """Reads what the app's processes declare, and finds channels in it.

    What was read stays good while no process of the app lives, as during a restart.

    Args:
        broker: The app's broker.
        given: Channels that count instead of those that are read.
        where: How the error names the broker.
        whole: All that the app declares, if that is known, so that nothing is read.
    """

    def __init__(
        self,
        broker: Broker,
        given: Iterable[Recorded],
        where: str,
        whole: Declared | None = None,
    ) -> None:
        self._broker = broker
        self._given = {each.record().name: each.record() for each in given}
        self._where = where
        self._texts: list[str] | None = None
        self._whole = whole
        self._declared = Declared(self._given) if whole is None else whole
        self._known: dict[str, Known] | None = None
        self._read_at = float("-inf")

    async def declared(self, most: float = LIFETIME) -> Declared:
        """Return what the app declares, read not longer ago than some seconds.

        Raises:
            SetupError: If no process has declared anything, and no channels were given.
            BrokerUnavailable: If the broker does not answer.
        """
        if self._whole is not None:
            return self._whole
        if time.monotonic() - self._read_at > most:
            texts = await self._read()
            self._read_at = time.monotonic()
            union = read(texts) if texts != self._texts else None
            if union is not None:
                self._texts, self._known = texts, None
                self._declared = Declared(
                    {**union.channels, **self._given},
                    union.prefix,
                    union.root,
                    union.keep,
                    union.max_bytes,
                )
        if not self._declared.channels and self._texts is None:
            self._read_at = float("-inf")
            raise SetupError(
                f"No process of the app has declared its channels at {self._where}. Start the app "
                "with the same QUART_SSE_BROKER_URL and QUART_SSE_REDIS_PREFIX, or pass channels=."
            )
        return self._declared

    async def _read(self) -> list[str]:
        try:
            return await read_declared(self._broker)
        except BrokerUnavailable as error:
            raise BrokerUnavailable(
                f"What the app declares could not be read at {self._where} "
                f"({error.__cause__ or error}). Nothing was published."
            ) from error

    async def find(self, name: str) -> Known:
        """Return a channel.

        Raises:
            UnknownChannelError: If the app does not declare it.
            SetupError: If its rule has a converter that this process does not know, or as for
                :meth:`declared`.
            BrokerUnavailable: If the broker does not answer.
        """
        declared = await self.declared()
        if name not in declared.channels:
            declared = await self.declared(AGAIN)
        if name not in declared.channels:
            raise UnknownChannelError(name, declared.channels)
        if self._known is None:
            self._known = _known(declared)
        if name not in self._known:
            record = declared.channels[name]
            missing = ", ".join(
                repr(each) for each, found in record.converters.items() if not found
            )
            raise SetupError(
                f"The rule {record.rule!r} of channel {name!r} has converters of the app's own "
                f"({missing or 'unknown'}), which Redis cannot carry. Pass the channel: "
                "channels=[...], with the app's Channel or a ChannelRecord."
            )
        return self._known[name]


def _known(declared: Declared) -> dict[str, Known]:
    """Return the channels whose converters are all known, by name."""
    usable = [each for each in declared.channels.values() if all(each.converters.values())]
    converters: dict[str, type[BaseConverter]] = {}
    for each in usable:
        converters |= {name: found for name, found in each.converters.items() if found}
    rules = {each.name: each.rule for each in usable}
    try:
        url_map = make_map(declared.prefix, rules, converters)
        return {each.name: Known(each, url_map) for each in usable}
    except (LookupError, ValueError) as error:
        raise DeclarationError(
            f"The channels' rules cannot be read: {error}. Name each converter of the app's own in "
            "ChannelRecord(converters=...)."
        ) from error
