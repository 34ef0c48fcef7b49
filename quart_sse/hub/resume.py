"""Resuming: which events and fragments a connection lacks when it joins, and sending them."""

import json
from collections.abc import Iterator, Mapping
from typing import Protocol

from ..broker import Keep, Message, Replay, Start
from ..error_log import ErrorLog
from ..wire import ZERO, Id, encode_body, is_audience, item_key
from .connection import Connection
from .delivery import Delivery
from .fragment import SharedFragment
from .group import Joining, Missing
from .limits import ChannelLimits
from .lists import SharedList
from .outgoing import Outgoing
from .progress import Progress
from .rendered import FragmentSpec, next_number
from .roots import Roots
from .sieve import sieve_of
from .traffic import Traffic

#: Age of changes of personal fragments that are signalled again on resume, in milliseconds.
#: The client's fetch may have failed in the same restart that cut its stream (rule 21).
PERSONAL_AGAIN_MS = 60_000


def lacks(spec: FragmentSpec, start: Start, change: Id | None, topic: str, replay: Replay) -> bool:
    """Whether a client lacks the current version of a fragment when it resumes.

    Args:
        spec: How the fragment was declared.
        start: The client's start in the topic.
        change: Id of the fragment's last change; None if none is on record.
        topic: The fragment's topic.
        replay: The broker's replay.
    """
    if start.now:
        return False
    position = start.position
    if replay.incomplete or topic in replay.unknown or position is None:
        return True
    if change is None:
        return topic in replay.stale
    again = PERSONAL_AGAIN_MS if spec.personal else 0
    return change > Id(position.fragments.ms - again, position.fragments.n)


def may_hide(start: Start, topic: str, replay: Replay) -> bool:
    """Whether a page may show an outdated fragment that is not on its list.

    HTML that another process rendered may contain any fragment of the topic, so each change of a
    fragment that is not on the list counts (rule 31 of ``docs/protocol.md``).

    Args:
        start: The client's start in the topic, with the fragments on its list.
        topic: The topic's name.
        replay: The broker's replay.
    """
    if start.now:
        return False
    position = start.position
    if replay.incomplete or topic in replay.unknown | replay.stale or position is None:
        return True
    return any(
        change > position.fragments
        for (other, name), change in replay.changes.items()
        if other == topic and name not in start.fragments
    )


class Declared(Protocol):
    """The application's declarations, as a hub needs them; implemented in ``channels/``."""

    def spec(self, topic: str, fragment: str) -> FragmentSpec | None:
        """Return how a fragment was declared; None if this process declares none of this name."""

    def keep(self, topic: str) -> Keep:
        """Return how a topic's history is kept."""

    def limits(self, topic: str) -> ChannelLimits:
        """Return the limits that a topic's channel has of its own."""


