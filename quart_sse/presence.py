"""Who is here: which connections listen to a topic, over all processes."""

from dataclasses import dataclass

from .broker import Kind, Message
from .connection import Connection
from .errors import BrokerUnavailable
from .position import ZERO
from .state import State


@dataclass(frozen=True, slots=True)
class Presence:
    """Who is present on a topic."""

    people: int  #: different identities; anonymous visitors are told apart by browser
    connections: int  #: streams; a browser's tabs share one, where they have our script
    identities: frozenset[str]  #: those that the application gave; anonymous ones are not here


async def look(state: State, topic: str) -> Presence:
    """Return who is present on a topic; of this process alone, while the broker is away."""
    try:
        members = await state.broker.present(topic)
    except BrokerUnavailable:
        members = {connection.id: _who(connection) for connection in state.hub.listeners(topic)}
    who = set(members.values())
    named = frozenset(name[1:] for name in who if name.startswith("+"))
    return Presence(len(who), len(members), named)


def _who(connection: Connection) -> str:
    # "+" marks an identity, so that no identity can pass for an anonymous browser.
    if connection.identity is not None:
        return f"+{connection.identity}"
    return f"-{connection.browser or connection.id}"


def _watched(state: State, connection: Connection) -> dict[str, list[str]]:
    """Return topic -> fragments that show who is present, for the topics that have any."""
    watched = {}
    for topic in connection.subscription:
        channel = state.channel_of(topic)
        specs = channel.specs.values() if channel is not None else ()
        watched[topic] = [spec.name for spec in specs if spec.presence]
    return watched


async def enter(state: State, connection: Connection) -> None:
    """Note that a connection is present on its topics."""
    for topic, fragments in _watched(state, connection).items():
        await state.broker.enter(topic, {connection.id: _who(connection)})
        await _refresh(state, topic, fragments)


async def announce(state: State) -> None:
    """Say again who is here, for a broker that forgets those of whom it hears no more."""
    topics: dict[str, dict[str, str]] = {}
    for connection in state.hub.connections.values():
        for topic in connection.subscription:
            topics.setdefault(topic, {})[connection.id] = _who(connection)
    for topic, members in topics.items():
        await state.broker.enter(topic, members)


def leave(state: State, connection: Connection, now: float) -> None:
    """Note that a connection has gone; it counts for a while longer, for a reload is no leaving."""
    state.departed.append((now + state.config.presence_linger, connection))


async def sweep(state: State, now: float) -> None:
    """Let those no longer count who left long enough ago."""
    while state.departed and state.departed[0][0] <= now:
        _, connection = state.departed.popleft()
        for topic, fragments in _watched(state, connection).items():
            await state.broker.exit(topic, connection.id)
            await _refresh(state, topic, fragments)


async def _refresh(state: State, topic: str, fragments: list[str]) -> None:
    channel = state.channel_of(topic)
    for fragment in fragments:
        assert channel is not None  # it declared the fragment
        message = Message(Kind.REFRESH, ZERO, topic, fragment)
        await state.broker.publish(message, channel.keep(state.config))
