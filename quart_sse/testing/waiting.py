"""What a test waits for, and the words for what came instead."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import BrokerUnavailable, LivePageError
from ..wire import Position
from ..wiring import Services
from .listening import Listener

#: Interval of looks whether a page has caught up, in seconds.
_LOOK = 0.01
#: Interval at which renders are hurried while a test waits for a fragment, in seconds.
_HURRY = 0.05
#: Time in which a page may still catch up before an error is raised, in seconds.
_LAST = 0.2


class Waiting:
    """Waits for what one page is sent, and knows what of it the test has seen.

    Args:
        services: The services of the page's app, which runs in this process.
        listener: The page's.
    """

    def __init__(self, services: Services, listener: Listener) -> None:
        self.services: Services = services
        self._listener = listener
        self._seen = self._shown

    async def settle(self, limit: float) -> None:
        """Wait until the page shows all that was published before the call, at most so long."""
        until = _now() + limit
        target = await self._published()
        while self._listener.closed is None and not self._has_reached(target):
            left = until - _now()
            if left <= 0:
                return
            await self._listener.until_changed(min(left, _LOOK))

    async def until(
        self,
        look: Callable[[], Any],
        what: str,
        limit: float,
        *,
        is_state: bool = False,
        is_end: bool = False,
    ) -> Any:
        """Wait until a function returns something, and return it.

        Args:
            look: Returns None until then.
            what: What is waited for, for the error.
            limit: How long to wait, in seconds.
            is_state: Whether the newest counts, so that the page has to catch up first.
            is_end: Whether the end of the stream is no error.

        Raises:
            LivePageError: If it does not come in time, or cannot come.
        """
        until = _now() + limit
        while True:
            if is_state:
                await self.settle(until - _now())
            found = look()
            if found is not None:
                return found
            if self._listener.closed is not None and not is_end:
                raise self.closed_error(f"no {what} can come")
            left = until - _now()
            if left <= 0:
                await self.settle(_LAST)  # so that the error names all that came
                raise LivePageError(f"No {what} came within {limit:g} s. {self._instead()}")
            # What is published meanwhile has debounces, too.
            await self._listener.until_changed(min(left, _HURRY) if is_state else left)

    async def quiet(self, seconds: float) -> None:
        """Wait until the time is over, something comes, or the stream ends."""
        until = _now() + seconds
        while not self.news() and self._listener.closed is None:
            left = until - _now()
            if left <= 0:
                return
            await self._listener.until_changed(left)

    # -- what the test has seen --------------------------------------------------------------------

    @property
    def _shown(self) -> dict[str, str]:
        document = self._listener.document
        return {key: document.inner(key) or "" for key in document.keys}

    def is_new(self, key: str) -> bool:
        """Whether a fragment has changed since the test has seen it."""
        return self._listener.document.inner(key) != self._seen.get(key)

    def see(self, key: str) -> None:
        """Note that the test sees a fragment, with what is inside and as a part of others."""
        shown = self._shown
        for each in self._listener.document.overlapping(key):
            self._seen[each] = shown[each]

    def news(self) -> list[str]:
        """Return what the page was sent and the test has not seen, in words."""
        changes = [
            f"a change of {key!r}: {_short(html)}"
            for key, html in self._shown.items()
            if key in self._seen and self._seen[key] != html
        ]
        return changes + [
            f"event {call(each.name, each.params)} with {_short(repr(each.data))}"
            for each in self._listener.unseen
        ]

    # -- errors ------------------------------------------------------------------------------------

    def shows(self) -> str:
        """Return which fragments the page shows, in words."""
        keys = self._listener.document.keys
        return f"It shows {', '.join(map(repr, keys)) or 'no fragment'}."

    def _instead(self) -> str:
        news, listener = self.news(), self._listener
        said = [f"There was {'; '.join(news)}." if news else "Nothing else came."]
        if listener.refused:
            said.append(f"The page was refused {', '.join(sorted(listener.refused))}.")
        said += [f"Of {key!r} {why}." for key, why in listener.failures.items()]
        here = self.services.hub.position
        if here.fragments < here.events and not self.services.hub.hurry():
            said.append("A renderer has failed; the log says why.")
        return " ".join([*said, self.shows()])

    def closed_error(self, consequence: str) -> LivePageError:
        """Return the error of a test that goes on although the stream has ended.

        Args:
            consequence: What follows.
        """
        error, reason = self._listener.error, self._listener.closed
        log = " A function of the app has failed; the log says why." if reason == "error" else ""
        made = LivePageError(
            f"The stream of the page is closed ({error or reason}), so {consequence}.{log} "
            f"{self._instead()}"
        )
        made.__cause__ = error
        return made

    # -- catching up -------------------------------------------------------------------------------

    async def _published(self) -> Position | None:
        """Return the position of all that was published until now; None if it is not known."""
        broker = self.services.broker
        try:
            await broker.probe()
        except BrokerUnavailable:
            return None
        return broker.known

    def _has_reached(self, target: Position | None) -> bool:
        """Whether the page is as new as a position, after hurrying what is on its way there."""
        services, listener = self.services, self._listener
        is_due, here = services.hub.hurry(), services.hub.position
        for interval in services.channels.heartbeats:
            services.hub.heartbeat(interval)  # says where the page stands
        if listener.is_fetching:
            return False
        if target is None:
            return True
        at = listener.position
        if at is None or at.epoch != target.epoch or at.events < target.events:
            return False
        # A renderer that has failed holds the process's position back, until it is tried again.
        is_stuck = not is_due and here.events >= target.events
        return at.fragments >= (
            min(target.fragments, here.fragments) if is_stuck else target.events
        )


def _now() -> float:
    return asyncio.get_running_loop().time()


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."


def call(name: str, params: Mapping[str, Any]) -> str:
    """Return a name and its parameters, as a test writes them."""
    return ", ".join([repr(name), *(f"{key}={value!r}" for key, value in params.items())])
