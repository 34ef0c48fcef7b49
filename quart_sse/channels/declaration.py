"""What an application has declared of a channel: the part of it that is no user's business."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from werkzeug.routing import Map

from ..broker import Keep
from ..config import Config
from ..errors import DeclarationError, EventError, SSEError, UnknownFragmentError, near
from ..hub import FragmentSpec, ItemSpec
from ..publisher import ChannelRecord, Declares, EventType, check_one_list, event_name
from ..wire import (
    EVERYONE,
    RESERVED,
    USER,
    UrlRule,
    check_event_name,
    check_name,
    converters_of,
    items_of,
    own_converters,
    plain,
)
from .options import ChannelOptions

#: Names of the fragments that ``sse_presence`` shows: how many are here; the same with names.
BUILT_IN = frozenset({"presence", "presence-names"})


@dataclass(frozen=True, slots=True)
class Fragment:
    """A declared fragment: its options and its renderer."""

    spec: FragmentSpec
    renderer: Callable[..., Any]


class Declaration:
    """A channel as the wings above work with it; :class:`Channel` is what applications call.

    Args:
        name: The channel's name.
        rule: Its URL rule below ``QUART_SSE_URL_PREFIX``.
        options: The channel's settings.
        blueprint: Name of the blueprint to which the fragments' requests belong, or None.

    Raises:
        DeclarationError: If the name is invalid, or the rule cannot be a channel's.
    """

    def __init__(
        self,
        name: str,
        rule: str,
        options: ChannelOptions,
        blueprint: str | None = None,
    ) -> None:
        self.name: str = check_name("channel", name)
        if name in RESERVED:
            raise DeclarationError(
                f"{name!r} cannot name a channel: sse.user(...), sse.everyone and single "
                "connections have events under this name. Choose another."
            )
        self.rule = rule
        self.url_rule: UrlRule = UrlRule(self.name, rule, blueprint)
        self.options = options
        self.authorizer: Callable[..., Any] | None = None
        self.validator: Callable[..., Any] | None = None
        self.initials: list[Callable[..., Any]] = []
        self.on_connect: list[Callable[..., Any]] = []
        self.on_disconnect: list[Callable[..., Any]] = []
        self.on_join: list[Callable[..., Any]] = []
        self.on_leave: list[Callable[..., Any]] = []
        self.fragments: dict[str, Fragment] = {}
        #: Those of ``BUILT_IN``; a fragment of the app's own takes the place of one. They are
        #: part of a stream, or of a refresh, only where they are named.
        self.built_in: dict[str, Fragment] = {}
        self.items: dict[str, Callable[..., Any]] = {}  #: list -> renderer of one item
        self.events: dict[str, EventType[Any]] = {}
        self.declares: Declares = Declares(name, self.events, is_closed=False)
        self.on: dict[str, list[str]] = {}  #: name of an event -> the fragments that it refreshes
        self.refresh_on: list[str] = []  #: events that refresh topics by a function

    @property
    def public(self) -> bool:
        """Whether clients may listen without a token and without ``authorize``."""
        return self.options.public

    @property
    def known(self) -> Mapping[str, Fragment]:
        """The fragments by name, the built-in ones as well."""
        return {**self.built_in, **self.fragments} if self.built_in else self.fragments

    @property
    def names(self) -> Collection[str]:
        """Names that tokens may have: of fragments, and that pages take items of lists."""
        if not self.items:
            return self.known.keys()
        return self.known.keys() | {items_of(name) for name in self.items}

    @property
    def specs(self) -> Mapping[str, FragmentSpec]:
        """Fragment name -> declared options, of the built-in ones as well."""
        return {name: fragment.spec for name, fragment in self.known.items()}

    @property
    def presence_keys(self) -> tuple[str, ...]:
        """The keys of metadata that presence carries."""
        keys = self.options.presence
        return () if isinstance(keys, bool) else tuple(keys)

    @property
    def has_presence(self) -> bool:
        """Whether the broker records who listens: the channel, a fragment or a hook says so."""
        if self.options.presence or self.on_join or self.on_leave:
            return True
        return any(fragment.spec.presence for fragment in self.fragments.values())

    @property
    def shared(self) -> frozenset[str]:
        """Names of the fragments that are the same for all viewers."""
        fragments = self.fragments.items()
        return frozenset(name for name, fragment in fragments if not fragment.spec.personal)

    @property
    def personal(self) -> frozenset[str]:
        """Names of the fragments that each viewer fetches."""
        fragments = self.fragments.items()
        return frozenset(name for name, fragment in fragments if fragment.spec.personal)

    @property
    def is_single(self) -> bool:
        """Whether the channel has one topic alone, because its rule has no parameters."""
        return not converters_of(self.rule)

    def keep(self, config: Config) -> Keep:
        """Return how much history the topics of this channel keep.

        Args:
            config: The app's settings, which apply where the channel declares none.
        """
        events, seconds = self.options.history, self.options.history_ttl
        return Keep(
            config.history if events is None else events,
            config.history_ttl if seconds is None else seconds,
        )

    def record(self, config: Config, url_map: Map) -> ChannelRecord:
        """Return what a publisher without the app needs to know of the channel.

        Args:
            config: The app's settings.
            url_map: The app's URL map, which has the channel's rule.
        """
        keep = self.keep(config)
        return ChannelRecord(
            self.name,
            self.rule,
            history=keep.events,
            history_ttl=keep.ttl,
            fragments=tuple(self.fragments),
            personal=tuple(name for name in self.fragments if name in self.personal),
            events=tuple(self.events) if self.events else None,
            public=self.public,
            converters=own_converters(url_map, self.rule),
            types={name: each.schema for name, each in self.events.items()},
            on={event: tuple(names) for event, names in self.on.items()},
            refresh_on=tuple(dict.fromkeys(self.refresh_on)),
            items=tuple(self.items),
        )

    def origins(self, config: Config) -> tuple[str, ...]:
        """Return the other origins whose pages may open the channel's own URL.

        Args:
            config: The app's settings, whose origins may open every URL.
        """
        return (*config.origins, *self.options.origins)

    def set_authorizer(self, function: Callable[..., Any]) -> None:
        """Register the function that authorizes clients.

        Raises:
            DeclarationError: If the channel is public, or has such a function already.
        """
        if self.public:
            raise DeclarationError(
                f"Channel {self.name!r} is public=True, so its authorize function would never be "
                "called. Remove one of the two."
            )
        if self.authorizer is not None:
            raise DeclarationError(
                f"Channel {self.name!r} has an authorize function already. Combine the two."
            )
        self.authorizer = function

    def set_validator(self, function: Callable[..., Any]) -> None:
        """Register the function that looks at a topic's parameters.

        Raises:
            DeclarationError: If the channel has such a function already.
        """
        if self.validator is not None:
            raise DeclarationError(
                f"Channel {self.name!r} has a validate function already. Combine the two."
            )
        self.validator = function

    def check(self, spec: FragmentSpec) -> None:
        """Refuse a fragment that cannot be declared.

        Raises:
            DeclarationError: If the name is invalid or taken, ``every`` or ``debounce`` is no
                number of seconds, or a personal fragment has ``every``.
        """
        name, every = check_name("fragment", spec.name), spec.every
        if name in self.fragments:
            raise DeclarationError(
                f"Channel {self.name!r} has a fragment {name!r} already. Choose another name."
            )
        for option, seconds in (("every", every), ("debounce", spec.debounce)):
            if seconds is not None and not 0 <= seconds < float("inf"):
                raise DeclarationError(f"{option} is {seconds!r}. It must be a number of seconds.")
        if every == 0 or (every is not None and spec.personal):
            raise DeclarationError(
                f"every={every!r} cannot be used for fragment {name!r}: it must be more than 0, "
                "and a personal fragment is refreshed by topic.refresh() alone."
            )

    def add_item(self, name: str, item: ItemSpec, function: Callable[..., Any]) -> None:
        """Declare how one item of a fragment is rendered, which is a list from now on.

        Raises:
            DeclarationError: As for ``Channel.item``.
        """
        declared = self.fragments.get(name)
        if declared is None:
            raise DeclarationError(
                f"Channel {self.name!r} has no fragment {name!r} yet. Declare the whole list "
                f"first, by @{self.name}.fragment({name!r}); @{self.name}.item({name!r}) is one "
                "item of it."
            )
        if declared.spec.personal:
            raise DeclarationError(
                f"Fragment {name!r} of channel {self.name!r} is personal, so nothing renders an "
                f"item for all. Use topic.refresh({name!r}); or let the list be shared, and put a "
                "personal fragment into its items for what differs between viewers."
            )
        if "key" in converters_of(self.rule):
            raise DeclarationError(
                f"The rule {self.rule!r} of channel {self.name!r} has a parameter 'key', and the "
                "renderer of an item takes the item's key under this name. Rename the parameter."
            )
        if name in self.items:
            raise DeclarationError(
                f"Channel {self.name!r} has items of {name!r} already. Remove one of the two."
            )
        if item.place not in ("start", "end"):
            raise DeclarationError(f"place is {item.place!r}. It must be 'start' or 'end'.")
        is_number = isinstance(item.keep, int) and not isinstance(item.keep, bool)
        if item.keep is not None and not (is_number and item.keep > 0):
            raise DeclarationError(f"keep is {item.keep!r}. It must be a number of items, or None.")
        self.items[name] = function
        self.fragments[name] = replace(declared, spec=replace(declared.spec, item=item))

    def add_event(self, event: EventType[Any]) -> None:
        """Declare an event.

        Raises:
            DeclarationError: If the channel declares the event already.
        """
        if event.name in self.events:
            raise DeclarationError(
                f"Channel {self.name!r} has an event {event.name!r} already. Choose another name."
            )
        self.events[event.name] = event
        self.declares.is_closed = True

    def checked_on(self, on: str | EventType[Any] | Iterable[str | EventType[Any]]) -> list[str]:
        """Return the names of the events that refresh a fragment.

        Raises:
            DeclarationError: If the name of an event is reserved or invalid, or the event is
                another channel's.
        """
        given = [on] if isinstance(on, str | EventType) else on
        names = []
        for each in given:
            if isinstance(each, EventType) and each.channel != self.name:
                raise DeclarationError(
                    f"on={each!r} is no event of channel {self.name!r}. Use "
                    f"@{self.name}.refresh_on(...) for events of other channels."
                )
            try:
                names.append(check_event_name(event_name(each)))
            except (EventError, TypeError) as error:
                raise DeclarationError(f"on={each!r} names no event: {error}") from None
        return list(dict.fromkeys(names))

    def checked_source(self, event: EventType[Any] | str) -> tuple[str, str]:
        """Return the channel and the name of an event on which topics of this one are refreshed.

        Raises:
            DeclarationError: If it is not written as ``"channel.event"``, or no channel has
                declared the event type.
        """
        if isinstance(event, EventType):
            source, name = event.channel, event.name
        else:
            source, _, name = plain(event).partition(".")
        try:
            if source not in (USER, EVERYONE):
                check_name("channel", source)
            return source, check_event_name(name)
        except SSEError as error:
            raise DeclarationError(
                f"@{self.name}.refresh_on({event!r}) names no event of a channel: {error} Write it "
                "as 'channel.event', 'user.event' or 'everyone.event'."
            ) from None

    def faults(self, channels: Mapping[str, "Declaration"]) -> Iterator[str]:
        """Yield what this channel refreshes on, although no such event is declared.

        Args:
            channels: All channels of the app, by name.
        """
        for event, names in self.on.items():
            if self.events and event not in self.events:
                yield (
                    f"Fragment {names[0]!r} of channel {self.name!r} is refreshed on {event!r}, "
                    f"which the channel does not declare. {near(event, self.events)}Declare it "
                    f"with {self.name}.event({event!r}, ...)."
                )
        for key in self.refresh_on:
            source, _, event = key.partition(".")
            of_source = channels[source].events if source in channels else {}
            if source not in channels and source not in (USER, EVERYONE):
                yield (
                    f"Channel {self.name!r} is refreshed on {key!r}, and there is no channel "
                    f"{source!r}. {near(source, channels)}Write it as 'channel.event'."
                )
            elif of_source and event not in of_source:
                yield (
                    f"Channel {self.name!r} is refreshed on {key!r}, which channel {source!r} does "
                    f"not declare. {near(event, of_source)}Declare it with "
                    f"{source}.event({event!r}, ...)."
                )

    def find(self, fragment: str) -> Fragment:
        """Return a declared fragment.

        Raises:
            UnknownFragmentError: If the channel declares no fragment of this name.
        """
        try:
            return self.known[fragment]
        except KeyError:
            raise UnknownFragmentError(self.name, fragment, self.fragments) from None

    def find_list(self, fragments: Collection[str]) -> str:
        """Return the name of the list that an item is of.

        Args:
            fragments: The names that were given, of which there must be one.

        Raises:
            UnknownFragmentError: If the channel declares no fragment of this name.
            FragmentError: If there is not one name, or it is of no list.
        """
        names = [self.find(name).spec.name for name in fragments]
        check_one_list(self.name, names, self.items, self.personal)
        return names[0]

    def select(self, url_map: Map, params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the name of the topic that parameters select, and what its URL says of them.

        Raises:
            ParameterError: If a parameter is missing or unknown, or its URL leads back to another
                value.
        """
        return self.url_rule.select(url_map, params)
