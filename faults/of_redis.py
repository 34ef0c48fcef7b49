"""Scenarios in which Redis itself fails."""

import re
import signal

from tests.support.network import Wire
from tests.support.redis_server import RedisServer
from tests.support.servers import free_port, until_so

from .play import ANSWER, Play, are_in

#: Bytes of an event that fills the buffer of a process that reads nothing.
LARGE = 8000


# -- the server ------------------------------------------------------------------------------------


async def restart_empty(play: Play) -> None:
    """Redis crashes and comes back without its data."""
    await crash(play)


async def restart_kept(play: Play) -> None:
    """Redis crashes and comes back with its data (appendonly)."""
    await play.redis.ask("CONFIG", "SET", "appendonly", "yes")
    play.redis.options += ["--appendonly", "yes"]
    await crash(play)


async def crash(play: Play) -> None:
    """Kill Redis, let it be away for a while, and start it again."""
    await play.warm_up()
    await play.redis.kill()
    await are_in("away", play.processes)
    play.note("noticed")
    await play.last(play.pace.outage)
    await play.redis.start()
    await play.recover()
    play.expect_resets()
    play.expect_outages(play.processes)


async def loading(play: Play) -> None:
    """Redis crashes and takes a while to load its data (``LOADING``)."""
    await play.redis.ask("EVAL", FILL, "0")
    await play.warm_up()
    await play.redis.ask("SAVE")
    await play.redis.kill()
    delay_us = int(play.pace.outage * 1e6 / FILLERS)
    play.redis.options += ["--key-load-delay", str(delay_us)]
    play.redis.options += ["--loading-process-events-interval-bytes", "1024"]
    await play.redis.start()  # waits until the data are there
    play.note("loaded")
    await play.recover()
    told = {attempt.error for attempt in play.publisher.attempts}
    is_told = any("loading the dataset" in error for error in told)
    play.outcome.expect(is_told, "publishers are told that Redis loads its data")
    play.expect_resets()
    play.expect_outages(play.processes)


#: Keys that have to be loaded first, and what makes them.
FILLERS = 1000
FILL = f"for i = 1, {FILLERS} do redis.call('SET', 'filler:' .. i, string.rep('x', 50)) end"


async def frozen(play: Play) -> None:
    """Redis does nothing for a while and keeps its connections (SIGSTOP)."""
    await play.warm_up()
    play.redis.freeze()
    await are_in("away", play.processes)
    play.note("noticed")
    await play.last(max(play.pace.outage, ANSWER))  # longer than a publisher may wait
    play.redis.thaw()
    await play.recover()
    play.expect_no_reset()
    play.expect_outages(play.processes)


async def overrun(play: Play) -> None:
    """A process reads too little, so Redis ends its subscription (client-output-buffer-limit)."""
    await play.redis.ask("CONFIG", "SET", "client-output-buffer-limit", "pubsub 64kb 0 0")
    await play.warm_up()
    slow, *others = play.processes
    play.balancer.ports.remove(slow.server.port)
    play.publisher.port = others[0].server.port
    await play.until_seen(play.now())
    before = await subscriptions(play.redis)
    slow.signal(signal.SIGSTOP)
    play.publisher.size = LARGE

    async def is_cut() -> bool:
        play.publisher.say()
        return not before <= await subscriptions(play.redis)

    await until_so(is_cut)
    play.note("noticed")
    play.publisher.size = 0
    slow.signal(signal.SIGCONT)
    await play.recover()
    play.expect_no_reset()
    play.expect_outages([slow])


async def subscriptions(redis: RedisServer) -> set[str]:
    """Return the ids of the connections over which Redis publishes."""
    return set(re.findall(r"^id=(\d+) ", await redis.ask("CLIENT", "LIST", "TYPE", "pubsub"), re.M))


# -- replicas --------------------------------------------------------------------------------------


async def replica_of(play: Play) -> tuple[RedisServer, Wire, int]:
    """Start a replica; returns it, the wire from its master, and its port."""
    await play.redis.ask("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    port = free_port()
    replica = await play.stage.redis("replica", "--port", str(port), "--bind", "127.0.0.1")
    wire = Wire(play.redis.socket)
    await play.stage.stack.enter_async_context(wire)
    await replica.ask("REPLICAOF", "127.0.0.1", str(wire.port))

    async def is_linked() -> bool:
        info = await replica.ask("INFO", "replication")
        return bool(info["master_link_status"] == "up")

    await until_so(is_linked)
    return replica, wire, port


async def promotion(play: Play) -> None:
    """Redis crashes; a replica that lags behind takes its place, and its address."""
    replica, wire, _ = await replica_of(play)
    await play.warm_up()
    wire.swallow()
    await play.until_seen(play.now())
    await play.redis.kill()
    play.begin()
    await take_over(play, replica)
    await play.recover()
    play.expect_resets()
    play.expect_outages(play.processes)


async def demotion(play: Play) -> None:
    """A replica takes the place of Redis, which becomes the replica; no connection ends."""
    replica, _, port = await replica_of(play)
    await play.warm_up()
    old = play.redis
    await take_over(play, replica)
    await old.ask("REPLICAOF", "127.0.0.1", str(port))
    await play.healed()
    await play.until(lambda: all(viewer.resets for viewer in play.viewers))
    play.note("noticed")
    await play.finish()
    await are_in("ready", play.processes)
    play.expect_resets()
    play.expect_outages(play.processes)


async def take_over(play: Play, replica: RedisServer) -> None:
    """Make a replica the master, to which the address leads whoever connects from now on."""
    await replica.ask("REPLICAOF", "NO", "ONE")
    play.redis = replica
    for process in play.processes:
        process.wire.target = replica.socket
