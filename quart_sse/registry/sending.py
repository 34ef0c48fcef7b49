"""Sending: messages for, and the end of, one connection of any process."""

from collections.abc import Iterator, Mapping
from typing import Any

from ..broker import Broker, Control
from ..config import Config
from ..errors import BrokerUnavailable
from ..hub import process_of
from ..publisher import MessagePublisher
from ..serving_loop import ServingLoop
from .desk import Desk, check_retry

#: Faults of processes that have done nothing of what they were asked.
_DID_NOTHING = {"busy", "unknown"}


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

    async def send(self, id: str, name: str, data: Any) -> bool:
        """Send an event to one connection of any process; see ``SSE.send``."""
        text, is_text = self._publisher.encode(name, data)
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
        if any(answer is True for answer in asked.answers.values()):
            return True
        if asked.faults:
            raise BrokerUnavailable(
                " ".join(_why(asked.faults)),
                maybe_published=bool(asked.silent)
                or not _DID_NOTHING.issuperset(asked.faults.values()),
            )
        if asked.silent:
            silent = ", ".join(f"{each.host or each.id} (pid {each.pid})" for each in asked.silent)
            raise BrokerUnavailable(
                f"No answer within {self._deadline:g} s (QUART_SSE_BROKER_TIMEOUT) from {silent}. "
                "The connection may have been sent it.",
                maybe_published=True,
            )
        return False

    def _answer_send(self, told: Any) -> bool:
        return self._desk.send_text(
            str(told["id"]), str(told["name"]), str(told["data"]), told["is_text"] is True
        )

    def _answer_close(self, told: Any) -> bool:
        return self._desk.close_here(str(told["id"]), check_retry(told["retry"]))


def _why(faults: Mapping[str, str]) -> Iterator[str]:
    """Say why processes have no answer; a later release may have other faults."""
    processes: dict[str, list[str]] = {}
    for process, fault in sorted(faults.items()):
        processes.setdefault(fault, []).append(process)
    for fault, ids in processes.items():
        some = f"Process {ids[0]}" if len(ids) == 1 else f"Processes {', '.join(ids)}"
        if fault == "busy":
            yield (
                f"{some}: too many answers wait to be sent there, so the question was refused. "
                "Nothing was sent. Try again later, and with fewer at once."
            )
        elif fault == "unknown":
            yield (
                f"{some}: another release runs there, which does not know the question. Try again "
                "when all processes run this one."
            )
        else:
            yield f"{some}: no answer ({fault}). The log there says why."
