"""How messages reach the pages that show what they are about."""

import asyncio

from ..wire import ZERO, Ending
from .batcher import Batcher
from .fragment import Rendered, SharedFragment
from .fragments import Fragments
from .group import Group
from .outgoing import Outgoing
from .progress import Progress
from .subscribers import Subscribers, TopicSubscribers

#: Seconds for which it stays known what is inside a fragment, for clients that it sent back.
RECHECK_LINGER = 10.0


class Delivery:
    """Puts messages into the next batch of the groups whose pages show what they are about.

    Args:
        progress: How far the process has come.
        subscribers: Which groups listen to a topic.
        batcher: Sends what the groups have pending.
    """

    def __init__(self, progress: Progress, subscribers: Subscribers, batcher: Batcher) -> None:
        self._progress = progress
        self._subscribers = subscribers
        self._batcher = batcher

    def add(self, group: Group, outgoing: Outgoing) -> None:
        """Put a message into a group's next batch."""
        if outgoing.inner:
            self._end_unjudged(group, outgoing)
        if group.add(outgoing):
            self._batcher.add(group)

    def _end_unjudged(self, group: Group, outgoing: Outgoing) -> None:
        """End streams whose clients were not judged for what a fragment contains.

        What is inside is known only now; the clients come back and are judged for it. It stays
        known until then, or they would be sent back again.
        """
        for connection in list(group.members):
            may_see = connection.may_see
            if may_see is not None and not may_see(outgoing.key or "", outgoing.inner):
                if outgoing.topic in self._subscribers:
                    kept_until = asyncio.get_running_loop().time() + RECHECK_LINGER
                    self._subscribers[outgoing.topic].kept_until = kept_until
                connection.discard()
                connection.end(Ending.RECHECK)

    # -- HTML of fragments -------------------------------------------------------------------------

    def is_viewed(self, topic: str, fragment: str, root: str) -> bool:
        """Whether a page below a root path shows a fragment."""
        return bool(self._subscribers.showing(topic, fragment, root))

    def html(self, fragments: Fragments, shared: SharedFragment, rendered: Rendered) -> Outgoing:
        """Return the message that brings a fragment's HTML to pages below a root path.

        Args:
            fragments: Those below the root path.
            shared: The fragment.
            rendered: What it shows.
        """
        whole = fragments.whole(rendered, frozenset({shared.key}))
        return Outgoing.from_html(self._progress.position, shared, whole)

    def deliver(self, fragments: Fragments, shared: SharedFragment, is_wanted: bool) -> bool:
        """Learn what is inside a fragment's new HTML, and send it if it is for the viewers.

        Args:
            fragments: Those below the root path of the HTML.
            shared: The fragment.
            is_wanted: Whether the HTML is for the viewers.

        Returns:
            False if the HTML must not be sent, and another render is needed.
        """
        subscribers = self._subscribers.get(shared.topic)
        if subscribers is None or shared.rendered is None:
            return True
        is_late = self._note_nested(fragments, subscribers, shared.spec.name, shared.rendered)
        if not is_wanted:
            return True
        if is_late:
            return False
        outgoing = self.html(fragments, shared, shared.rendered)
        for group in subscribers.showing(shared.spec.name, fragments.root):
            self.add(group, outgoing)
        return True

    def _note_nested(
        self, fragments: Fragments, subscribers: TopicSubscribers, outer: str, rendered: Rendered
    ) -> bool:
        """Note which fragments are inside another one.

        Returns:
            Whether one of them, which was not shown here until now, has changed since its render.
            No other render of it will follow, and positions have passed the change: the outer
            fragment needs another render before it is sent.
        """
        is_late = False
        for topic, name in rendered.nested:
            if topic == subscribers.topic and subscribers.put_inside(name, outer, fragments.root):
                inner = fragments.known(topic, name)
                is_covered = inner is None or inner.is_current(ZERO) or inner.floor is not None
                is_late = is_late or not is_covered
        return is_late
