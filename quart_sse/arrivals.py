"""What a connection is given when it begins: what it missed, and what it is owed."""

import json
from collections.abc import Mapping
from typing import Protocol

from . import items
from .broker import Keep, Replay, Start
from .debts import lacks, may_hide
from .delivery import Delivery
from .event import encode_body
from .fragment import FragmentSpec, SharedFragment, next_number
from .group import Debt, Solo
from .items import Outgoing
from .position import ZERO, Id
from .progress import Progress
from .roots import Roots


class Declared(Protocol):
    """What a hub asks of the application's declarations; ``channels/`` has the class."""

    def spec(self, topic: str, fragment: str) -> FragmentSpec | None:
        """Return how a fragment was declared; None if this process knows no such fragment."""

    def keep(self, topic: str) -> Keep:
        """Return how a topic's history is kept."""


class Arrivals:
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
        self, solo: Solo, starts: Mapping[str, Start], replay: Replay, chunks: list[bytes]
    ) -> None:
        """Send what a connection missed, note what it is owed, and let it go live.

        Args:
            solo: The connection.
            starts: Where each of its topics starts.
            replay: What the broker said; others may share it.
            chunks: What it is sent before all else.
        """
        positions = [start.position for start in starts.values() if start.position is not None]
        known = not replay.unknown and not any(start.now for start in starts.values())
        solo.lag(min((p.fragments for p in positions), default=ZERO) if known else ZERO)
        solo.claims = {
            topic: start.position.fragments
            for topic, start in starts.items()
            if start.position is not None and topic not in replay.unknown
        }
        if replay.incomplete:
            # Nothing else before or after it: a client that is cut in between would take a
            # position past events that it was neither sent nor told of.
            solo.lag(ZERO)
            topics = replay.incomplete.union(message.topic for message in replay.events)
            lost = encode_body(json.dumps(sorted(topics)), "sse-reset")
            chunks.append(solo.replayed(Outgoing(replay.position, "", None, None, lost)))
        else:
            position = self._progress.position
            events = (items.event(position, each, replay.bodies) for each in replay.events)
            chunks.extend(solo.replayed(item) for item in events)
        signals, ready = self._owe(solo, starts, replay)
        # Before anything says that fragments are current.
        chunks.extend(solo.replayed(signal) for signal in signals)
        solo.connection.ahead(chunks)
        solo.release(replay.position.events)
        for item in ready:
            self._delivery.add(solo, item)
        if solo.pending:
            solo.connection.feed(solo.take())
        if not solo.owed:
            solo.settle()
        self._start_clocks(solo)

    def _owe(
        self, solo: Solo, starts: Mapping[str, Start], replay: Replay
    ) -> tuple[list[Outgoing], list[Outgoing]]:
        """Note which fragments a connection lacks.

        Returns:
            The signals for personal ones, and the HTML that can be sent at once.
        """
        signals, ready = [], []
        fragments = self._roots.at(solo.root)
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
                    item = self._owe_html(solo, shared, change, is_lacking, is_hiding)
                    if item is not None:
                        ready.append(item)
                elif is_lacking:
                    signals.append(items.signal(replay.position, topic, name, 1))
        return signals, ready

    def _owe_html(
        self,
        solo: Solo,
        shared: SharedFragment,
        change: Id | None,
        is_lacking: bool,
        is_hiding: bool,
    ) -> Outgoing | None:
        """Note whether a connection lacks a shared fragment; returns what can be sent at once.

        Args:
            solo: The connection.
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
                shared.doubt(needed)
            return None
        claim = solo.claims.get(shared.topic, ZERO)
        is_ahead = change is None and max(self._progress.seen, shared.version) < claim
        if is_current and not is_ahead and shared.rendered is not None:
            solo.owed[shared.key] = Debt(needed)
            return self._delivery.html(self._roots.at(solo.root), shared, shared.rendered)
        # A render that runs already may be older than the page, or what is inside it.
        is_early = is_ahead or (is_hiding and not is_current)
        solo.owed[shared.key] = Debt(needed, next_number() if is_early else 0)
        shared.require(needed)
        return None

    def _start_clocks(self, solo: Solo) -> None:
        """Begin to refresh fragments regularly that were declared so."""
        for topic, names in solo.subscription.items():
            for name in names:
                spec = self._declared.spec(topic, name)
                if spec is not None and spec.every is not None and not spec.personal:
                    self._roots.at(solo.root).get(topic, spec).start_every()
