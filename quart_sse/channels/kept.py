"""Kept events: what a history gives back."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..broker import Message
from ..wire import NOTIFICATION, Notification, decode_data, read_notification


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """An event of a history; returned by :meth:`Target.history`.

    Attributes:
        id: The event's id in the broker's order, as :meth:`Target.publish` returned it.
        time: When the broker took it, in UTC, by the broker's clock.
        name: The event's name.
        data: The data as they were published: a ``str``, or what its JSON holds.

    Example:
        ``(await topic.history(limit=1))[0].time``, if there is an event
    """

    id: str
    time: datetime
    name: str
    data: Any


def kept_for(events: Iterable[Message], metadata: Mapping[str, Any] | None) -> list[KeptEvent]:
    """Return the events that a client with some metadata may be shown.

    Args:
        events: What the broker keeps, oldest first.
        metadata: The client's metadata; None for what all may be shown.
    """
    return [
        _kept(event)
        for event in events
        # What a page is asked to do, such as to reload, is no event of the app's.
        if not (event.name or "").startswith("sse-")
        and (event.where is None or event.where.matches(metadata))
    ]


def kept_notifications(
    events: Iterable[Message], metadata: Mapping[str, Any] | None, ttl: float
) -> list[Notification]:
    """Return the notifications among events, of equal ids the first.

    Args:
        events: What the broker keeps, oldest first.
        metadata: The client's metadata; None for what all may be shown.
        ttl: Greatest age of a notification, in seconds: an event after it keeps it for longer.
    """
    found: dict[str, Notification] = {}
    oldest = 1000 * (time.time() - ttl)
    for event in events:
        if event.name != NOTIFICATION or event.id.ms < oldest:
            continue
        if event.where is None or event.where.matches(metadata):
            notification = read_notification(event.data)
            if notification is not None:
                found.setdefault(notification.id, notification)
    return [*found.values()]


def _kept(event: Message) -> KeptEvent:
    data = decode_data(event.data or "", event.is_text)
    time = datetime.fromtimestamp(event.id.ms / 1000, UTC)
    return KeptEvent(str(event.id), time, event.name or "", data)
