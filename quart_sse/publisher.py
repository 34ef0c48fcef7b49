"""Publishing without an app: what ``Topic`` and workers stand on."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from .broker import Broker, Keep, Kind, Message
from .errors import EventError
from .event import check_event
from .naming import check_event_name
from .position import ZERO, Id


class AsyncPublisher:
    """Publishes events, refreshes and pushed HTML through a broker.

    Args:
        broker: Carries them.
        max_bytes: Bytes that one event may have; a connection can hold no larger one.
        dumps: Writes data as JSON; raises TypeError or ValueError for what it cannot write.

    Example:
        ``await publisher.refresh("comments?discussion_id=7", ["list"], Keep(256, 300.0))``
    """

    def __init__(
        self, broker: Broker, max_bytes: int, dumps: Callable[[Any], str] = json.dumps
    ) -> None:
        self._broker = broker
        self._max_bytes = max_bytes
        self._dumps = dumps

    async def event(
        self,
        topic: str,
        name: str,
        data: Any,
        keep: Keep,
        *,
        retry_ms: int | None = None,
        origin: str = "",
    ) -> Id:
        """Publish an event.

        Args:
            topic: The topic's name.
            name: The event's name.
            data: Text is sent as it is, anything else as JSON.
            keep: How the topic's history is kept.
            retry_ms: Reconnect delay of clients from now on, in milliseconds.
            origin: The page that leaves the event out, as the script names it; "" for none.

        Returns:
            The event's id.

        Raises:
            EventError: If the name is reserved, or the data cannot be sent.
            BrokerUnavailable: If the event was not, or may not have been, published.
        """
        check_event_name(name)
        text = data if isinstance(data, str) else self._json(name, data)
        check_event(text, name, retry_ms, self._max_bytes)
        message = Message(Kind.EVENT, ZERO, topic, name, text, retry_ms, origin)
        return await self._broker.publish(message, keep)

    def _json(self, name: str, data: Any) -> str:
        try:
            return self._dumps(data)
        except (TypeError, ValueError) as error:
            raise EventError(
                f"The data of event {name!r} cannot be written as JSON: {error}. Publish text, "
                "or something that app.json can write."
            ) from None

    async def refresh(self, topic: str, fragments: Iterable[str], keep: Keep) -> None:
        """Say that fragments of a topic have changed.

        Raises:
            BrokerUnavailable: If the broker cannot be reached; it is safe to try again.
        """
        for name in fragments:
            await self._broker.publish(Message(Kind.REFRESH, ZERO, topic, name), keep)

    async def push(self, topic: str, fragment: str, html: str, keep: Keep, *, root: str) -> None:
        """Publish a fragment's HTML.

        Args:
            topic: The topic's name.
            fragment: The fragment's name.
            html: HTML that may go to all viewers.
            keep: How the topic's history is kept.
            root: The root path that begins the URLs in the HTML.

        Raises:
            BrokerUnavailable: If the broker cannot be reached; it is safe to try again.
        """
        await self._broker.publish(
            Message(Kind.PUSH, ZERO, topic, fragment, html, origin=root), keep
        )
