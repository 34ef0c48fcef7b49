"""One shared fragment of one topic in this process: debounce, single flight, versions, retries."""

import asyncio
import itertools
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from ..error_log import ErrorLog
from ..errors import RenderError
from ..wire import ZERO, Id, declared_name, member_key

#: Seconds until a renderer that raised is tried again; doubled each time up to the last.
FIRST_RETRY = 1.0
LAST_RETRY = 30.0
#: Seconds of a longer debounce that a request for the HTML waits for.
LONGEST_WAIT = 1.0


@dataclass(frozen=True, slots=True)
class FragmentSpec:
    """How a fragment was declared; see ``Channel.fragment``."""

    name: str
    personal: bool = False
    every: float | None = None
    debounce: float | None = None  #: None: as the app's config says
    presence: bool = False
    includes: frozenset[str] = frozenset()


class Inside(NamedTuple):
    """One fragment inside another one's HTML, as it was put there."""

    topic: str
    fragment: str
    rendered: "Rendered"
    opening: str  #: start tag of its element
    closing: str  #: end tag of its element

    @property
    def element(self) -> str:
        """The element as it was put there."""
        return self.around(self.rendered.html)

    def around(self, html: str) -> str:
        """Return the element with other content."""
        return f"{self.opening}{html}{self.closing}"


@dataclass(frozen=True, slots=True)
class Rendered:
    """The outcome of one render."""

    html: str
    #: fragments inside this one, at any depth: (topic, fragment)
    nested: frozenset[tuple[str, str]] = frozenset()
    #: those directly inside this one, where it is known which render of them it was
    inside: tuple[Inside, ...] = ()
    #: see :func:`next_number`; 0 for what a renderer returns
    number: int = field(default=0, compare=False)


_numbers = itertools.count(1)


def next_number() -> int:
    """Return a number that tells what began earlier in this process: renders, connections."""
    return next(_numbers)


def renderer_of(topic: str, fragment: str) -> str:
    """Return what the errors of a fragment's renderer are counted under; see ``ErrorLog``."""
    return f"renderer of fragment {declared_name(topic, fragment)!r}"


class Home(Protocol):
    """Where a fragment is kept: renders it, and takes its HTML; see ``Fragments``."""

    async def render(self, shared: "SharedFragment") -> Rendered:
        """Return the outcome of a render that begins now.

        Raises:
            Exception: What the renderer raised.
        """

    def deliver(self, shared: "SharedFragment", is_wanted: bool) -> bool:
        """Take note of a fragment's new HTML, and hand it on if it is for the viewers.

        Returns:
            False if it must not be handed on, and another render is needed.
        """

    def is_viewed(self, shared: "SharedFragment") -> bool:
        """Whether a page shows the fragment."""


