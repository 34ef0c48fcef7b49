"""Publish events, refreshes and pushed HTML by the names of topics, through a broker."""

import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

from ..broker import (
    CLOSE,
    CONTROL_HISTORY,
    MOST_REFRESHES,
    Broker,
    Filter,
    Keep,
    Kind,
    Message,
)
from ..errors import EventError, FilterError
from ..tracing import Tracing
from ..wire import (
    NOTIFICATION,
    ZERO,
    Id,
    Notification,
    check_event,
    check_event_name,
    is_like_json,
    plain,
    write_notification,
)
from .bundle import Bundle, all_done, current
from .event_type import Declares, EventType, Typed, event_name
from .refreshes import Refresh
from .traced import publish_all_traced, publish_traced


class Encoded(NamedTuple):
    """The data of an event as text.

    Attributes:
        text: The text.
        is_like_json: Whether it reads like JSON and is none.
    """

    text: str
    is_like_json: bool


def _refuse_constant(name: str) -> None:
    """Raise for what Python writes as a number and no browser reads (RFC 8259, section 6)."""
    raise ValueError(f"JSON has no {name}")


class MessagePublisher:
    """Publish events, refreshes and pushed HTML, by the names of topics.

    Topics of the app and those of publishers outside it stand on this.

    Args:
        broker: Carries the messages to all processes.
        max_bytes: Size limit of one event, in bytes. A connection cannot hold a larger one.
        dumps: Returns data as JSON; raises TypeError or ValueError for data that JSON cannot hold.
        tracing: Makes a span of each publish; None for none.

    Example:
        ``await publisher.refresh("comments?discussion_id=7", ["list"], Keep(256, 300.0))``
    """

    def __init__(
        self,
        broker: Broker,
        max_bytes: int,
        dumps: Callable[[Any], str] = json.dumps,
        tracing: Tracing | None = None,
    ) -> None:
        self._broker = broker
        self.max_bytes: int = max_bytes
        self.published: int = 0  #: messages that the broker has taken
        self._dumps = dumps
        self._tracing = tracing

    async def event(
        self,
        topic: str,
        event: EventType[Any] | str,
        data: Any,
        keep: Keep,
        *,
        retry_ms: int | None = None,
        origin: str = "",
        where: Filter | None = None,
        exclude: str = "",
        refreshes: Sequence[Refresh] = (),
    ) -> Id:
        """Publish an event.

        Args:
            topic: The topic's name.
            event: The event's type or name.
            data: A ``str`` is sent as it is, any other value as JSON; or what :meth:`encode` has
                returned for it.
            keep: How much history the topic keeps.
            retry_ms: New reconnect delay of clients, in milliseconds; None leaves it.
            origin: Name of the page that leaves the event out; "" for none.
            where: For which connections the event is, by their metadata; None for all.
            exclude: Id of a connection that the event is not for; "" for none.
            refreshes: What is recorded with the event: all of it, or nothing.

        Returns:
            The event's id in the broker's order.

        Raises:
            EventError: If the name is reserved or invalid, the data cannot be written as JSON (as
                NaN and Infinity) or is too large, ``retry_ms`` is negative, or the event causes
                too many refreshes.
            FilterError: If ``where`` is a function, and the broker serves several processes.
            BrokerUnavailable: If the broker did not confirm the event. Its ``maybe_published`` is
                False if the event was certainly not published.
        """
        given = data if isinstance(data, Encoded) else self.encode(event, data, retry_ms)
        name = event_name(event)
        if where is not None and not where.text and self._broker.is_shared:
            raise FilterError(
                "where= is a function, which no other process can call. Pass what the metadata "
                'must equal, such as {"role": "admin"}, and put what the function asks for into '
                "the metadata (@sse.metadata)."
            )
        message = Message(
            Kind.EVENT,
            ZERO,
            topic,
            name,
            given.text,
            retry_ms,
            origin,
            given.is_like_json,
            where,
            exclude,
        )
        if not refreshes:
            return await self._publish(message, keep)
        return await self._publish_with(message, keep, refreshes)

    def encode(
        self,
        event: EventType[Any] | str,
        data: Any,
        retry_ms: int | None = None,
        declares: Declares | None = None,
    ) -> Encoded:
        """Return the data of an event as text.

        The other arguments and errors are those of :meth:`event`.

        Args:
            event: The event's type or name.
            data: The data.
            retry_ms: New reconnect delay of clients, in milliseconds.
            declares: The events that the channel declares; None for an event of no channel.
        """
        name = check_event_name(event_name(event))
        typed = None
        if isinstance(event, EventType) or declares is not None:
            typed = Typed(event, declares)
            data = typed.accept(data)
        is_text = isinstance(data, str)
        text = plain(data) if is_text else self._json(name, data)
        if typed is not None:
            typed.check(text, is_text)
        check_event(text, name, retry_ms, self.max_bytes)
        return Encoded(text, is_text and is_like_json(text))

    def encode_notification(self, notification: Notification) -> Encoded:
        """Return a notification as text, which :meth:`event` takes as its data.

        Raises:
            EventError: If the data cannot be written as JSON, or it is too large.
        """
        try:
            text = self._written(partial(write_notification, notification))
        except (TypeError, ValueError) as error:
            raise EventError(
                f"The data of a notification cannot be written as JSON: {error}. Pass what "
                "app.json can write, such as a dict of texts and numbers."
            ) from None
        check_event(text, NOTIFICATION, None, self.max_bytes)
        return Encoded(text, is_like_json=False)

    async def close(self, *, topic: str | None = None, channel: str | None = None) -> None:
        """Take a topic, or all topics of a channel, off the open connections of every process.

        Raises:
            BrokerUnavailable: If the broker is away; processes may not have received it.
        """
        told = {"topic": topic} if channel is None else {"channel": channel}
        message = Message(Kind.CONTROL, ZERO, "", CLOSE, json.dumps(told))
        await self._broker.publish(message, CONTROL_HISTORY)

    async def history(self, topic: str, most: int) -> list[Message]:
        """Return the kept events of a topic, oldest first.

        Args:
            topic: The topic's name.
            most: Most events to return, the newest.

        Raises:
            BrokerUnavailable: If the broker does not answer.
        """
        return await self._broker.kept(topic, most)

    async def reload(self, topic: str, file: str, keep: Keep) -> None:
        """Publish that pages reload.

        Args:
            topic: Topic of the audience whose pages reload.
            file: The further script file that does it, as pages name it.
            keep: How much history the audience keeps.

        Raises:
            BrokerUnavailable: If the broker did not confirm the message.
        """
        await self._publish(Message(Kind.EVENT, ZERO, topic, "sse-reload", file), keep)

    def _json(self, name: str, data: Any) -> str:
        try:
            return self._written(lambda dumps: dumps(data))
        except (TypeError, ValueError) as error:
            raise EventError(
                f"The data of event {name!r} cannot be written as JSON: {error}. Publish a str, "
                "or a value that app.json can write."
            ) from None

    def _written(self, write: Callable[[Callable[[Any], str]], str]) -> str:
        text = write(self._dumps)
        if "NaN" in text or "Infinity" in text:
            json.loads(text, parse_constant=_refuse_constant)
        return text

    async def refresh(
        self,
        topic: str,
        fragments: Iterable[str],
        keep: Keep,
        *,
        item: str = "",
        origin: str = "",
    ) -> None:
        """Render fragments of a topic again for their viewers, in every process.

        Args:
            topic: The topic's name.
            fragments: Names of the changed fragments.
            keep: How much history the topic keeps.
            item: Key of the item of the only fragment that has changed, percent-encoded; "" for
                all of it.
            origin: Name of the page that leaves the HTML out; "" for none.

        Raises:
            BrokerUnavailable: If the broker cannot be reached. Refreshing again is always safe.
        """
        for name in fragments:
            message = Message(Kind.REFRESH, ZERO, topic, name, origin=origin, item=item)
            await self._publish(message, keep)

    async def push(
        self, topic: str, fragment: str, html: str, keep: Keep, *, root: str, item: str = ""
    ) -> None:
        """Publish a fragment's HTML.

        Args:
            topic: The topic's name.
            fragment: The fragment's name.
            html: HTML that may go to all viewers.
            keep: How much history the topic keeps.
            root: Root path that begins the URLs in the HTML; pages below another root path are
                rendered instead.
            item: Key of the item that the HTML is of; "" for the whole fragment.

        Raises:
            BrokerUnavailable: If the broker cannot be reached. Pushing again is always safe.
        """
        message = Message(Kind.PUSH, ZERO, topic, fragment, html, origin=root, item=item)
        await self._publish(message, keep)

    async def _publish(self, message: Message, keep: Keep) -> Id:
        """Publish a message, or put it into the bundle that is open here; its id is ZERO then."""
        bundle = self._bundle()
        if bundle is not None and bundle.add((message, keep)):
            return ZERO
        if self._tracing is not None and self._tracing.is_on:
            id = await publish_traced(self._tracing, self._broker, message, keep)
        else:
            id = await self._broker.publish(message, keep)
        self.published += 1
        return id

    async def _publish_with(self, message: Message, keep: Keep, refreshes: Sequence[Refresh]) -> Id:
        """Publish an event together with the refreshes that it causes."""
        if len(refreshes) > MOST_REFRESHES:
            raise EventError(
                f"The event {message.name!r} refreshes {len(refreshes)} fragments, and may refresh "
                f"{MOST_REFRESHES}. Name fewer topics or fragments, or let pages share a topic."
            )
        messages = [
            (message, keep),
            *(
                (Message(Kind.REFRESH, ZERO, each.topic, each.fragment), each.keep)
                for each in refreshes
            ),
        ]
        bundle = self._bundle()
        if bundle is not None and bundle.add(*messages):
            return ZERO
        return (await self._publish_all(messages))[0]

    def starts(self, future: Future[Any]) -> None:
        """Let the bundle that is open here, if any, wait for a call that is not waited for."""
        bundle = self._bundle()
        if bundle is not None:
            bundle.started.append(future)

    def _bundle(self) -> Bundle | None:
        innermost = current.get()
        return None if innermost is None else innermost.of(self)

    @asynccontextmanager
    async def batch(self) -> AsyncIterator[None]:
        """Collect what is published within the block, and publish it together at its end.

        A block inside of another one belongs to that.

        Raises:
            BrokerUnavailable: If the broker did not confirm everything.
        """
        outer = self._bundle()
        bundle = Bundle(self, current.get())
        token = current.set(bundle)
        try:
            yield
            await all_done(bundle.started)
        except BaseException:
            bundle.drop()
            raise
        finally:
            current.reset(token)
        messages = bundle.end()
        if outer is not None:
            messages = [] if outer.add(*messages) else messages
        if messages:
            await self._publish_all(messages)

    async def _publish_all(self, messages: Sequence[tuple[Message, Keep]]) -> list[Id]:
        if self._tracing is not None and self._tracing.is_on:
            ids = await publish_all_traced(self._tracing, self._broker, messages)
        else:
            ids = await self._broker.publish_all(messages)
        self.published += len(messages)
        return ids
