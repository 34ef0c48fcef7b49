"""A scenario while it is played: what is waited for, and what is expected."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from quart_sse.config import Config
from tests.support.network import Balancer
from tests.support.redis_server import RedisServer
from tests.support.servers import until_so

from .group import Group
from .stage import Pace, Process, Stage
from .verdict import Outcome

#: Seconds that an answer to a publisher may take: more than a call to Redis may.
ANSWER = Config().broker_timeout + 1.0
#: What the log says once for each outage.
OUTAGES = ("Redis is away (", "No message from Redis")


class Play(Group):
    """A scenario: one group, and others where there are several.

    Args:
        stage: Where it is played.
        redis: That everybody shares.
        balancer: The address of the first group.
        outcome: What it gives.
    """

    def __init__(
        self, stage: Stage, redis: RedisServer, balancer: Balancer, outcome: Outcome
    ) -> None:
        super().__init__(stage, redis, balancer, stage.folder / "value", 0, {})
        self.pace = stage.pace
        self.outcome = outcome
        self.groups: list[Group] = [self]
        self.begun = 0.0  #: loop time at which the fault began

    async def other(self, first: int, **environ: str) -> Group:
        """Return a further group, as yet without processes."""
        database = self.stage.folder / f"value-{first}"
        balancer = await self.stage.balancer()
        group = Group(self.stage, self.redis, balancer, database, first, environ)
        self.groups.append(group)
        return group

    async def warm_up(self, processes: int = 0) -> None:
        """Start processes, let viewers come, and publish until each of them has something."""
        await self.boot(processes or self.pace.processes)
        await self.come(self.pace.viewers)
        self.publish()
        await self.until_seen(self.now())
        self.begin()

    @property
    def elapsed(self) -> float:
        """Seconds since the fault began."""
        return self.now() - self.begun

    def begin(self) -> None:
        """Note that the fault begins now."""
        self.begun = self.now()

    def note(self, name: str) -> None:
        """Note how long after its beginning something happened."""
        self.outcome.notes[name] = self.elapsed

    async def last(self, seconds: float) -> None:
        """Let the fault last."""
        await asyncio.sleep(seconds)

    async def healed(self, since: float | None = None) -> None:
        """Note how long it takes until every viewer has something published after a moment.

        Args:
            since: That moment; now if it is None.
        """
        self.outcome.heal = await self.until_seen(self.now() if since is None else since)

    def expect_no_reset(self) -> None:
        """Nobody was told that events are lost, since none are."""
        self.outcome.expect(not any(v.resets for v in self.viewers), "no viewer is reset")

    def expect_resets(self) -> None:
        """Everybody was told that events may be lost."""
        self.outcome.expect(all(v.resets for v in self.viewers), "every viewer is reset")

    def expect_outages(self, processes: Iterable[Process], number: int = 1) -> None:
        """Each of these processes has said once that Redis is away, and the others never."""
        affected = set(processes)
        for at, process in enumerate(self.processes):
            found = sum(process.count(beginning) for beginning in OUTAGES)
            wanted = number if process in affected else 0
            self.outcome.expect(found == wanted, f"process {at} warns {wanted} times, not {found}")

    async def recover(self) -> None:
        """Wait until all is well again after an outage of Redis, and judge."""
        await self.healed()
        await self.finish()
        await are_in("ready", self.processes)

    async def finish(self) -> None:
        """Go on for a moment, come to rest, and judge."""
        last = self.publisher.latest + self.pace.more
        await self.until(lambda: self.publisher.latest >= last)
        for group in self.groups:
            await group.quieten()
        for group in self.groups:
            await group.judge(self.outcome)
        for name in ("lost", "duplicated", "disordered", "stale"):
            number = getattr(self.outcome, name)
            self.outcome.expect(not number, f"{name}: {number}")
        slowest = self.outcome.slowest
        self.outcome.expect(slowest < ANSWER, f"answers in time, not {slowest:.1f} s")
        for process in self.stage.processes:
            raised = process.raised
            self.outcome.expect(not raised, f"nothing is raised: {raised}")


async def are_in(state: str, processes: Iterable[Process]) -> None:
    """Wait until all of these say that their broker is in some state."""

    async def so() -> bool:
        return all([await process.is_in(state) for process in processes])

    await until_so(so)


@asynccontextmanager
async def playing(name: str, folder: Path, pace: Pace, server: str) -> AsyncIterator[Play]:
    """Prepare a scenario; everything of it has ended when the block has."""
    async with AsyncExitStack() as stack:
        stage = Stage(folder, stack, pace, server)
        redis, balancer = await stage.redis(), await stage.balancer()
        play = Play(stage, redis, balancer, Outcome(name))
        try:
            yield play
        finally:
            for group in play.groups:
                await group.end()
