"""The form of messages in Redis, which releases share.

Two releases run side by side during a deployment. What one does not know of the other is skipped
and logged once; docs/redis.md has the rules by which a newer release may add to the form.

.. code-block:: text

    over pub/sub      1|<epoch>|<kind>|<id>|<payload>
    in a history      b <the id before>  m <epoch>|<payload>
    payload           <name>|<retry>;<field>=<value>;...|<origin>|<data>
    a last change     <epoch>|<id>
    of items          <epoch>|<base>|<item>:<id>,...    see changing.lua; the field ends with "/"

The fields are ``where`` (a filter, as JSON) and ``exclude`` (a connection's id), percent-encoded. A
release that reads no fields cannot read such a message, so it delivers it to no client. What every
release may deliver stands behind the origin instead: ``;trace=<traceparent>``, ``;text``, and the
``;item=<key>`` of a list that has changed, without which all of the list has.
"""

import logging
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, unquote

from ...error_log import OnceLog
from ...logs import LogLine
from ...tracing import is_trace
from ...wire import LAST, ZERO, Id
from ..changed import Changed
from ..filter import Filter
from ..messages import Kind, Message
from ..replay import Past

UNKNOWN_PART = LogLine(
    "broker",
    "message-unknown",
    logging.WARNING,
    "Another release of the app sends messages with the %(what)s %(name)r, unknown here; skipped. "
    "This is logged once.",
    what=str,
    name=str,
)

#: Version of keys and messages. It is part of every key, so releases with different versions share
#: a Redis without meeting. Raise it, and say so in the changelog, if a release that reads by the
#: rules of docs/redis.md would misread what is written now. Open pages are then reset.
FORMAT = 1
#: Prefix of every message, which the scripts write.
VERSION = "1"
#: What the script of a resume says of a topic's events: there may be later ones; it read none of
#: those that there are.
MORE, CUT = b"more", b"cut"
#: End of the origin of an event whose data are a text that reads like JSON. Older releases, which
#: read no fields, pass it on to clients, which know no page of that name.
TEXT = ";text"
#: What comes before the trace, behind the origin. A page then is not the one that the origin names,
#: and a root path not its own, for an older release: its pages take the event, or render.
TRACE = ";trace="
#: What comes before the item of a list, behind the origin. An older release refreshes the list.
ITEM = ";item="


def write(message: Message) -> str:
    """Return the payload of a message, for :class:`Reader`."""
    notes = "" if message.retry_ms is None else str(message.retry_ms)
    if message.where is not None:
        notes += f";where={quote(message.where.text, safe='')}"
    if message.exclude:
        notes += f";exclude={quote(message.exclude, safe='')}"
    origin = f"{message.origin}{ITEM}{message.item}" if message.item else message.origin
    origin = f"{origin}{TRACE}{message.trace}" if message.trace else origin
    origin = f"{origin}{TEXT}" if message.is_text else origin
    return f"{message.name or ''}|{notes}|{_escape(origin)}|{message.data or ''}"


