"""Scenarios in which web processes, and those who look, come and go."""

import asyncio
import signal

from tests.support.servers import until_so

from .play import Play

#: Bytes of an event that fills the socket of somebody who reads nothing, and how many fill it.
LARGE, ENOUGH = 100_000, 70
#: Seconds that the history lives of a page that idles: little, and more than a machine that does
#: much else holds up a process.
IDLE_TTL = 3
#: The first event of the newer release.
MOVED = 1_000_000


async def kill(play: Play) -> None:
    """A web process is killed (SIGKILL)."""
    await play.warm_up()
    await play.stage.end(play.processes[0], play.balancer, signal.SIGKILL)
    await play.healed()
    await play.finish()
    play.expect_no_reset()
    play.expect_outages([])


async def rolling(play: Play) -> None:
    """Two workers are replaced one after the other (SIGTERM), under steady publishing."""
    await play.warm_up(2)
    stops = []
    for process in play.processes[:2]:
        stops.append(await play.stage.end(process, play.balancer))
        await play.boot()
    play.outcome.notes["stop"] = max(stops)
    await play.healed()
    await play.finish()
    play.expect_no_reset()
    play.expect_outages([])
    reasons = {reason for viewer in play.viewers for reason in viewer.told}
    play.outcome.expect(reasons == {"shutdown"}, f"streams end with a farewell, not {reasons}")


async def formats(play: Play) -> None:
    """Two releases whose messages differ run side by side; then the older one ends."""
    newer = await play.other(MOVED, FAULTS_FORMAT="2")
    count = 1 if play.pace.is_brief else 2
    await asyncio.gather(play.boot(count), newer.boot(count))
    for group in play.groups:
        await group.come(play.pace.viewers // 2)
        group.publish()
    for group in play.groups:
        await group.until_seen(asyncio.get_running_loop().time())
    await play.last(play.pace.outage)
    await play.finish()
    play.expect_no_reset()
    play.expect_outages([])
    # From now on the viewers of the older release are those of the newer one.
    play.begin()
    for viewer in play.viewers:
        viewer.port = newer.balancer.port
    for process in play.processes:
        await play.stage.end(process, play.balancer)
    await play.until(lambda: all(viewer.resets for viewer in play.viewers))
    play.outcome.heal = play.elapsed
    play.outcome.resets = sum(len(viewer.resets) for viewer in play.viewers)
    play.outcome.reconnects = sum(viewer.reconnects for viewer in play.viewers)
    newer.viewers += play.viewers
    newer.publish()
    await newer.until_seen(play.now())
    await newer.quieten()
    last, shown = newer.publisher.latest, str(newer.publisher.value)
    for viewer in play.viewers:
        is_current = viewer.seen[-1].number == last and viewer.shown == shown
        play.outcome.expect(is_current, "who moved has what is new")


async def idle(play: Play) -> None:
    """Nothing happens for many lifetimes of the history; then every stream is cut."""
    await play.warm_up()
    await play.quieten()
    before = [(await process.state())["renders"] for process in play.processes]
    shown = [viewer.shown for viewer in play.viewers]
    keys = [f"{{sse:1}}:{kind}:rooms?room=1" for kind in ("events", "tip", "fragments")]
    if play.pace.is_brief:
        for key in keys:  # as they do by themselves ten seconds after their lifetime
            await play.redis.ask("PEXPIRE", key, "1")

    async def is_expired() -> bool:
        return bool(await play.redis.ask("EXISTS", *keys) == 0)

    await play.last((2 if play.pace.is_brief else 10) * IDLE_TTL)
    await until_so(is_expired)
    play.begin()
    reconnects = [viewer.reconnects for viewer in play.viewers]
    play.balancer.cut()
    await play.until(
        lambda: all(
            viewer.reconnects > count and viewer.is_open
            for viewer, count in zip(play.viewers, reconnects, strict=True)
        )
    )
    after = [(await process.state())["renders"] for process in play.processes]
    play.outcome.notes["renders"] = sum(after) - sum(before)
    play.outcome.expect(after == before, f"nothing is rendered, not {before} to {after}")
    play.outcome.expect(shown == [viewer.shown for viewer in play.viewers], "nothing is sent")
    play.publish()
    await play.healed()
    await play.finish()
    play.expect_no_reset()
    play.expect_outages([])


async def leaving(play: Play) -> None:
    """Browsers close their streams, crash (RST), and come back, again and again."""
    await play.warm_up()
    for turn in range(3 if play.pace.is_brief else 10):
        for at, viewer in enumerate(play.viewers):
            if at % 3 == turn % 3:
                viewer.leave()
            elif at % 3 == (turn + 1) % 3:
                viewer.die()
        await play.until_seen(asyncio.get_running_loop().time())
    await play.healed()
    await play.finish()
    await expect_no_leftovers(play)
    play.expect_no_reset()


async def stalled(play: Play) -> None:
    """Browsers read nothing more, and come back: awake again, or over another network."""
    await play.warm_up()
    sleepers = play.viewers[::3]
    for viewer in sleepers:
        viewer.sleep()
    play.publisher.size, last = LARGE, play.publisher.latest + ENOUGH
    await play.until(lambda: play.publisher.latest >= last)
    play.publisher.size = 0

    async def are_cut() -> bool:
        cuts = sum(process.count("A client has read nothing for") for process in play.processes)
        return cuts == len(sleepers)

    await until_so(are_cut)
    play.note("noticed")
    for at, viewer in enumerate(sleepers):
        if at % 2:
            viewer.wake()
        else:
            viewer.move()
    await play.healed()
    await play.finish()
    await expect_no_leftovers(play)
    play.expect_no_reset()


async def expect_no_leftovers(play: Play) -> None:
    """Every process holds the streams that there are, and no other."""

    async def are_counted() -> bool:
        states = [await process.state() for process in play.processes]
        return bool(sum(state["streams"] for state in states) == len(play.viewers))

    await until_so(are_counted)
