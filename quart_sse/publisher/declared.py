"""What an app declares, as its processes write it for publishers without the app."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ..broker import Keep
from ..config import Config
from .schema import Schema

if TYPE_CHECKING:
    from werkzeug.routing import BaseConverter

_DEFAULTS = Config()
_KEEP = Keep(_DEFAULTS.history, _DEFAULTS.history_ttl)


@dataclass(frozen=True, slots=True)
class ChannelRecord:
    """What a publisher without the app knows of a channel.

    Processes of the app write it to Redis by themselves. A publisher is given one only for a
    channel whose rule has a converter of the app's own, which cannot be written there.

    Attributes:
        name: The channel's name.
        rule: Its URL rule, as in ``sse.channel(name, rule)``.
        history: Number of events kept per topic.
        history_ttl: Lifetime of a topic's history, in seconds.
        fragments: Names of its fragments.
        personal: Names of those fragments that are personal.
        events: Names of the events that it may have; None for any.
        public: Whether every client may listen; None if that is not known. Publishers work without
            it.
        converters: Name -> class of each converter of the app's own in the rule; None stands for a
            class that this process does not have.
        types: Name of an event -> JSON Schema of its data.
        on: Name of an event -> the fragments of its topic that it refreshes.
        items: Names of the fragments whose items can be refreshed one by one.
        refresh_on: Events of any channel that refresh topics of this one by a function of the
            app's, as ``"channel.event"``.

    Example:
        ``ChannelRecord("room", "/room/<slug:id>", converters={"slug": Slug})``, of a class ``Slug``
    """

    name: str
    rule: str
    history: int = _DEFAULTS.history
    history_ttl: float = _DEFAULTS.history_ttl
    fragments: Iterable[str] = ()
    personal: Iterable[str] = ()
    events: Iterable[str] | None = None
    public: bool | None = None
    converters: "Mapping[str, type[BaseConverter] | None]" = field(default_factory=dict)
    types: Mapping[str, Schema] = field(default_factory=dict)
    on: Mapping[str, Iterable[str]] = field(default_factory=dict)
    refresh_on: Iterable[str] = ()
    items: tuple[str, ...] = ()

    def record(self) -> "ChannelRecord":
        """Return itself, as :meth:`Channel.record` returns one.

        Example:
            ``record.record()``, which is ``record``
        """
        return self

    @property
    def keep(self) -> Keep:
        """How the history of its topics is kept.

        Example:
            ``record.keep.events``, which is ``record.history``
        """
        return Keep(self.history, self.history_ttl)


class Recorded(Protocol):
    """A channel, or what is known of one."""

    def record(self) -> ChannelRecord:
        """Return what a publisher without the app knows of the channel."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What an app declares: its channels, and those settings that a publisher works by."""

    channels: Mapping[str, ChannelRecord] = field(default_factory=dict)
    prefix: str = _DEFAULTS.url_prefix
    root: str = ""  #: path of ``QUART_SSE_BASE_URL``
    keep: Keep = _KEEP  #: of users and of everyone
    max_bytes: int = _DEFAULTS.pending_bytes  #: size limit of an event

    def refreshed_by(self, source: str, event: str) -> list[str]:
        """Return the channels that an event refreshes by a function of the app's.

        Args:
            source: The event's channel, ``"user"`` or ``"everyone"``.
            event: The event's name.
        """
        key = f"{source}.{event}"
        return sorted(each.name for each in self.channels.values() if key in each.refresh_on)


def write(declared: Declared) -> str:
    """Return what an app declares as text; equal declarations give equal texts."""
    channels = [
        {
            "name": each.name,
            "rule": each.rule,
            "history": each.history,
            "ttl": each.history_ttl,
            "fragments": sorted(each.fragments),
            "personal": sorted(each.personal),
            "events": None if each.events is None else sorted(each.events),
            "public": each.public,
            "converters": sorted(each.converters),
            "types": dict(each.types),
            "on": {event: sorted(names) for event, names in each.on.items()},
            "refresh_on": sorted(each.refresh_on),
            "items": sorted(each.items),
        }
        for each in declared.channels.values()
    ]
    told = {
        "channels": channels,
        "prefix": declared.prefix,
        "root": declared.root,
        "history": declared.keep.events,
        "ttl": declared.keep.ttl,
        "max_bytes": declared.max_bytes,
    }
    return json.dumps(told, sort_keys=True)


def read(texts: Iterable[str]) -> Declared | None:
    """Return the union of what processes declare; None if there is nothing that can be read.

    Args:
        texts: What :func:`write` returned, the newest last; of two that differ it counts.
    """
    union: Declared | None = None
    for text in texts:
        try:
            found = _read(json.loads(text))
        except (ValueError, KeyError, TypeError):  # of another release
            continue
        known = {} if union is None else union.channels
        union = Declared(
            {**known, **found.channels}, found.prefix, found.root, found.keep, found.max_bytes
        )
    return union


def _read(told: Any) -> Declared:
    channels = [
        ChannelRecord(
            name=str(each["name"]),
            rule=str(each["rule"]),
            history=int(each["history"]),
            history_ttl=float(each["ttl"]),
            fragments=tuple(map(str, each["fragments"])),
            personal=tuple(map(str, each["personal"])),
            events=None if each.get("events") is None else tuple(map(str, each["events"])),
            public=each.get("public"),
            converters=dict.fromkeys(each["converters"]),
            # Of a release that has no such thing there is nothing of it.
            types={str(name): dict(schema) for name, schema in each.get("types", {}).items()},
            on={str(name): tuple(map(str, some)) for name, some in each.get("on", {}).items()},
            refresh_on=tuple(map(str, each.get("refresh_on", ()))),
            items=tuple(map(str, each.get("items", ()))),
        )
        for each in told["channels"]
    ]
    return Declared(
        {each.name: each for each in channels},
        str(told["prefix"]),
        str(told["root"]),
        Keep(int(told["history"]), float(told["ttl"])),
        int(told["max_bytes"]),
    )
