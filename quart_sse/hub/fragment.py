"""One shared fragment in this process: its versions, and when it is rendered."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from ..error_log import ErrorLog
from ..errors import RenderError
from ..logs import LogLine
from ..tracing import MOST_LINKS
from ..wire import ZERO, Id, member_key
from .rendered import FragmentSpec, Rendered, RenderRecord, next_number, renderer_of
from .slots import Turn

RENDER_FAILED = LogLine(
    "hub",
    "render-failed",
    logging.ERROR,
    "Rendering fragment %(fragment)r of topic %(topic)r failed. Viewers keep the last good HTML; "
    "next try in %(seconds)g s.",
    fragment=str,
    topic=str,
    seconds=float,
)

#: Retry delay of a renderer that raised, in seconds; it doubles with each failure, up to the last.
FIRST_RETRY = 1.0
LAST_RETRY = 30.0
#: Longest part of the debounce that a call of :meth:`SharedFragment.render_now` waits, in seconds.
LONGEST_WAIT = 1.0


def retry_delay(failures: int) -> float:
    """Return after how many seconds a render is tried again that has failed so often before."""
    # The exponent is bounded, because large powers of 2 overflow a float.
    return min(FIRST_RETRY * 2.0 ** min(failures, 16), LAST_RETRY)


class Home(Protocol):
    """The collection of a fragment, which renders and delivers it; see ``Fragments``."""

    async def render(self, shared: "SharedFragment", traces: Sequence[str] = ()) -> Rendered:
        """Return the outcome of a render that begins now.

        Args:
            shared: The fragment.
            traces: Spans of the publishes that the render shows.

        Raises:
            Exception: What the renderer raised.
        """

    def deliver(self, shared: "SharedFragment", is_wanted: bool) -> bool:
        """Note the nesting in a fragment's new HTML, and send the HTML to its pages if wanted.

        Returns:
            Whether the HTML may be used; False if the fragment must be rendered once more.
        """

    def is_viewed(self, shared: "SharedFragment") -> bool:
        """Whether a page shows the fragment."""

    def turn(self, cause: str, is_urgent: bool) -> Turn:
        """Return the turn of a render; see ``Slots.turn``."""


class SharedFragment:
    """The current HTML of a fragment that looks the same to all viewers.

    The version of a render is the newest refresh received **before the renderer was called**; a
    refresh during the render causes another one (rule 19 of ``docs/protocol.md``). Concurrent
    calls of :meth:`render_now` share a render only if it begins after each of them.

    Args:
        topic: The topic's name.
        spec: How the fragment was declared.
        debounce: Interval in which the fragment is rendered at most once, in seconds.
        home: The collection of the fragment.
        errors: Log for exceptions of the renderer.
    """

    def __init__(
        self,
        topic: str,
        spec: FragmentSpec,
        debounce: float,
        home: Home,
        errors: ErrorLog,
    ) -> None:
        self.topic = topic
        self.spec = spec
        self.key: str = member_key(topic, spec.name)
        self._errors = errors
        self.record: RenderRecord = RenderRecord()
        self.rendered: Rendered | None = None
        self.version: Id = ZERO  #: the newest refresh that ``rendered`` shows
        self._debounce = debounce
        self._home = home
        #: id of the newest change that this process knows
        self.requested: Id = ZERO
        #: number at which the render of ``rendered`` began; 0 for pushed HTML
        self.begun: int = 0
        #: whether that render was made without a known change
        self.is_extra: bool = False
        self.origin: str = ""  #: the page that caused the only change since the render before
        self.is_targeted: bool = False  #: of a list: whether only those get it who are owed it
        # The hub's position before the oldest refresh that the running (or failed) render shows,
        # and before the oldest one that only the next render will show.
        self._floor_now: Id | None = None
        self._floor_next: Id | None = None
        self._again = False  #: a render is needed without a known change
        self._outdated = 0  #: HTML of renders up to this number is too old for new connections
        self._check_inside = False  #: as ``_again``, but only to learn what is inside
        self._unknown_to: Id | None = None  #: up to this version viewers may have other HTML
        #: callers that wait for the next render, and for the running one
        self._waiters: list[asyncio.Future[Rendered]] = []
        self._answering: list[asyncio.Future[Rendered]] = []
        self._task: asyncio.Task[None] | None = None
        self._nudge = asyncio.Event()
        self._is_urgent = False  #: a page waits for the HTML, so the debounce is skipped
        self._cause = ""  #: id of the connection for which alone the next render is
        self._turn: Turn | None = None  #: that waits for a slot, or renders
        self.debounced_until: float = 0.0  #: loop time
        self._not_before = 0.0  #: loop time of the debounce's end, or of the next retry
        self._failures = 0
        self._generation = 0
        self._every: asyncio.TimerHandle | None = None
        self._traces: tuple[str, ...] = ()  #: spans of publishes that the next render shows
        #: pages that have caused the changes that the next render shows
        self._origins: frozenset[str] = frozenset()

    @property
    def floor(self) -> Id | None:
        """The hub's position before the oldest refresh whose HTML viewers still lack, or None."""
        return self._floor

    @property
    def html_size(self) -> int:
        """Size of the HTML that is kept, in characters."""
        return 0 if self.rendered is None else len(self.rendered.html)

    @property
    def _floor(self) -> Id | None:
        floors = (self._floor_now, self._floor_next)
        return min((floor for floor in floors if floor is not None), default=None)

    @property
    def is_idle(self) -> bool:
        """Whether no page shows the fragment and no render runs, so that it can be forgotten."""
        return self._task is None and not self.is_viewed()

    def is_viewed(self) -> bool:
        """Whether a page shows the fragment."""
        return self._home.is_viewed(self)

    # -- causes of a render ----------------------------------------------------------------------

    def refresh(self, id: Id, seen: Id, trace: str = "", origin: str = "") -> None:
        """Take a change, and render it if a page shows the fragment.

        Args:
            id: Id of the change.
            seen: The hub's position before the change.
            trace: Span of its publish; "" if it is not recorded.
            origin: The page that has caused it and needs no HTML for it; "" for none.
        """
        self.requested = max(self.requested, id)
        if id <= self.version:
            return  # already rendered, for a viewer that knew the change earlier
        if self.is_viewed():
            self._floor_next = seen if self._floor_next is None else self._floor_next
            self._note_cause(trace, origin)
            self._start()

    def _note_cause(self, trace: str, origin: str) -> None:
        self._cause = ""
        self._origins |= {origin}
        if trace and len(self._traces) < MOST_LINKS:
            self._traces += (trace,)

    def push(self, id: Id, html: str, trace: str = "") -> None:
        """Take HTML that a publisher rendered, without other fragments inside.

        Args:
            id: Id of the change.
            html: The fragment's HTML.
            trace: Span of its publish; "" if it is not recorded.
        """
        self.requested = max(self.requested, id)
        if id > self.version:
            self._state = Rendered(html, number=next_number(), trace=trace), id, 0, False
            if self.requested <= id:
                self.mark_current()
            self.origin, self.is_targeted = "", False
            self._took(id, True)
            self._home.deliver(self, True)

    def mark_current(self) -> None:
        """Let positions advance: no page shows the fragment, or all have the newest HTML."""
        self._floor_now = self._floor_next = None

    def invalidate(self) -> None:
        """Drop all HTML and versions, after the broker's ids have begun again."""
        self._generation += 1
        self._state = None, ZERO, 0, False
        self.requested, self._unknown_to = ZERO, None
        self.mark_current()

    def outdate(self) -> None:
        """Render again for the next connection, as this process may have missed changes."""
        self._outdated = next_number()

    def mark_inside_unknown(self, version: Id) -> None:
        """Note that viewers may have another process's HTML of a version unknown here.

        That HTML may contain fragments of which this process knows nothing (rule 31).
        """
        self._unknown_to = version if self._unknown_to is None else max(self._unknown_to, version)

    @property
    def has_unknown_inside(self) -> bool:
        """Whether viewers may show fragments inside this one that this process does not know."""
        if self._unknown_to is None:
            return False
        return self.rendered is None or self.version < self._unknown_to

    def is_current(self, needed: Id) -> bool:
        """Whether the HTML shows the change ``needed`` and every later one known here."""
        is_new = self.version >= max(needed, self.requested)
        return is_new and self.rendered is not None and self.rendered.number > self._outdated

    def require(self, needed: Id, cause: str = "") -> None:
        """Render for a viewer that lacks the change ``needed``.

        Args:
            needed: Id of the change.
            cause: Id of the viewer's connection.
        """
        self.requested = max(self.requested, needed)
        if self._task is None:
            self._cause = cause
        self._owe()
        self._start()

    def rerender(self) -> None:
        """Render for the viewers without a known change."""
        self._again = True
        self._start()

    def check_inside(self, seen: Id) -> None:
        """Render for viewers that may lack a change inside the fragment, later than ``seen``.

        The HTML is sent only if the render shows that the fragment contains others.
        """
        if self._floor_next is None:
            self._floor_next = seen
        self._check_inside = True
        self._start()

    async def render_now(self, *, is_urgent: bool = True) -> Rendered:
        """Return the outcome of a render that begins after this call.

        Args:
            is_urgent: Whether the render begins at once, as a page needs it. Otherwise it waits
                for the debounce, so that frequent requests cause no frequent renders.

        Raises:
            Exception: Any exception of the renderer.
        """
        waiter: asyncio.Future[Rendered] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._start()
        if is_urgent:
            self._is_urgent = True
            if self._turn is not None:
                self._turn.hurry()
        # A call that is not urgent wakes the task, too: it need not wait for a retry.
        self._nudge.set()
        return await waiter

    def hurry(self) -> bool:
        """Let a render that waits for its debounce begin now, and return whether one is due.

        A renderer that has failed is not hurried: its next try is due later.
        """
        if self._task is None or self._failures:
            return False
        self._is_urgent = True
        self._nudge.set()
        return True

    def debounce_until(self, time: float) -> None:
        """Render no earlier than a loop time, which continues a debounce of before."""
        self._not_before = self.debounced_until = time

    def stop_every(self) -> None:
        """Stop the regular renders."""
        if self._every is not None:
            self._every.cancel()
            self._every = None

    def start_every(self) -> None:
        """Start the regular renders of ``every=``, which go on while a page shows the fragment."""
        if self.spec.every is not None and self._every is None and self.is_viewed():
            self._every = asyncio.get_running_loop().call_later(self.spec.every, self._tick)

    def _tick(self) -> None:
        self._every = None
        if self.is_viewed():
            self.rerender()
            self.start_every()

    # -- the one task that renders ---------------------------------------------------------------

    def _start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())

    def _is_wanted(self) -> bool:
        return bool(self._waiters) or (self._is_behind() and self.is_viewed())

    async def _work(self) -> None:
        try:
            while self._is_wanted():
                await self._pause()
                self._turn, self._cause = self._home.turn(self._cause, self._is_urgent), ""
                async with self._turn:
                    if self._is_wanted():
                        await self._render_once()
            self._rest()
        finally:
            self._task = self._turn = None

    async def _pause(self) -> None:
        """Wait for the debounce or the next retry; waiting callers shorten the pause."""
        loop = asyncio.get_running_loop()
        while not self._is_urgent:
            until = self.debounced_until if self._waiters else self._not_before
            if until <= loop.time():
                return
            self._nudge.clear()
            try:
                async with asyncio.timeout_at(until):
                    await self._nudge.wait()
            except TimeoutError:
                return

    async def _render_once(self) -> None:
        loop = asyncio.get_running_loop()
        self._answering, self._waiters = self._waiters, []
        version, generation = self.requested, self._generation
        self._floor_now, self._floor_next = self._floor, None
        number, was_asked, was_check = next_number(), self._again, self._check_inside
        was_wanted, origins = self._take_wanted(version), self._origins
        self._origins = frozenset()
        self._again = self._check_inside = False
        self._is_urgent = False
        traces, self._traces = self._traces, ()
        self._not_before = loop.time() + self._debounce
        self.debounced_until = loop.time() + min(self._debounce, LONGEST_WAIT)
        try:
            rendered = replace(await self._home.render(self, traces), number=number)
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # A renderer that was cancelled by something of its own has failed like any other.
            self._fail(error)
            self._traces = (traces + self._traces)[:MOST_LINKS]
            self._origins |= origins
            self._want_again(was_wanted)
            self._check_inside = self._check_inside or was_check
            return
        self._failures = 0
        for waiter in self._answering:
            if not waiter.done():
                waiter.set_result(rendered)
        self._answering = []
        if generation != self._generation:
            return
        if version < self.version:
            # Newer HTML was pushed, but its render may be older than what asked for this one.
            self._again, self._check_inside = (
                self._again or was_asked,
                self._check_inside or was_check,
            )
            self._superseded(was_wanted)
            return
        before = self._state
        self._state = rendered, version, number, was_asked or was_check
        floors = self._floor_now, self._floor_next
        self._floor_now = None
        is_wanted = was_wanted or (was_check and bool(rendered.nested))
        self._took(version, is_wanted)
        if not self._is_behind():
            # Refreshes that arrived during the render, but were known before, are shown, too.
            self._floor_next = None
        only = next(iter(origins)) if len(origins) == 1 else ""
        self.origin = "" if was_asked or was_check else only
        is_kept = False
        try:
            is_kept = self._home.deliver(self, self._is_sent(is_wanted) and self.is_viewed())
        except Exception as error:
            self._fail(error)
        if not is_kept:
            self._state = before
            self._floor_now, self._floor_next = floors
            self._again = True
            self._origins |= {""}
            self._untook()

    # What is otherwise for a list, whose viewers may need items of it alone.

    def _owe(self) -> None:
        """Note that a viewer lacks a change."""
        self._again = True

    def _take_wanted(self, version: Id) -> bool:
        """Return whether viewers need the render that begins."""
        return self._again or version > self.version

    def _want_again(self, was_wanted: bool) -> None:
        """Let a render that has failed be made again."""
        self._again = self._again or was_wanted

    def _superseded(self, was_wanted: bool) -> None:
        """Note that newer HTML was pushed during the render."""

    def _took(self, version: Id, is_wanted: bool) -> None:
        """Note that HTML of a version is there, and goes to the viewers if they need it."""

    def _untook(self) -> None:
        """Note that the HTML was not sent, and is rendered once more."""

    def _is_behind(self) -> bool:
        """Whether viewers need another render."""
        return self._again or self._check_inside or self.requested > self.version

    def _is_sent(self, is_wanted: bool) -> bool:
        """Whether connections are sent the HTML that was rendered."""
        return is_wanted

    def _rest(self) -> None:
        """Note that nothing is left to render."""

    @property
    def _state(self) -> tuple[Rendered | None, Id, int, bool]:
        return self.rendered, self.version, self.begun, self.is_extra

    @_state.setter
    def _state(self, state: tuple[Rendered | None, Id, int, bool]) -> None:
        self.rendered, self.version, self.begun, self.is_extra = state

    def _fail(self, error: BaseException) -> None:
        delay = retry_delay(self._failures)
        self._failures += 1
        self._not_before = asyncio.get_running_loop().time() + delay
        if isinstance(error, asyncio.CancelledError):
            error = RenderError(f"The renderer of fragment {self.key!r} was cancelled.")
        for waiter in self._answering:
            if not waiter.done():
                waiter.set_exception(error)
        self._answering = []
        self._say_failed(error, delay)

    def _say_failed(self, error: BaseException, delay: float) -> None:
        """Log that a renderer has failed, if it has viewers."""
        if self.is_viewed():
            self._errors.log(
                renderer_of(self.topic, self.spec.name),
                error,
                RENDER_FAILED,
                fragment=self.spec.name,
                topic=self.topic,
                seconds=delay,
            )

    def abandon(self) -> None:
        """Stop rendering in a loop that has ended, or that will not end this properly."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.stop_every()
            if self._task is not None:
                self._task.cancel()
            for waiter in self._waiters + self._answering:
                waiter.cancel()

    async def close(self) -> None:
        """Stop rendering, and cancel the calls that wait for a render."""
        self.stop_every()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for waiter in self._waiters + self._answering:
            waiter.cancel()
