"""Scenarios in which the way from web processes to Redis fails."""

from tests.support.servers import until_so

from .play import Play, are_in


async def partition(play: Play) -> None:
    """One process cannot reach Redis for a while: connections end, and new ones are refused."""
    await play.warm_up()
    lonely = play.processes[0]
    await lonely.wire.refuse()
    await are_in("away", [lonely])
    play.note("noticed")
    await play.last(play.pace.outage)
    await lonely.wire.listen()
    await play.recover()
    play.expect_no_reset()
    play.expect_outages([lonely])


async def newcomers(play: Play) -> None:
    """No process can reach Redis, and meanwhile everybody comes: pages, and streams again."""
    await play.warm_up()
    for process in play.processes:
        await process.wire.refuse()
    await are_in("away", play.processes)
    play.balancer.cut()
    await play.until(lambda: all("broker-away" in viewer.told for viewer in play.viewers))
    play.note("told")
    await play.last(play.pace.outage)
    for process in play.processes:
        await process.wire.listen()
    await play.recover()
    play.expect_no_reset()
    play.expect_outages(play.processes)
    for process in play.processes:
        lines = process.lines
        play.outcome.expect(len(lines) == 1, f"the log says it once, and not {lines}")


async def flapping(play: Play) -> None:
    """Connections to Redis are cut again and again, and so are streams; calls are slow."""
    await play.warm_up()
    cuts = 4 if play.pace.is_brief else 12
    for process in play.processes:
        process.wire.delay = DELAY
    for _ in range(cuts):
        for process in play.processes:
            process.wire.cut()
        await are_in("away", play.processes)
        await are_in("ready", play.processes)
        for viewer in play.viewers[::2]:
            viewer.leave()
        await play.until_seen(play.now())
    await play.healed()
    await play.finish()
    play.expect_no_reset()
    play.expect_outages(play.processes, cuts)


#: Seconds that calls take then, each way.
DELAY = 0.05


async def deaf(play: Play) -> None:
    """What comes over one process's subscription is lost; the connection stays open."""
    await play.warm_up()
    play.processes[0].wire.swallow(subscription=True)
    await heal_by_itself(play)


async def dead(play: Play) -> None:
    """All that one process and Redis say to each other is lost; the connections stay open."""
    await play.warm_up()
    play.processes[0].wire.swallow(up=True)
    await heal_by_itself(play)


async def mute(play: Play) -> None:
    """What Redis answers one process is lost, and what it is asked is not."""
    await play.warm_up()
    play.processes[0].wire.swallow()
    await heal_by_itself(play)


async def heal_by_itself(play: Play) -> None:
    """Wait until the process that hears nothing has noticed it and made up for it."""
    lost = play.processes[0]

    async def has_noticed() -> bool:
        return lost.count("No message from Redis") > 0

    await until_so(has_noticed)
    play.note("noticed")
    await play.healed(since=play.begun)
    await play.finish()
    await are_in("ready", play.processes)
    play.expect_no_reset()
    play.expect_outages([lost])
