"""How messages reach the pages that show what they are about."""

import asyncio

from . import items
from .ending import Ending
from .fragment import Rendered, SharedFragment
from .fragments import Fragments
from .group import Group
from .items import Outgoing
from .position import ZERO
from .progress import Progress
from .routes import Route, Routes
from .waves import Waves

#: Seconds for which it stays known what is inside a fragment, for clients that it sent back.
SENT_BACK = 10.0


class Delivery:
    """Puts messages into the next batch of the groups whose pages show what they are about.

    Args:
        progress: How far the process has come.
        routes: Which groups listen to a topic.
        waves: Sends what the groups have pending.
    """

    def __init__(self, progress: Progress, routes: Routes, waves: Waves) -> None:
        self._progress = progress
        self._routes = routes
        self._waves = waves

    def add(self, group: Group, item: Outgoing) -> None:
        """Put a message into a group's next batch."""
        if item.inner:
            self._send_back(group, item)
        if group.add(item):
            self._waves.add(group)

    def _send_back(self, group: Group, item: Outgoing) -> None:
        """End streams whose clients were not judged for what a fragment contains.

        What is inside is known only now; the clients come back and are judged for it. It stays
        known until then, or they would be sent back again.
        """
        for connection in list(group.members):
            may_see = connection.may_see
            if may_see is not None and not may_see(item.key or "", item.inner):
                if item.topic in self._routes:
                    kept_until = asyncio.get_running_loop().time() + SENT_BACK
                    self._routes[item.topic].kept_until = kept_until
                connection.discard()
                connection.end(Ending.RECHECK)

    # -- HTML of fragments -------------------------------------------------------------------------

    def is_viewed(self, topic: str, fragment: str, root: str) -> bool:
        """Whether a page below a root path shows a fragment."""
        return bool(self._routes.wanting(topic, fragment, root))

    def html(self, fragments: Fragments, shared: SharedFragment, rendered: Rendered) -> Outgoing:
        """Return the message that brings a fragment's HTML to pages below a root path.

        Args:
            fragments: Those below the root path.
            shared: The fragment.
            rendered: What it shows.
        """
        whole = fragments.whole(rendered, frozenset({shared.key}))
        return items.html(self._progress.position, shared, whole)

    def deliver(self, fragments: Fragments, shared: SharedFragment, is_wanted: bool) -> bool:
        """Learn what is inside a fragment's new HTML, and send it if it is for the viewers.

        Args:
            fragments: Those below the root path of the HTML.
            shared: The fragment.
            is_wanted: Whether the HTML is for the viewers.

        Returns:
            False if the HTML must not be sent, and another render is needed.
        """
        route = self._routes.get(shared.topic)
        if route is None or shared.rendered is None:
            return True
        is_late = self._learn(fragments, route, shared.spec.name, shared.rendered)
        if not is_wanted:
            return True
        if is_late:
            return False
        item = self.html(fragments, shared, shared.rendered)
        for group in route.wanting(shared.spec.name, fragments.root):
            self.add(group, item)
        return True

    def _learn(self, fragments: Fragments, route: Route, outer: str, rendered: Rendered) -> bool:
        """Note which fragments are inside another one.

        Returns:
            Whether one of them, which was not shown here until now, has changed since its render.
            No other render of it will follow, and positions have passed the change: the outer
            fragment needs another render before it is sent.
        """
        is_late = False
        for topic, name in rendered.nested:
            if topic == route.topic and route.put_inside(name, outer, fragments.root):
                inner = fragments.known(topic, name)
                is_owed = inner is None or inner.is_current(ZERO) or inner.floor is not None
                is_late = is_late or not is_owed
        return is_late
