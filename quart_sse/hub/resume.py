"""What a connection is given when it begins: what it missed, and what it is missing."""

import json
from collections.abc import Mapping
from typing import Protocol

from ..broker import Keep, Kind, Message, Replay, Start
from ..wire import ZERO, Id, encode_body
from .delivery import Delivery
from .fragment import FragmentSpec, SharedFragment, next_number
from .group import Joining, Missing
from .outgoing import Outgoing
from .progress import Progress
from .roots import Roots

#: A personal fragment changed this shortly before a client left is signalled again when it comes
#: back: its fetch may have failed in the very deploy that cut the stream.
PERSONAL_AGAIN_MS = 60_000


def lacks(spec: FragmentSpec, start: Start, change: Id | None, topic: str, replay: Replay) -> bool:
    """Whether a client that starts there has to be sent a fragment.

    Args:
        spec: How the fragment was declared.
        start: Where the client starts.
        change: The fragment's last change; None if none is on record.
        topic: The fragment's topic.
        replay: What the broker said.
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
    """Whether something may have changed inside what a client shows, of which nothing is known.

    That is any fragment of the topic that it is not known to show.

    Args:
        start: Where the client starts, with all that it is known to show.
        topic: The topic.
        replay: What the broker said.
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


def missed(replay: Replay) -> list[Message]:
    """Return what a process has missed, in the order of ids.

    Changes of fragments come back as the messages that announced them, also those that the
    process has seen.
    """
    changes = (
        Message(Kind.REFRESH, change, topic, name)
        for (topic, name), change in replay.changes.items()
    )
    return sorted([*replay.events, *changes], key=lambda message: message.id)


def unrecorded(replay: Replay, starts: Mapping[str, Start]) -> list[Message]:
    """Return the changes that a process may have missed, and that are on record no more.

    They count as changes of the snapshot, whose render is sure to show them.
    """
    return [
        Message(Kind.REFRESH, replay.position.events, topic, name)
        for topic, start in starts.items()
        if topic in replay.stale
        for name in sorted(start.fragments)
        if (topic, name) not in replay.changes
    ]


class Declared(Protocol):
    """What a hub asks of the application's declarations; ``channels/`` has the class."""

    def spec(self, topic: str, fragment: str) -> FragmentSpec | None:
        """Return how a fragment was declared; None if this process knows no such fragment."""

    def keep(self, topic: str) -> Keep:
        """Return how a topic's history is kept."""


class Resumer:
    """Admits connections of one process.

    Args:
        progress: How far the process has come.
        roots: The fragments of the process.
        declared: How they were declared.
        delivery: Puts messages into a group's next batch.
    """

    def __init__(
        self, progress: Progress, roots: Roots, declared: Declared, delivery: Delivery
    ) -> None:
        self._progress = progress
        self._roots = roots
        self._declared = declared
        self._delivery = delivery

    def admit(
        self, joining: Joining, starts: Mapping[str, Start], replay: Replay, chunks: list[bytes]
    ) -> None:
        """Send what a connection missed, note what it is owed, and let it go live.

        Args:
            joining: The connection.
            starts: Where each of its topics starts.
            replay: What the broker said; others may share it.
            chunks: What it is sent before all else.
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
            # Nothing else before or after it: a client that is cut in between would take a
            # position past events that it was neither sent nor told of.
            joining.lag(ZERO)
            topics = replay.incomplete.union(message.topic for message in replay.events)
            lost = encode_body(json.dumps(sorted(topics)), "sse-reset")
            chunks.append(joining.replayed(Outgoing(replay.position, "", None, None, lost)))
        else:
            position = self._progress.position
            events = (Outgoing.from_event(position, each, replay.bodies) for each in replay.events)
            chunks.extend(joining.replayed(outgoing) for outgoing in events)
        signals, ready = self._note_missing(joining, starts, replay)
        # Before anything says that fragments are current.
        chunks.extend(joining.replayed(signal) for signal in signals)
        joining.connection.ahead(chunks)
        joining.release(replay.position.events)
        for outgoing in ready:
            self._delivery.add(joining, outgoing)
        if joining.pending:
            joining.connection.feed(joining.take())
        if not joining.missing:
            joining.mark_current()
        self._start_clocks(joining)

    def _note_missing(
        self, joining: Joining, starts: Mapping[str, Start], replay: Replay
    ) -> tuple[list[Outgoing], list[Outgoing]]:
        """Note which fragments a connection lacks.

        Returns:
            The signals for personal ones, and the HTML that can be sent at once.
        """
        signals, ready = [], []
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
                    outgoing = self._note_missing_html(
                        joining, shared, change, is_lacking, is_hiding
                    )
                    if outgoing is not None:
                        ready.append(outgoing)
                elif is_lacking:
                    signals.append(Outgoing.signal(replay.position, topic, name, 1))
        return signals, ready

    def _note_missing_html(
        self,
        joining: Joining,
        shared: SharedFragment,
        change: Id | None,
        is_lacking: bool,
        is_hiding: bool,
    ) -> Outgoing | None:
        """Note whether a connection lacks a shared fragment; returns what can be sent at once.

        Args:
            joining: The connection.
            shared: The fragment.
            change: Its last change on record; None if none is.
            is_lacking: Whether the page lacks it, by that.
            is_hiding: Whether something may have changed inside it; see ``may_hide``.
        """
        # The record may have expired, or be older than what this process has heard.
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
        # A render that runs already may be older than the page, or what is inside it.
        is_early = is_ahead or (is_hiding and not is_current)
        joining.missing[shared.key] = Missing(needed, next_number() if is_early else 0)
        shared.require(needed)
        return None

    def _start_clocks(self, joining: Joining) -> None:
        """Begin to refresh fragments regularly that were declared so."""
        for topic, names in joining.subscription.items():
            for name in names:
                spec = self._declared.spec(topic, name)
                if spec is not None and spec.every is not None and not spec.personal:
                    self._roots.at(joining.root).get(topic, spec).start_every()