class Resumer:
    """Sends joining connections what they lack, and lets them go live.

    Args:
        progress: The process's position.
        roots: The shared fragments of the process.
        declared: The application's declarations.
        delivery: Puts messages into groups' next batches.
        errors: Logs errors of filters.
        traffic: Counts what is sent.
    """

    def __init__(
        self,
        progress: Progress,
        roots: Roots,
        declared: Declared,
        delivery: Delivery,
        errors: ErrorLog,
        traffic: Traffic,
    ) -> None:
        self._traffic = traffic
        self.resets: int = 0  #: streams that were reset, because events are lost for them
        self._errors = errors
        self._progress = progress
        self._roots = roots
        self._declared = declared
        self._delivery = delivery

    def replayed(
        self, joining: Joining, starts: Mapping[str, Start], replay: Replay
    ) -> Iterator[bytes]:
        """Yield the events of a replay, or the reset, encoded for a connection.

        Args:
            joining: The group of the connection.
            starts: Topic -> the position at which it starts.
            replay: The broker's replay, which other connections may share.
        """
        positions = [start.position for start in starts.values() if start.position is not None]
        known = not replay.unknown and not any(start.now for start in starts.values())
        joining.lag(min((p.fragments for p in positions), default=ZERO) if known else ZERO)
        joining.page_fragments = {
            topic: start.position.fragments
            for topic, start in starts.items()
            if start.position is not None and topic not in replay.unknown
        }
        if replay.incomplete:
            # The reset stands alone (rule 12). Replayed events beside it would move the position
            # of a client that is cut in between past the events that are lost.
            joining.lag(ZERO)
            topics = replay.incomplete.union(message.topic for message in replay.events)
            names = sorted(topic for topic in topics if not is_audience(topic))
            self.resets += 1
            lost = encode_body(json.dumps(names), "sse-reset")
            yield joining.replayed(Outgoing(replay.position, "", None, None, lost))
            return
        position = self._progress.position
        for event in replay.events:
            if self._is_for(event, joining.connection):
                self._traffic.delivered += 1
                yield joining.replayed(Outgoing.from_event(position, event, replay.bodies))

    def admit(
        self, joining: Joining, starts: Mapping[str, Start], replay: Replay, chunks: list[bytes]
    ) -> None:
        """Send a connection its replay, note its missing fragments, and let it go live.

        Args:
            joining: The group of the connection.
            starts: Topic -> the position at which it starts.
            replay: The broker's replay, which other connections may share.
            chunks: Encoded messages that go out first, :meth:`replayed` at their end.
        """
        signals, ready = self._note_missing(joining, starts, replay)
        # Signals precede every position by which the fragments are current.
        chunks.extend(joining.replayed(signal) for signal in signals)
        self._traffic.delivered += len(signals)
        joining.connection.ahead(chunks)
        joining.release(replay.position.events)
        for outgoing in ready:
            self._delivery.add(joining, outgoing)
        if joining.pending:
            joining.connection.feed(joining.take(self._traffic))
        if not joining.missing:
            joining.mark_current()
        self._start_clocks(joining)

    def _is_for(self, event: Message, connection: Connection) -> bool:
        """Whether a replayed event is for a connection, by its filter."""
        sieve = sieve_of(event.where, event.exclude, self._errors)
        return sieve is None or sieve.passes(connection)

    def _note_missing(
        self, joining: Joining, starts: Mapping[str, Start], replay: Replay
    ) -> tuple[list[Outgoing], list[Outgoing]]:
        """Note which fragments a connection lacks.

        Returns:
            Signals for personal fragments, and messages with HTML that is already current.
        """
        signals, ready = list[Outgoing](), list[Outgoing]()
        fragments = self._roots.at(joining.root)
        for topic, start in starts.items():
            is_hiding = may_hide(start, topic, replay)
            for name in sorted(start.fragments):
                spec = self._declared.spec(topic, name)
                if spec is None:
                    continue
                change = replay.changes.get((topic, name))
                is_lacking = lacks(spec, start, change, topic, replay)
                if not spec.personal:
                    shared = fragments.get(topic, spec)
                    late = self._late_items(joining, shared, start, replay)
                    if late is not None and (not is_hiding or shared.is_current(change or ZERO)):
                        ready += self._note_missing_items(joining, late)
                        continue
                    outgoing = self._note_missing_html(
                        joining, shared, change, is_lacking, is_hiding
                    )
                    if outgoing is not None:
                        ready.append(outgoing)
                elif is_lacking:
                    signals.append(Outgoing.signal(replay.position, topic, name, 1))
        return signals, ready

    def _late_items(
        self, joining: Joining, shared: SharedFragment, start: Start, replay: Replay
    ) -> "tuple[SharedList, dict[str, Id]] | None":
        """Return a list and its items that the page lacks; None if it needs all or takes none."""
        topic, name, position = shared.topic, shared.spec.name, start.position
        if not isinstance(shared, SharedList) or not joining.takes_items(topic, name):
            return None
        changed = replay.items.get((topic, name))
        if start.now or position is None or changed is None or replay.incomplete:
            return None
        if topic in replay.unknown | replay.stale:
            return None
        late = changed.after(position.fragments)
        return None if late is None or not shared.may_send_items(len(late)) else (shared, late)

    def _note_missing_items(
        self, joining: Joining, late: "tuple[SharedList, dict[str, Id]]"
    ) -> Iterator[Outgoing]:
        """Note items as missing, and render those whose HTML is not current; yield the others."""
        shared, items = late
        for key, change in items.items():
            item = shared.ready_item(key, change)
            joining.missing[item_key(shared.key, key)] = Missing(change)
            if item is not None:
                outgoing = self._delivery.item(self._roots.at(joining.root), shared, item)
                outgoing.is_targeted = True
                yield outgoing
            else:
                shared.require_item(key, change, joining.connection.id)

    def _note_missing_html(
        self,
        joining: Joining,
        shared: SharedFragment,
        change: Id | None,
        is_lacking: bool,
        is_hiding: bool,
    ) -> Outgoing | None:
        """Note a shared fragment as missing, and render it if its HTML is not current.

        Args:
            joining: The group of the connection.
            shared: The fragment.
            change: Id of its last change; None if none is on record.
            is_lacking: Whether the page lacks it, by that record; see ``lacks``.
            is_hiding: Whether an unlisted fragment inside may be outdated; see ``may_hide``.

        Returns:
            The message with its HTML; None if the page lacks nothing or waits for a render.
        """
        # The record may have expired, or be older than this process's last message.
        needed = max(change or ZERO, shared.requested)
        is_current = shared.is_current(needed)
        if not is_lacking and (is_current or not is_hiding):
            if not is_current:
                shared.mark_inside_unknown(needed)
            return None
        page_current = joining.page_fragments.get(shared.topic, ZERO)
        is_ahead = change is None and max(self._progress.seen, shared.version) < page_current
        if is_current and not is_ahead and shared.rendered is not None:
            joining.missing[shared.key] = Missing(needed)
            return self._delivery.html(self._roots.at(joining.root), shared, shared.rendered)
        # A running render may be older than the page, or than a fragment inside.
        is_early = is_ahead or (is_hiding and not is_current)
        joining.missing[shared.key] = Missing(needed, next_number() if is_early else 0)
        shared.require(needed, joining.connection.id)
        return None

    def _start_clocks(self, joining: Joining) -> None:
        """Start the regular renders of the connection's fragments with ``every=``."""
        for topic, names in joining.subscription.items():
            for name in names:
                spec = self._declared.spec(topic, name)
                if spec is not None and spec.every is not None and not spec.personal:
                    self._roots.at(joining.root).get(topic, spec).start_every()
