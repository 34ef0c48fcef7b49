"""Sending: messages for, and the end of, one connection of any process."""

from collections.abc import Mapping
from typing import Any

from ..broker import Broker, Control, process_of
from ..config import Config
from ..publisher import EventType, MessagePublisher, event_name, is_done
from ..serving_loop import ServingLoop
from ..wire import NOTIFICATION, Notification
from .desk import Desk, check_retry


class Sending:
    """Finds the process of a connection by its id, and asks it.

    Args:
        desk: The connections of this process.
        control: Asks other processes.
        broker: Tells whether there are any.
        publisher: Encodes data.
        serving: The loop that serves, which receives the answers.
        config: The app's settings, with the deadline of questions.
    """

    def __init__(
        self,
        desk: Desk,
        control: Control,
        broker: Broker,
        publisher: MessagePublisher,
        serving: ServingLoop,
        config: Config,
    ) -> None:
        self._desk = desk
        self._control = control
        self._broker = broker
        self._publisher = publisher
        self._serving = serving
        self._deadline = config.broker_timeout
        control.reply("send", self._answer_send)
        control.reply("close", self._answer_close)

    async def send(self, id: str, event: EventType[Any] | str, data: Any) -> bool:
        """Send an event to one connection of any process; see ``SSE.send``."""
        text, is_text = self._publisher.encode(event, data)
        return await self._send(id, event_name(event), text, is_text)

    async def notify(self, id: str, notification: Notification) -> bool:
        """Send a notification to one connection of any process; it is in no history.

        Raises:
            EventError: If it is too large.
            BrokerUnavailable: As for :meth:`send`.
        """
        text, is_text = self._publisher.encode_notification(notification)
        return await self._send(id, NOTIFICATION, text, is_text)

    async def _send(self, id: str, name: str, text: str, is_text: bool) -> bool:
        if await self._desk.deliver(id, name, text, is_text):
            return True
        return await self._ask(id, "send", {"name": name, "data": text, "is_text": is_text})

    async def close(self, id: str, retry: float | None) -> bool:
        """End one connection of any process; see ``SSE.close``."""
        if await self._desk.close(id, check_retry(retry)):
            return True
        return await self._ask(id, "close", {"retry": retry})

    async def _ask(self, id: str, question: str, data: Mapping[str, object]) -> bool:
        """Ask the process that an id names, or all if it names none.

        Raises:
            BrokerUnavailable: If a process that may have the connection does not answer.
        """
        own = self._control.processes.own
        process = process_of(id)
        if not self._broker.is_shared or (own is not None and process == own.id):
            return False
        asked = await self._serving.run(
            self._control.ask, question, {"id": id, **data}, deadline=self._deadline, to=process
        )
        return is_done(asked, self._deadline)

    def _answer_send(self, told: Any) -> bool:
        return self._desk.send_text(
            str(told["id"]), str(told["name"]), str(told["data"]), told["is_text"] is True
        )

    def _answer_close(self, told: Any) -> bool:
        return self._desk.close_here(str(told["id"]), check_retry(told["retry"]))
