"""What tests may ask of a browser, whichever engine it has."""

import asyncio
import time
from abc import ABC, abstractmethod
from typing import Any

from tests.support.servers import PAUSE


class TabError(Exception):
    """A tab answered with an error, such as that its page has gone."""


class Tab(ABC):
    """A tab of a real window."""

    @abstractmethod
    async def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression.

        Raises:
            TabError: If it throws, or the page goes away meanwhile.
        """

    @abstractmethod
    async def type(self, selector: str, text: str) -> None:
        """Focus a field and type into it."""

    @abstractmethod
    async def click(self, selector: str) -> None:
        """Click on an element."""

    @abstractmethod
    async def activate(self) -> None:
        """Bring it to the front; the tab that was there is hidden."""

    @abstractmethod
    async def close(self) -> None:
        """Close it."""

    async def until(self, expression: str, seconds: float = 30.0) -> float:
        """Wait until an expression is true; returns the seconds that it took."""
        begun, last = time.monotonic(), None
        while True:
            try:
                last = await self.evaluate(expression)
            except TabError as error:
                last = str(error)
            else:
                if last:
                    return time.monotonic() - begun
            if time.monotonic() - begun > seconds:
                page = "[document.documentElement.dataset.sseState, window.got, location.href]"
                seen = await self.evaluate(page)
                raise AssertionError(f"after {seconds} s: {expression} is {last!r}; page: {seen}")
            await asyncio.sleep(PAUSE)

    async def until_state(self, state: str) -> float:
        """Wait until the page says that its connection is in a state."""
        return await self.until(f"document.documentElement.dataset.sseState === '{state}'")

    async def go(self, url: str) -> None:
        """Go to another page, by a link of this one."""
        await self.evaluate(f"void (location.href = {url!r})")
        await self.until(f"location.href === {url!r} && document.readyState === 'complete'")

    async def go_back(self, url: str) -> None:
        """Go back to the page before, which had that URL."""
        await self.evaluate("void history.back()")
        await self.until(f"location.href === {url!r} && document.readyState === 'complete'")


class Profile(ABC):
    """One person's browser: cookies, workers and connections of its own."""

    @abstractmethod
    async def open_blank(self) -> Tab:
        """Open a tab with an empty page, in front of the others."""

    async def open(self, url: str, state: str = "open") -> Tab:
        """Open a tab in front of the others, and wait until its page is live."""
        tab = await self.open_blank()
        await tab.go(url)
        await tab.until_state(state)
        return tab

    @abstractmethod
    async def close(self) -> None:
        """Close all its tabs."""


class Engine(ABC):
    """A browser that runs.

    Attributes:
        name: Such as ``firefox``.
        errors: What its pages have logged or thrown, as far as the engine says it.
        reports_errors: Whether it does.
    """

    name: str
    errors: list[str]
    reports_errors = True

    @abstractmethod
    async def new_profile(self) -> Profile:
        """Return another user's browser."""
