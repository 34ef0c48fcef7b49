"""A live page of a test, as the test asks for what it shows."""

import json
from typing import Any

from quart import Quart, Response
from quart.testing import QuartClient

from ..errors import LivePageError, SetupError, UnknownChannelError
from ..host import KEY
from ..wire import (
    NOTIFICATION,
    RESERVED,
    Notification,
    check_item,
    parse_topic,
    read_notification,
)
from ..wiring import Services
from .document import Document
from .items import find_item
from .listening import Listener, ReceivedEvent
from .waiting import Waiting, call


class LivePage:
    """A page that is open in a test, as in a browser; :func:`live` opens it.

    Fragments are named as in templates (``comments.list``). If the page shows one for several
    topics, say which by the parameters: ``page.fragment("comments.list", discussion_id=7)``.

    Attributes:
        response: The answer to the request for the page.
        timeout: How long to wait for something, in seconds, where a call does not say it.
    """

    def __init__(
        self, client: QuartClient, response: Response, html: str, timeout: float, options: Any
    ) -> None:
        self.response: Response = response
        self.timeout: float = timeout
        self._listener = Listener(client, Document(html), options)
        self._waiting = Waiting(services_of(client.app), self._listener)

    # -- what it shows -----------------------------------------------------------------------------

    @property
    def html(self) -> str:
        """The HTML of the whole page, as it is now."""
        return self._listener.document.text

    @property
    def events(self) -> list[ReceivedEvent]:
        """All events that the page has received, in their order."""
        return list(self._listener.events)

    @property
    def closed(self) -> str | None:
        """How the stream ended, such as ``refused`` or ``shutdown``; None while it is open.

        The reasons are those of ``docs/protocol.md``. After those with which the browser comes
        back within a second the page does so at once, and stays open. ``left`` is the test's own
        end of the page.
        """
        return self._listener.closed

    @property
    def refused(self) -> frozenset[str]:
        """The topics and fragments that the page lists and was refused."""
        return frozenset(self._listener.refused)

    @property
    def headers(self) -> dict[str, str]:
        """The headers by which a request comes from this page, for ``to_others=True``."""
        secret = self._listener.shares.secret
        return {"X-SSE-Page": f"{secret}.{self._listener.page}"} if secret else {}

    def current(self, name: str, **params: Any) -> str:
        """Return a fragment's HTML as the page shows it now.

        Args:
            name: Channel and fragment.
            params: Parameters of the topic, if the page shows the fragment for several.

        Raises:
            LivePageError: If the page does not show the fragment, or for several topics.

        Example:
            ``assert "I do!" not in page.current("comments.list")``
        """
        key = self._key(name, params)
        html = None if key is None else self._listener.document.inner(key)
        if html is None:
            raise LivePageError(
                f"The page does not show {call(name, params)}. {self._waiting.shows()}"
            )
        return html

    # -- waiting -----------------------------------------------------------------------------------

    async def fragment(self, name: str, *, timeout: float | None = None, **params: Any) -> str:
        """Wait until a fragment has changed since the test last saw it, and return its HTML.

        All that was published before the call is in it: however many changes there were, the
        newest counts. A refresh that renders the same HTML is no change. Debounces are not waited
        for.

        Args:
            name: Channel and fragment, such as ``comments.list``.
            timeout: How long to wait, in seconds; None for the page's.
            params: Parameters of the topic, if the page shows the fragment for several.

        Returns:
            What is inside the fragment's element, as the server wrote it.

        Raises:
            LivePageError: If it does not change in time. The message says what came instead.
            UnknownChannelError: If no such channel is declared.
            UnknownFragmentError: If the channel declares no such fragment.

        Example:
            ``assert "I do!" in await page.fragment("comments.list")``
        """
        channel, _, fragment = name.partition(".")
        declared = self._waiting.services.channels.get(channel)
        if declared is None:
            raise UnknownChannelError(channel, self._waiting.services.channels.declared)
        declared.find(fragment)

        def look() -> str | None:
            key = self._key(name, params)
            return key if key is not None and self._waiting.is_new(key) else None

        what = f"change of {call(name, params)}"
        key = await self._waiting.until(look, what, self._limit(timeout), is_state=True)
        # More may have been published while the page caught up.
        await self.settle(timeout=timeout)
        self._waiting.see(key)
        return self.current(name, **params)

    async def item(
        self, name: str, key: str | int, *, timeout: float | None = None, **params: Any
    ) -> str | None:
        """Wait until a list has changed since the test last saw it, and return one item of it.

        Args:
            name: Channel and list, such as ``chat.messages``.
            key: The item's key.
            timeout: How long to wait, in seconds; None for the page's.
            params: Parameters of the topic, if the page shows the list for several.

        Returns:
            The item's element, as the server wrote it; None if the list has no such item.

        Raises:
            LivePageError: If the list does not change in time.
            UnknownChannelError: If no such channel is declared.
            UnknownFragmentError: If the channel declares no such list.

        Example:
            ``assert "Hello" in await page.item("chat.messages", 12)``
        """
        html = await self.fragment(name, timeout=timeout, **params)
        return find_item(html, check_item(key))

    async def event(self, name: str, *, timeout: float | None = None, **params: Any) -> Any:
        """Wait for the next event of a name, and return its data.

        Each event is returned once. Events of other names stay for later calls, so that a test
        need not know the order; :attr:`events` has it.

        Args:
            name: Channel and event, such as ``comments.comment-added``; ``user.saved``,
                ``everyone.saved`` and ``connection.saved``; or ``sse-reset``.
            timeout: How long to wait, in seconds; None for the page's.
            params: Parameters of the topic; without them an event of any topic counts.

        Returns:
            The data as scripts in a page get them: what JSON can read is read.

        Raises:
            LivePageError: If it does not come in time. The message says what came instead.
            UnknownChannelError: If no such channel is declared.

        Example:
            ``assert await page.event("comments.comment-added") == {"by": "mira"}``
        """
        channel = name.partition(".")[0]
        is_ours = channel in RESERVED or name == "sse-reset"
        if not is_ours and self._waiting.services.channels.get(channel) is None:
            raise UnknownChannelError(channel, self._waiting.services.channels.declared)
        wanted = {key: str(value) for key, value in params.items()}

        def look() -> tuple[Any] | None:
            unseen = self._listener.unseen
            for number, event in enumerate(unseen):
                if event.name == name and wanted.items() <= event.params.items():
                    return (unseen.pop(number).data,)
            return None

        what = f"event {call(name, params)}"
        return (await self._waiting.until(look, what, self._limit(timeout)))[0]

    async def notification(self, *, timeout: float | None = None) -> Notification:
        """Wait for the next notification, of whichever target, and return it.

        Args:
            timeout: How long to wait, in seconds; None for the page's.

        Raises:
            LivePageError: If none comes in time. The message says what came instead.

        Example:
            ``assert (await page.notification()).message == "Saved"``
        """

        def look() -> Notification | None:
            unseen = self._listener.unseen
            for number, event in enumerate(unseen):
                if event.name.endswith(f".{NOTIFICATION}"):
                    return read_notification(json.dumps(unseen.pop(number).data))
            return None

        found = await self._waiting.until(look, "notification", self._limit(timeout))
        assert isinstance(found, Notification)
        return found

    async def nothing(self, seconds: float = 0.1) -> None:
        """Wait, and see that the page is sent nothing that the test has not seen.

        Args:
            seconds: How long to wait. What was published before the call is waited for in any
                case, so ``nothing(0)`` is enough where nothing is published later.

        Raises:
            LivePageError: If an event or a change comes, came before and was not asked for, or the
                stream is closed, so that nothing can come.

        Example:
            ``await page.nothing(0.2)``
        """
        await self.settle()
        await self._waiting.quiet(seconds)
        await self.settle()
        news = self._waiting.news()
        if news:
            raise LivePageError(
                f"Nothing was to come within {seconds:g} s, but there was {', '.join(news)}. What "
                "the test expects it takes by page.event() or page.fragment()."
            )
        if self.closed is not None:
            raise self._waiting.closed_error("nothing can come")

    async def settle(self, *, timeout: float | None = None) -> None:
        """Wait until the page shows all that was published before the call.

        Debounces are not waited for. It also returns when the time is over, or when a renderer
        fails.

        Args:
            timeout: How long to wait, in seconds; None for the page's.

        Example:
            ``await page.settle()``, then ``assert "I do!" in page.html``
        """
        await self._waiting.settle(self._limit(timeout))

    async def until_closed(self, *, timeout: float | None = None) -> str:
        """Wait until the stream has ended, and return how; see :attr:`closed`.

        Args:
            timeout: How long to wait, in seconds; None for the page's.

        Raises:
            LivePageError: If it stays open.

        Example:
            ``assert await page.until_closed() == "closed"``
        """
        what, limit = "end of the stream", self._limit(timeout)
        return str(await self._waiting.until(lambda: self.closed, what, limit, is_end=True))

    async def reconnect(self) -> None:
        """Come back after the stream has ended, as a browser does by itself after a while.

        The page resumes where it was, so it is sent what it missed.

        Raises:
            LivePageError: If the stream does not open in time.
        """
        if self.closed is not None:
            self._listener.start()
        await self._opened()

    async def close(self) -> None:
        """Leave the page, as a browser that goes away; :attr:`closed` is ``left`` then."""
        await self._listener.stop()

    # -- inside ------------------------------------------------------------------------------------

    async def _opened(self) -> None:
        listener = self._listener
        await self._waiting.until(
            lambda: listener.is_open or listener.closed is not None or None,
            "stream of the page",
            self.timeout,
            is_end=True,
        )
        if listener.error is not None:
            raise self._waiting.closed_error("the stream cannot open")

    def _limit(self, timeout: float | None) -> float:
        return self.timeout if timeout is None else timeout

    def _key(self, name: str, params: dict[str, Any]) -> str | None:
        """Return the key of the fragment that is meant; None if the page does not show it.

        Raises:
            LivePageError: If it shows the fragment for several topics.
        """
        wanted = {key: str(value) for key, value in params.items()}
        found = [
            key
            for key in self._listener.document.keys
            if parse_topic(key)[0] == name and wanted.items() <= parse_topic(key)[1].items()
        ]
        if len(found) > 1:
            raise LivePageError(
                f"The page shows {call(name, params)} for several topics: {', '.join(found)}. "
                "Say which by the parameters, such as "
                f"{call(name, parse_topic(found[0])[1])}."
            )
        return found[0] if found else None


def services_of(app: Quart) -> Services:
    """Return the services of an app.

    Raises:
        SetupError: If it is not initialised.
    """
    services = app.extensions.get(KEY)
    if not isinstance(services, Services):
        raise SetupError(
            "The client's app is not initialised for quart_sse. Call sse.init_app(app) or SSE(app)."
        )
    return services