class Reader:
    """Reads messages and histories of all releases."""

    def __init__(self) -> None:
        self._once = OnceLog()

    def message(self, topic: str, text: bytes) -> tuple[Message, str] | None:
        """Read a message that a script published.

        Args:
            topic: The topic of its channel.
            text: The message.

        Returns:
            The message and its epoch; None for a message that only another release knows.

        Raises:
            ValueError: If no release can have written it.
        """
        version, epoch, kind, id, payload = text.decode().split("|", 4)
        if version != VERSION:
            self._skip("format", version)
            return None
        known = next((each for each in Kind if each.value == kind), None)
        if known is None:
            self._skip("kind", kind)
            return None
        return self._payload(known, Id.parse(id), topic, payload), epoch

    def past(
        self,
        topic: str,
        epoch: str,
        entries: Sequence[tuple[bytes, list[bytes]]],
        last_event: bytes,
        last_change: bytes,
        changes: Sequence[bytes],
        state: bytes = b"",
    ) -> tuple[Past, ValueError | None]:
        """Read a topic's history, without entries of other epochs.

        Args:
            topic: The topic's name.
            epoch: The epoch of the snapshot.
            entries: Events as (id, fields), oldest first.
            last_event: Id of the topic's last event; empty if it is not known.
            last_change: Id of the topic's last change; empty if it is not known.
            changes: Fragment, its last change, fragment, its last change ...
            state: What the script says of the events; ``cut`` if there are some that it left out.

        Returns:
            The history, and an error if an entry could not be read. The history then counts as
            lost.
        """
        unread: ValueError | None = None
        events: list[Message] = []
        before: Id | None = None
        kind = Kind.EVENT if topic else Kind.CONTROL
        for raw_id, pairs in entries:
            try:
                raw_before, (entry_epoch, _, payload) = self._entry(pairs)
                if entry_epoch == epoch:
                    id = _id(raw_id)
                    events.append(self._payload(kind, id, topic, payload))
                    before = _id(raw_before) if before is None else before
            except ValueError as error:
                unread = error
        known: dict[str, Id] = {}
        items: dict[str, Changed] = {}
        if len(changes) % 2:
            unread = ValueError("A fragment has no last change.")
        for name, value in zip(changes[::2], changes[1::2], strict=False):
            try:
                change_epoch, change, *more = [*value.decode().split("|"), ""]
                if change_epoch != epoch:
                    continue
                if name.endswith(b"/"):
                    items[name[:-1].decode()] = _changed(Id.parse(change), more[0])
                else:
                    known[name.decode()] = Id.parse(change)
            except ValueError as error:
                unread = error
        try:
            tip, newest = (_id(text) if text else None for text in (last_event, last_change))
        except ValueError as error:
            unread, tip, newest = error, None, None
        # The last change is on record, unless the record was evicted.
        unrecorded = known.pop("", ZERO)
        if newest is not None and newest > max(known.values(), default=ZERO):
            unrecorded = newest
        if unread is None:
            # An older release changes the whole list, and leaves the record of its items.
            items = {
                name: each
                for name, each in items.items()
                if name in known and known[name] in each.items.values()
            }
            return Past(events, before, tip, known, unrecorded, state == CUT, items), None
        # LAST is after every position: any missed entry may be the one that cannot be read.
        return Past((), None, LAST, known, LAST), unread

    def _entry(self, pairs: Sequence[bytes]) -> tuple[bytes, tuple[str, str, str]]:
        """Return the id before an entry, then the entry's epoch, separator and payload."""
        fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
        if not fields.keys() >= {b"b", b"m"}:
            raise ValueError("An entry has no b or no m.")
        for name in fields.keys() - {b"b", b"m"}:
            self._skip("field", name.decode(errors="replace"))
        return fields[b"b"], fields[b"m"].decode().partition("|")

    def _payload(self, kind: Kind, id: Id, topic: str, payload: str) -> Message:
        name, notes, origin, data = payload.split("|", 3)
        retry, *fields = notes.split(";")
        where, exclude = self._audience(fields) if fields else (None, "")
        if retry and not (retry.isascii() and retry.isdigit()):
            raise ValueError(f"The reconnect delay is {retry[:20]!r}.")
        retry_ms = int(retry) if retry else None
        is_text = kind is Kind.EVENT and origin.endswith(TEXT)
        origin, trace = _split_trace(origin.removesuffix(TEXT) if is_text else origin)
        item = ""
        if ITEM in origin and kind in (Kind.REFRESH, Kind.PUSH):
            origin, _, item = origin.rpartition(ITEM)
        origin, item = _unescape(origin), _unescape(item)
        return Message(
            kind, id, topic, name, data, retry_ms, origin, is_text, where, exclude, trace, item
        )

    def _audience(self, fields: Sequence[str]) -> tuple[Filter | None, str]:
        """Read for whom an event is, and skip fields that only another release knows."""
        where, exclude = None, ""
        for field in fields:
            name, _, value = field.partition("=")
            if name == "where":
                where = Filter.parse(unquote(value))
            elif name == "exclude":
                exclude = unquote(value)
            else:
                self._skip("field", name)
        return where, exclude

    def _skip(self, what: str, name: str) -> None:
        self._once.warn(f"{what} {name}", UNKNOWN_PART, what=what, name=name)


def _escape(text: str) -> str:
    """Escape bars, which separate fields and may occur in a root path."""
    return text.replace("%", "%25").replace("|", "%7C")


def _unescape(text: str) -> str:
    return text.replace("%7C", "|").replace("%25", "%")


def _split_trace(origin: str) -> tuple[str, str]:
    """Return an origin without the trace behind it, and the trace."""
    before, mark, trace = origin.rpartition(TRACE)
    return (before, trace) if mark and is_trace(trace) else (origin, "")


def _changed(base: Id, text: str) -> Changed:
    """Read which items of a list have changed."""
    pairs = (entry.rpartition(":") for entry in text.split(",") if entry)
    return Changed(base, {item: Id.parse(id) for item, _, id in pairs})


def _id(text: Any) -> Id:
    return Id.parse(text.decode())
