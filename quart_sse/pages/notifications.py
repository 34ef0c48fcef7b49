"""The notifications of a page: what ``sse_notifications()`` writes."""

from datetime import UTC, datetime
from typing import NamedTuple

from markupsafe import Markup

from ..access import ConnectElements, Gate
from ..channels import Binding, User
from ..errors import BrokerUnavailable, FragmentError, MacroError
from ..wire import LEVELS, Notification, write_notification
from .page_request import Pages
from .scripts import Scripts

_TABS = ("one", "all")
#: Notifications without content, for the templates that the script fills.
_BLANK = [Notification("", datetime.fromtimestamp(0, UTC), "", level, None, {}) for level in LEVELS]


class Region(NamedTuple):
    """What the region of one page is made of.

    Attributes:
        head: The elements to stand before it: its stylesheet, and its script in a page that has a
            connect element already.
        attributes: Those by which the script knows what to do.
        kept: The kept notifications, each with its JSON.
        blank: One without content for each level.
    """

    head: Markup
    attributes: Markup
    kept: list[tuple[Notification, str]]
    blank: list[Notification]


class Notifications:
    """Makes the region of each page that shows notifications.

    Args:
        binding: The services that targets use, for the kept notifications of a user.
        gate: Returns the current request's identity.
        elements: Names users without revealing their identity.
        pages: The page of each request.
        scripts: Writes the elements of files.
    """

    def __init__(
        self,
        binding: Binding,
        gate: Gate,
        elements: ConnectElements,
        pages: Pages,
        scripts: Scripts,
    ) -> None:
        self._binding = binding
        self._gate = gate
        self._elements = elements
        self._pages = pages
        self._scripts = scripts

    async def region(self, seconds: float | None, tabs: str, css: bool) -> Region:
        """Return the region of the current page, with what is kept for its user.

        The page listens to its user and to everyone. If the broker is away, nothing kept is shown,
        and the page is served all the same.

        Args:
            seconds: Time for which a notification is shown, in seconds; None until it is dismissed.
            tabs: ``"one"`` if one tab of the browser shows it, ``"all"`` if each does.
            css: Whether the page loads the stylesheet.

        Raises:
            MacroError: If ``seconds`` or ``tabs`` cannot be used.
            FragmentError: Inside a shared fragment, whose HTML all viewers receive.
        """
        if tabs not in _TABS:
            raise MacroError(f"tabs is {tabs!r}. Write 'one' or 'all'.")
        is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if seconds is not None and not (is_number and seconds > 0):
            raise MacroError(f"seconds is {seconds!r}. Write a number above 0, or none for no end.")
        page = self._pages.current()
        if page.rendering is not None:
            raise FragmentError(
                f"The shared fragment {page.rendering[1]!r} shows notifications, but its HTML is "
                "for all viewers. Put sse_notifications() into the page instead."
            )
        identity = await self._gate.identity()
        page.is_private = page.is_private or identity is not None
        page.files.add("notifications")
        head = self._scripts.stylesheet() if css else Markup()
        if not page.is_connected:
            page.shown.is_of_audience = True
        else:
            head = self._scripts.take_further(page)[0] + head
        attributes = Markup('data-seconds="{:g}" data-tabs="{}" data-for="{}" data-keep="{:g}"')
        return Region(
            head,
            attributes.format(
                seconds or 0,
                tabs,
                self._elements.name_of(identity),
                self._binding.config.history_ttl,
            ),
            await self._kept(identity),
            _BLANK,
        )

    async def _kept(self, identity: str | None) -> list[tuple[Notification, str]]:
        if identity is None:
            return []
        try:
            kept = await User(self._binding, identity).notifications()
        except BrokerUnavailable:
            return []
        dumps = self._binding.host.dumps
        return [(notification, write_notification(notification, dumps)) for notification in kept]
