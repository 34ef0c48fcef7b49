"""Processes with one address, who publishes through it, and who looks."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from quart_sse.wire.position import Id
from tests.support.network import Balancer
from tests.support.redis_server import RedisServer

from .publisher import Publisher
from .stage import PATIENCE, Process, Stage
from .verdict import Outcome, judge
from .viewer import Viewer

#: Seconds between two looks at what happens in this process.
TURN = 0.005


class Group:
    """Processes with one address, the viewers that come there, and a publisher.

    Args:
        stage: Where they are.
        redis: That they share.
        balancer: Their address.
        database: What their fragment shows.
        first: The number of the first event.
        environ: Of the processes.
    """

    def __init__(
        self,
        stage: Stage,
        redis: RedisServer,
        balancer: Balancer,
        database: Path,
        first: int,
        environ: dict[str, str],
    ) -> None:
        self.stage = stage
        self.redis = redis
        self.balancer = balancer
        self.database = database
        self.environ = environ
        self.processes: list[Process] = []
        self.viewers: list[Viewer] = []
        self.publisher = Publisher(balancer.port, 1, database, stage.pace.rate, first)
        self._watching: list[asyncio.Task[None]] = []
        self._publishing: asyncio.Task[None] | None = None

    async def boot(self, count: int = 1) -> None:
        """Start more processes."""
        boot = self.stage.boot
        self.processes += await asyncio.gather(
            *(boot(self.redis, self.balancer, self.database, **self.environ) for _ in range(count))
        )

    async def come(self, count: int) -> None:
        """Let viewers open the page, and wait until all are connected."""
        viewers = [Viewer(self.balancer.port, 1) for _ in range(count)]
        for viewer in viewers:
            await viewer.open()
        for viewer in viewers:
            self._watching.append(asyncio.create_task(viewer.watch()))
        self.viewers += viewers
        await self.until(lambda: all(viewer.is_open for viewer in viewers))

    def publish(self) -> None:
        """Begin to publish steadily."""
        self._publishing = asyncio.create_task(self.publisher.run())

    async def until(self, condition: Callable[[], object], seconds: float = PATIENCE) -> None:
        """Wait until a condition is true; whoever takes part and fails ends that."""
        async with asyncio.timeout(seconds):
            while not condition():
                for task in self._watching:
                    if task.done():
                        task.result()
                await asyncio.sleep(TURN)

    def now(self) -> float:
        """Return the time that viewers and publisher go by."""
        return asyncio.get_running_loop().time()

    async def until_seen(self, since: float) -> float:
        """Wait until every viewer has something published after a moment; returns how long."""

        def newest(viewer: Viewer) -> bool:
            return any(seen.number in late for seen in viewer.seen[-50:])

        late: set[int] = set()

        def all_have_new() -> bool:
            late.update(a.number for a in self.publisher.attempts[-50:] if a.began >= since)
            return bool(late) and all(newest(viewer) for viewer in self.viewers)

        await self.until(all_have_new)
        return self.now() - since

    async def quieten(self) -> None:
        """Publish no more, and wait until every viewer has all of it, for a while."""
        publisher, publishing = self.publisher, self._publishing
        if publishing is None:
            return
        publisher.stop()
        await asyncio.wait_for(publishing, PATIENCE)
        stored = await self.stored()
        last = max(a.number for a in publisher.attempts if a.id or a.number in stored)

        def has_all(viewer: Viewer) -> bool:
            has_last = bool(viewer.seen) and viewer.seen[-1].number == last
            return has_last and viewer.shown == str(publisher.value)

        with contextlib.suppress(TimeoutError):  # the verdict says what is missing
            await self.until(lambda: all(map(has_all, self.viewers)), PATIENCE / 4)

    async def stored(self) -> dict[int, Id]:
        """Return the events that Redis has."""
        format = self.environ.get("FAULTS_FORMAT", "1")
        key = f"{{sse:{format}}}:events:rooms?room=1"
        entries = await self.redis.ask("XRANGE", key, "-", "+")
        return {int(fields["m"].split("|", 4)[4]): Id.parse(id) for id, fields in entries}

    async def judge(self, outcome: Outcome) -> None:
        """Add what became of its events."""
        attempts, value = self.publisher.attempts, self.publisher.value
        judge(outcome, attempts, await self.stored(), self.viewers, value)

    async def end(self) -> None:
        """Send everybody home."""
        tasks = [*self._watching, *([self._publishing] if self._publishing else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for viewer in self.viewers:
            viewer.close()
