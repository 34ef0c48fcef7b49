"""Delivery: puts messages into the batches of the groups whose pages need them."""

import asyncio
from collections.abc import Set

from ..tracing import Tracing
from ..wire import ZERO, Ending, item_key
from .batcher import Batcher
from .connection import Connection
from .fragment import SharedFragment
from .fragments import Fragments
from .group import Group, Joining, Missing
from .item import Item
from .lists import SharedList
from .outgoing import Outgoing
from .progress import Progress
from .rendered import Rendered
from .subscribers import Subscribers, TopicSubscribers

#: Time in which clients reconnect after ``Ending.RECHECK`` and find the topic's state, in seconds.
RECHECK_LINGER = 10.0


class Delivery:
    """Puts messages into groups' next batches, and learns the nesting of fragments from them.

    Args:
        progress: The process's position.
        subscribers: The groups of each topic.
        batcher: Flushes the groups' pending messages.
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

    def aim(self, group: Group, outgoing: Outgoing, connections: Set[Connection]) -> None:
        """Put a message for some connections of a group into its next batch."""
        if group.aim(outgoing, connections):
            self._batcher.add(group)

    def note(self, trace: str, topic: str) -> None:
        """Note whose message is in the next batch; see :meth:`Batcher.note`."""
        self._batcher.note(trace, topic)

    @property
    def tracing(self) -> Tracing | None:
        """What makes spans; None without tracing."""
        return self._batcher.tracing

    def flush(self, group: Group) -> None:
        """Send what is pending in a group with the next batch."""
        if group.is_pending:
            self._batcher.add(group)

    def finish(self, group: Group, connection: Connection) -> None:
        """Feed a connection that is about to end all that is on its way to it.

        Args:
            group: The connection's group.
            connection: The connection.
        """
        self._batcher.finish(connection, group.parts_for(connection))

    def _end_unjudged(self, group: Group, outgoing: Outgoing) -> None:
        """End the streams of clients without access to a fragment nested in a message.

        Access was judged before the render showed the nesting. The clients reconnect and are
        judged for the nested topics, too; without the nesting kept they would end here again.
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
        """Return the message with a fragment's HTML for pages below a root path.

        Args:
            fragments: The fragments below the root path.
            shared: The fragment.
            rendered: The outcome of its render.
        """
        whole = fragments.whole(rendered, frozenset({shared.key}))
        if isinstance(shared, SharedList):
            whole = whole._replace(
                items={
                    item.key: (item.version, self._html_of(fragments, shared, item))
                    for item in shared.newer
                }
            )
        return Outgoing.from_html(self._progress.position, shared, whole)

    @staticmethod
    def _html_of(fragments: Fragments, shared: SharedFragment, item: Item) -> str:
        assert item.rendered is not None
        return fragments.whole(item.rendered, frozenset({shared.key})).html

    def deliver(self, fragments: Fragments, shared: SharedFragment, is_wanted: bool) -> bool:
        """Note the nesting in a fragment's new HTML, and send the HTML to its pages.

        Args:
            fragments: The fragments below the root path of the HTML.
            shared: The fragment, with its new HTML.
            is_wanted: Whether to send the HTML; its pages may have no need of it.

        Returns:
            Whether the HTML may be used; False if the fragment must be rendered once more.
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
        subscribers.sent_at = asyncio.get_running_loop().time()
        for group in subscribers.showing(shared.spec.name, fragments.root):
            if not outgoing.is_targeted or not self._passes_by(group, outgoing):
                self.add(group, outgoing)
        if shared.rendered.trace:
            self.note(shared.rendered.trace, shared.topic)
        return True

    @staticmethod
    def _passes_by(group: Group, outgoing: Outgoing) -> bool:
        """Whether pages have no need of a whole list that others lack: they take items."""
        is_live = not isinstance(group, Joining)
        return is_live and group.takes_items(outgoing.topic, outgoing.fragment)

    # -- items of lists ----------------------------------------------------------------------------

    def viewers(self, topic: str, fragment: str, root: str) -> tuple[bool, bool]:
        """Whether pages below a root path take items of a list, and whether pages take none."""
        groups = self._subscribers.showing(topic, fragment, root)
        takes = [group.takes_items(topic, fragment) for group in groups]
        return any(takes), not all(takes)

    def item(self, fragments: Fragments, shared: SharedList, item: Item) -> Outgoing:
        """Return the message with an item's HTML for pages below a root path.

        Args:
            fragments: The fragments below the root path.
            shared: The list.
            item: The item, with its HTML.
        """
        assert item.rendered is not None
        whole = fragments.whole(item.rendered, frozenset({shared.key}))
        return Outgoing.from_item(self._progress.position, shared, item, whole)

    def deliver_item(self, fragments: Fragments, shared: SharedList, item: Item) -> bool:
        """Note the nesting in an item's new HTML, and send the HTML to the pages that take it.

        Args:
            fragments: The fragments below the root path of the HTML.
            shared: The list.
            item: The item, with its new HTML.

        Returns:
            Whether the HTML may be used; False if the item must be rendered once more.
        """
        subscribers, name = self._subscribers.get(shared.topic), shared.spec.name
        if subscribers is None or item.rendered is None:
            return True
        if self._note_nested(fragments, subscribers, name, item.rendered):
            return False
        outgoing = self.item(fragments, shared, item)
        subscribers.sent_at = asyncio.get_running_loop().time()
        for group in subscribers.showing(name, fragments.root):
            if group.takes_items(shared.topic, name) and (
                not item.is_targeted or isinstance(group, Joining)
            ):
                self.add(group, outgoing)
        if item.rendered.trace:
            self.note(item.rendered.trace, shared.topic)
        return True

    def replace_item(self, fragments: Fragments, shared: SharedList, item: Item) -> None:
        """Let connections that lack an item wait for the whole list instead.

        Args:
            fragments: The fragments below the root path.
            shared: The list.
            item: The item, which has gone from a list that is cut.
        """
        key = item_key(shared.key, item.key)
        for group in self._subscribers.showing(shared.topic, shared.spec.name, fragments.root):
            missing = group.missing.get(key) if isinstance(group, Joining) else None
            if isinstance(group, Joining) and missing and missing.version <= item.version:
                del group.missing[key]
                least = group.missing.get(shared.key, Missing(ZERO))
                version = max(least.version, item.version)
                group.missing[shared.key] = least._replace(version=version)
                shared.require(item.version, group.connection.id)

    def _note_nested(
        self, fragments: Fragments, subscribers: TopicSubscribers, outer: str, rendered: Rendered
    ) -> bool:
        """Note which fragments are inside another one.

        Returns:
            Whether a fragment that is new to the pages has changed since its render here. Nothing
            would render it for that change, which positions have passed already, so the outer
            fragment has to be rendered once more before it is sent.
        """
        is_late = False
        for topic, name in rendered.nested:
            if topic == subscribers.topic and subscribers.put_inside(name, outer, fragments.root):
                inner = fragments.known(topic, name)
                is_covered = inner is None or inner.is_current(ZERO) or inner.floor is not None
                is_late = is_late or not is_covered
        return is_late