class SharedFragment:
    """The current HTML of a fragment that looks the same to everybody.

    A render's version is the newest refresh that was received **before the renderer was
    called**; one that comes while it runs causes another. Whoever needs the state of a moment
    shares only a render begun after it.

    Args:
        topic: The topic's name.
        spec: How the fragment was declared.
        debounce: Seconds in which it is rendered at most once.
        home: Where it is kept.
        errors: Takes what its renderer gets wrong.
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
        self.key = member_key(topic, spec.name)
        self._errors = errors
        self.rendered: Rendered | None = None
        self.version: Id = ZERO  #: the newest refresh that ``rendered`` contains
        self._debounce = debounce
        self._home = home
        #: the newest change that this process knows of
        self.requested: Id = ZERO
        #: number at which the render of ``rendered`` began; 0 if a publisher rendered it
        self.begun = 0
        #: whether that was asked for although nothing was known to have changed
        self.is_extra = False
        # Where the hub stood before the oldest refresh that the running (or failed) render
        # answers, and before the oldest one that only the next render will answer.
        self._floor_now: Id | None = None
        self._floor_next: Id | None = None
        self._again = False
        self._outdated = 0  #: number up to which HTML is too old for connections that come
        self._check_inside = False  #: as ``_again``, but only for the sake of what is inside
        self._unknown_to: Id | None = None  #: up to this version viewers may know more than we do
        #: who waits for the next render, and for the one that runs
        self._waiters: list[asyncio.Future[Rendered]] = []
        self._answering: list[asyncio.Future[Rendered]] = []
        self._task: asyncio.Task[None] | None = None
        self._nudge = asyncio.Event()
        self._is_urgent = False  #: a page waits for HTML, which must not wait for the debounce
        self.debounced_until = 0.0  #: loop time
        self._not_before = 0.0  #: the debounce, or after a failure the next try
        self._failures = 0
        self._generation = 0
        self._every: asyncio.TimerHandle | None = None

    @property
    def floor(self) -> Id | None:
        """The hub's position before the oldest refresh whose HTML viewers have not been sent."""
        floors = (self._floor_now, self._floor_next)
        return min((floor for floor in floors if floor is not None), default=None)

    @property
    def is_idle(self) -> bool:
        """Whether no connection shows it or waits for it, so that it can be forgotten."""
        return self._task is None and not self.is_viewed()

    def is_viewed(self) -> bool:
        """Whether a page shows it."""
        return self._home.is_viewed(self)

    # -- what asks for a render ----------------------------------------------------------------

    def refresh(self, id: Id, seen: Id) -> None:
        """Note that the fragment changed at ``id``, when the hub stood at ``seen``."""
        self.requested = max(self.requested, id)
        if id <= self.version:
            return  # rendered before it was heard of here, for somebody who knew of it
        if self.is_viewed():
            self._floor_next = seen if self._floor_next is None else self._floor_next
            self._start()

    def push(self, id: Id, html: str) -> None:
        """Take HTML that a publisher rendered at ``id``, with no other fragments inside."""
        self.requested = max(self.requested, id)
        if id > self.version:
            self._state = Rendered(html, number=next_number()), id, 0, False
            if self.requested <= id:
                self.mark_current()
            self._home.deliver(self, True)

    def mark_current(self) -> None:
        """Owe nobody anything: nobody looks any more, or all have been sent the newest."""
        self._floor_now = self._floor_next = None

    def invalidate(self) -> None:
        """Trust nothing rendered so far: the order of ids has begun again."""
        self._generation += 1
        self._state = None, ZERO, 0, False
        self.requested, self._unknown_to = ZERO, None
        self.mark_current()

    def outdate(self) -> None:
        """Render again for the next connection: changes may have been missed until now."""
        self._outdated = next_number()

    def mark_inside_unknown(self, version: Id) -> None:
        """Note that viewers may have another process's HTML of a version that was not made here."""
        self._unknown_to = version if self._unknown_to is None else max(self._unknown_to, version)

    @property
    def has_unknown_inside(self) -> bool:
        """Whether viewers may show something inside this fragment of which nothing is known."""
        if self._unknown_to is None:
            return False
        return self.rendered is None or self.version < self._unknown_to

    def is_current(self, needed: Id) -> bool:
        """Whether what is rendered contains the change ``needed`` and all that came since."""
        is_new = self.version >= max(needed, self.requested)
        return is_new and self.rendered is not None and self.rendered.number > self._outdated

    def require(self, needed: Id) -> None:
        """Render for a viewer who lacks the change ``needed``."""
        self.requested = max(self.requested, needed)
        self.rerender()

    def rerender(self) -> None:
        """Render for the viewers although nothing is known to have changed."""
        self._again = True
        self._start()

    def check_inside(self, seen: Id) -> None:
        """Render for viewers who may lack something inside it that came after ``seen``.

        If nothing turns out to be inside, they are sent nothing.
        """
        if self._floor_next is None:
            self._floor_next = seen
        self._check_inside = True
        self._start()

    async def render_now(self, *, is_urgent: bool = True) -> Rendered:
        """Return the outcome of a render that begins after this call.

        Args:
            is_urgent: Whether it begins at once, as for a page that waits for it; otherwise when
                the debounce is over, so that asking often does not make it render often.

        Raises:
            Exception: Whatever the renderer raised.
        """
        waiter: asyncio.Future[Rendered] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._start()
        if is_urgent:
            self._is_urgent = True
        # Also one that is not: it ends the longer pause after a failure.
        self._nudge.set()
        return await waiter

    def debounce_until(self, time: float) -> None:
        """Render only after a loop time, as if the last render had been before it."""
        self._not_before = self.debounced_until = time

    def stop_every(self) -> None:
        """Refresh regularly no more: this state of the fragment is forgotten."""
        if self._every is not None:
            self._every.cancel()
            self._every = None

    def start_every(self) -> None:
        """Begin to refresh regularly, if it was declared so, while there are viewers."""
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
        behind = self._again or self._check_inside or self.requested > self.version
        return bool(self._waiters) or (behind and self.is_viewed())

    async def _work(self) -> None:
        try:
            while self._is_wanted():
                await self._pause()
                if self._is_wanted():
                    await self._render_once()
        finally:
            self._task = None

    async def _pause(self) -> None:
        """Wait for the debounce or the next try, at most as long as those who wait for HTML may."""
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
        self._floor_now, self._floor_next = self.floor, None
        number, was_asked, was_check = next_number(), self._again, self._check_inside
        was_wanted = was_asked or version > self.version
        self._again = self._check_inside = False
        self._is_urgent = False
        self._not_before = loop.time() + self._debounce
        self.debounced_until = loop.time() + min(self._debounce, LONGEST_WAIT)
        try:
            rendered = replace(await self._home.render(self), number=number)
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Or the renderer cancelled itself, which is a failure like any other.
            self._fail(error)
            self._again = self._again or was_wanted
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
            # Newer HTML was pushed, but it is not known when that was rendered.
            self._again, self._check_inside = (
                self._again or was_asked,
                self._check_inside or was_check,
            )
            return
        before = self._state
        self._state = rendered, version, number, was_asked or was_check
        floors = self._floor_now, self._floor_next
        self._floor_now = None
        if version >= self.requested and not (self._again or self._check_inside):
            # Nor is owed what was heard of only after this render had begun with it.
            self._floor_next = None
        is_kept = False
        try:
            is_wanted = was_wanted or (was_check and bool(rendered.nested))
            is_kept = self._home.deliver(self, is_wanted and self.is_viewed())
        except Exception as error:
            self._fail(error)
        if not is_kept:
            self._state = before
            self._floor_now, self._floor_next = floors
            self._again = True

    @property
    def _state(self) -> tuple[Rendered | None, Id, int, bool]:
        return self.rendered, self.version, self.begun, self.is_extra

    @_state.setter
    def _state(self, state: tuple[Rendered | None, Id, int, bool]) -> None:
        self.rendered, self.version, self.begun, self.is_extra = state

    def _fail(self, error: BaseException) -> None:
        # The exponent has an end, too: a float does not hold 2 to the power of any number.
        delay = min(FIRST_RETRY * 2 ** min(self._failures, 16), LAST_RETRY)
        self._failures += 1
        self._not_before = asyncio.get_running_loop().time() + delay
        if isinstance(error, asyncio.CancelledError):
            error = RenderError(f"The renderer of fragment {self.key!r} was cancelled.")
        for waiter in self._answering:
            if not waiter.done():
                waiter.set_exception(error)
        self._answering = []
        if self.is_viewed():
            self._errors.log(
                renderer_of(self.topic, self.spec.name),
                error,
                "Rendering fragment %r of topic %r failed. Viewers keep the last good HTML; "
                "next try in %g s.",
                self.spec.name,
                self.topic,
                delay,
            )

    async def close(self) -> None:
        """Stop rendering for good."""
        self.stop_every()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for waiter in self._waiters + self._answering:
            waiter.cancel()
