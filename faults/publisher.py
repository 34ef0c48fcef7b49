"""Who publishes: numbered events at a steady rate, and now and then a change of the fragment."""

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from quart_sse.wire.position import Id

#: What became of a publish: it was given an id; it was surely not, or it may have been published;
#: nobody answered, because the process has died; or the process failed.
Fate = Literal["kept", "refused", "maybe", "cut", "error"]

#: One change of the fragment for so many events.
CHANGE = 5


@dataclass(frozen=True, slots=True)
class Attempt:
    """One event that was to be published."""

    number: int
    began: float  #: loop time
    took: float  #: seconds until there was an answer
    fate: Fate
    id: Id | None = None
    error: str = ""


class Publisher:
    """Publishes as a view does, through whatever process its requests reach.

    Args:
        port: To which it sends them.
        room: To publish to.
        database: What the fragment shows.
        rate: Events a second.
        first: The first number.
    """

    def __init__(self, port: int, room: int, database: Path, rate: float, first: int = 0) -> None:
        self.port = port
        self.room = room
        self.rate = rate
        self.size = 0
        self.attempts: list[Attempt] = []
        self.value = 0
        self._database = database
        self._next = first
        self._is_over = asyncio.Event()
        self._is_changed = asyncio.Event()
        self._idle = asyncio.Event()  #: set while no change is to be told
        self._idle.set()
        self._saying: set[asyncio.Task[None]] = set()
        self._write()

    def _write(self) -> None:
        draft = self._database.with_suffix(".draft")
        draft.write_text(str(self.value))
        os.replace(draft, self._database)

    async def run(self) -> None:
        """Publish until :meth:`stop`; whether one is answered does not hold up the next one."""
        self._is_over.clear()
        refreshing = asyncio.create_task(self._refresh())
        while not self._is_over.is_set():
            self.say()
            if self._next % CHANGE == 0:
                self.change()
            await asyncio.sleep(1 / self.rate)
        await asyncio.gather(*self._saying)
        self.change()
        await self._idle.wait()
        refreshing.cancel()

    def stop(self) -> None:
        """Change the fragment a last time, and end when that and all events were answered."""
        self._is_over.set()

    @property
    def latest(self) -> int:
        """The number that was tried last."""
        return self._next - 1

    def change(self) -> None:
        """Change what the fragment shows, and say so."""
        self.value += 1
        self._write()
        self._idle.clear()
        self._is_changed.set()

    def say(self) -> None:
        """Publish the next number."""
        number, self._next = self._next, self._next + 1
        task = asyncio.create_task(self._say(number))
        self._saying.add(task)
        task.add_done_callback(self._saying.discard)

    async def _say(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        told = await self._post(f"events/{number}/{self.size}")
        fate: Fate = "cut"
        if told is not None:
            maybe: dict[bool | None, Fate] = {True: "maybe", False: "refused", None: "error"}
            fate = "kept" if "id" in told else maybe[told.get("maybe_published")]
        id = Id.parse(told["id"]) if told and "id" in told else None
        error = told.get("error", "") if told else ""
        self.attempts.append(Attempt(number, began, loop.time() - began, fate, id, error))

    async def _refresh(self) -> None:
        """Repeat refreshes that were not taken: that does no harm."""
        while True:
            await self._is_changed.wait()
            self._is_changed.clear()
            if await self._post("refresh") != {}:
                self._is_changed.set()
                await asyncio.sleep(1 / self.rate)
            elif not self._is_changed.is_set():
                self._idle.set()

    async def _post(self, path: str) -> dict[str, Any] | None:
        """Send a request; returns the answer, None if there was none."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            head = f"POST /rooms/{self.room}/{path} HTTP/1.0\r\nHost: localhost\r\n"
            writer.write(f"{head}Content-Length: 0\r\n\r\n".encode())
            try:
                answer = await reader.read()
            finally:
                writer.close()
        except OSError:
            return None
        head, _, body = answer.decode().partition("\r\n\r\n")
        if not body:
            return None
        is_json = head.split()[1] in {"200", "503"}
        told: dict[str, Any] = json.loads(body) if is_json else {"error": answer.decode()}
        return told
