"""What an event refreshes, as far as no function of the app's has to say it."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from ..broker import Keep
from ..errors import EventError, FragmentError
from ..wire import channel_of, is_audience


class Refresh(NamedTuple):
    """The refresh of a fragment that an event causes.

    Attributes:
        topic: The topic's name.
        fragment: The fragment's name.
        keep: How much history the topic keeps.
    """

    topic: str
    fragment: str
    keep: Keep


def check_one_list(
    channel: str, names: Collection[str], lists: Collection[str], personal: Collection[str]
) -> None:
    """Refuse an item that is not of one list.

    Args:
        channel: The channel's name.
        names: The fragments that were given.
        lists: Those of the channel that have items.
        personal: Those that are personal.

    Raises:
        FragmentError: If it is not.
    """
    if len(names) != 1:
        raise FragmentError(
            f"item= came with {len(names)} names of fragments. An item is of one list, so name "
            "that one, such as refresh('messages', item=12)."
        )
    (name,) = names
    if name in lists:
        return
    if name in personal:
        raise FragmentError(
            f"Fragment {name!r} of channel {channel!r} is personal and has no items. Use "
            f"refresh({name!r})."
        )
    raise FragmentError(
        f"Fragment {name!r} of channel {channel!r} has no items. Declare how one of them is "
        f"rendered, by @{channel}.item({name!r}), or use refresh({name!r})."
    )


def own_refreshes(
    target: str, event: str, fragments: Iterable[str], keep: Keep, *, is_single: bool
) -> list[Refresh]:
    """Return what an event refreshes of its own channel (``on=``).

    Args:
        target: Name of the topic, or of the whole channel, to which the event is published.
        event: The event's name.
        fragments: Names of the fragments that it refreshes.
        keep: How much history topics of the channel keep.
        is_single: Whether the channel has one topic alone.

    Raises:
        EventError: If the event is for a whole channel, of whose topics no list exists.
    """
    topic = target
    if is_audience(target):
        topic = channel_of(target) or ""
        if not is_single:
            raise EventError(
                f"The event {event!r} refreshes {', '.join(map(repr, fragments))} of its topic "
                f"(on=), and {topic}.everyone is no topic. Publish it to each topic, or with "
                "refresh_on=False, which refreshes nothing."
            )
    return [Refresh(topic, name, keep) for name in fragments]
