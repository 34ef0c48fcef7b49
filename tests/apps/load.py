"""The app that is treated badly: large events and fragments, and a look at what it holds."""

import asyncio
import gc
import os
import sys
import time
from collections import Counter
from pathlib import Path

from quart import Quart, Response, request

from quart_sse import SSE
from quart_sse.broker.redis import RedisBroker
from quart_sse.broker.redis.link import MAX_CALLS
from quart_sse.hub.connection import Connection
from quart_sse.wiring import Services

app = Quart(__name__)
app.secret_key = "for tests only"
sse = SSE(app)
rooms = sse.channel("rooms", "/rooms/<int:number>", public=True)
guarded = sse.channel("guarded", "/guarded/<int:number>")
#: Number of a room -> its last state, and how often that was rendered.
states: Counter[int] = Counter()
renders: Counter[int] = Counter()
#: Changes of a storm between two pauses.
BURST = 5
#: Turns of the event loop that a look into a database takes.
TURNS = 5


@sse.identity
async def who() -> str | None:
    """Believe what the cookie says."""
    return request.cookies.get("who")


@guarded.authorize
async def may_enter(number: int) -> bool:
    """Let in everybody, after a while in which others have their turn."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
    return number >= 0


@rooms.fragment("list")
async def room(number: int) -> str:
    """Show a room's state, and count that; what ``SIZE`` says fills it up."""
    renders[number] += 1
    return f"<b>{states[number]}</b>" + "x" * int(os.environ.get("SIZE", "0"))


@rooms.fragment("people", presence=True)
async def people(number: int) -> str:
    """Show who is here."""
    here = await rooms.topic(number=number).presence()
    return f"<i>{here.people}</i>"


@app.post("/rooms/<int:number>/events/<int:first>")
async def say(number: int, first: int) -> Response:
    """Publish events that tell when that was: ``?count=`` of them, of ``?size=`` bytes."""
    size = request.args.get("size", 0, type=int)
    for event in range(first, first + request.args.get("count", 1, type=int)):
        text = f"{event} {time.monotonic_ns()} "
        await rooms.topic(number=number).publish("said", text.ljust(size, "x"))
    return Response(status=204)


@app.post("/rooms/<int:number>/changes")
async def change(number: int) -> Response:
    """Change the list ``?count=`` times; after every ``BURST`` of them comes a pause."""
    pause = request.args.get("pause", 0.0, type=float)
    for change in range(1, request.args.get("count", 1, type=int) + 1):
        states[number] += 1
        await rooms.topic(number=number).refresh("list")
        await asyncio.sleep(0 if change % BURST else pause)
    return Response(status=204)


@app.get("/rooms/<int:number>/renders")
async def count_renders(number: int) -> dict[str, int]:
    """Tell how often the list was rendered."""
    return {"renders": renders[number], "state": states[number]}


@app.get("/ping")
async def ping() -> str:
    """Be a plain view."""
    return "pong"


def pending(connection: Connection) -> int:
    """Return the bytes that wait for a client to take what came before."""
    return sum(map(len, [*connection._pending.values(), *connection._ahead]))


def memory() -> int:
    """Return the bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def idle_calls(state: Services) -> int:
    """Return how many connections wait for calls to Redis: as many as there ever were at once."""
    link = getattr(state.broker.inner, "_link", None)
    if link is None:
        return 0
    pools = [lane.pool for lane in link._lanes.values()]
    idle = sum(bool(each.is_connected) for pool in pools for each in pool._available_connections)
    assert idle <= MAX_CALLS
    return idle


def wanted(state: Services) -> int:
    """Return how many topics the process has subscribed to at Redis."""
    broker = state.broker.inner
    return len(broker._listener._wanted) if isinstance(broker, RedisBroker) else 0


@app.get("/held")
async def held() -> dict[str, int]:
    """Tell what this process holds."""
    gc.collect()
    state = app.extensions["quart_sse"]
    assert isinstance(state, Services)
    hub, groups = state.hub, state.hub._groups
    return {
        "connections": len(state.connections),
        "groups": len(groups._shared) + len(groups._of) + len(groups._joining),
        "topics": len(hub.subscribers),
        "fragments": sum(len(each._shared) for each in hub._roots.values()),
        "owners": len(state.connections._by_owner),
        "departed": len(state.presence._members._departed),
        "wanted": wanted(state),
        "present": len(getattr(state.broker, "_present", ())),
        "pending": sum(map(pending, state.connections)),
        "tasks": len(asyncio.all_tasks()),
        "files": len(os.listdir("/dev/fd")) - idle_calls(state),
        "memory": memory(),
        "blocks": sys.getallocatedblocks(),
    }
