"""Notifications: what people are to read, as an event of a reserved name."""

import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from ..errors import EventError, near
from .naming import plain

#: The event's name.
NOTIFICATION = "sse-notification"

Level = Literal["info", "success", "warning", "error"]
LEVELS: tuple[Level, ...] = get_args(Level)

_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Notification:
    """What people are to read; returned by :meth:`Target.notify`.

    Attributes:
        id: By which a browser shows it once.
        time: When it was made, in UTC.
        message: The text.
        level: ``"info"``, ``"success"``, ``"warning"`` or ``"error"``.
        title: A heading; None for none.
        data: What the app adds, as JSON holds it.

    Example:
        ``(await sse.user("7").notify("Saved")).id``
    """

    id: str
    time: datetime
    message: str
    level: Level = "info"
    title: str | None = None
    data: Any = None


def make_notification(
    message: str,
    level: Level = "info",
    title: str | None = None,
    data: Any = None,
    id: str | None = None,
) -> Notification:
    """Return a notification, made now.

    Raises:
        EventError: If the message is no text or is empty, the level is unknown, or the title or the
            id cannot be one.
    """
    if level not in LEVELS:
        known = ", ".join(map(repr, LEVELS))
        raise EventError(
            f"A notification has the level {level!r}. {near(str(level), LEVELS)}Pass one of "
            f"{known}."
        )
    for name, text in (("message", message), ("title", title)):
        if not isinstance(text, str) and not (name == "title" and text is None):
            raise EventError(
                f"The {name} of a notification is {text!r}. Pass a str, such as str({name}); "
                "what scripts and templates need beside it belongs into data=."
            )
    if not message.strip():
        raise EventError("The message of a notification is empty. Pass what people are to read.")
    if id is None:
        id = secrets.token_hex(8)
    elif not isinstance(id, str) or not _ID.fullmatch(id):
        raise EventError(
            f"The id of a notification is {id!r}. Use 1 to 64 letters, digits, '_', '.', ':' and "
            "'-', or leave it out."
        )
    heading = None if title is None else plain(title)
    return Notification(plain(id), datetime.now(UTC), plain(message), plain(level), heading, data)  # type: ignore[arg-type]


def write_notification(notification: Notification, dumps: Callable[[Any], str]) -> str:
    """Return a notification as the data of an event.

    Args:
        notification: The notification.
        dumps: Returns a value as JSON; raises TypeError or ValueError for data that JSON cannot
            hold.
    """
    return dumps(
        {
            "id": notification.id,
            "time": notification.time.isoformat(timespec="milliseconds"),
            "message": notification.message,
            "level": notification.level,
            "title": notification.title,
            "data": notification.data,
        }
    )


def read_notification(data: str | None) -> Notification | None:
    """Return the notification that an event's data are; None if they are none.

    Processes of other releases may have written them.
    """
    try:
        given = json.loads(data or "")
        level: Any = given["level"]
        if level not in LEVELS:
            return None
        time = datetime.fromisoformat(given["time"]).astimezone(UTC)
        return Notification(
            str(given["id"]), time, str(given["message"]), level, given["title"], given["data"]
        )
    except (ValueError, TypeError, KeyError):
        return None
