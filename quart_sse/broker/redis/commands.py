"""Build the broker's commands to Redis, and parse the answers, without any I/O.

Any link to Redis can therefore use them, awaited or blocking.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from ...wire import Id
from ..messages import Keep, Kind, Message
from ..replay import Start
from . import payload
from .script import Script, ScriptCall

#: Lifetime of a presence entry that its process does not renew, in milliseconds.
PRESENT_MS = 60_000
#: Most connections that one call names: a script keeps all others waiting while it runs.
MOST_MEMBERS = 500
#: Most arguments in one round trip; each call has two beside its connections.
MOST_OF_TRIP = 5_000
#: Asks which server this is and whether it may evict keys; :func:`read_info` parses the answer.
INFO = ("INFO",)

Item = TypeVar("Item")
TopicCall = tuple[str, ScriptCall]  #: a topic, and a call about it

_PUBLISH, _CHANGE, _RESUME = (Script("prelude", name) for name in ("publish", "change", "resume"))
_PRESENT = Script("present")


class Names:
    """Names of an app's keys and pub/sub channels.

    Args:
        prefix: Prefix of all names; apps with different prefixes do not meet.
        database: Number of the database. Each has its own keys, but all share the channels.
    """

    def __init__(self, prefix: str, database: int = 0) -> None:
        # In braces, so that all keys are in one slot of a cluster.
        self._keys = f"{{{prefix}:{payload.FORMAT}}}"
        channels = f"{self._keys}{database}" if database else self._keys
        self._channels = f"{channels}:"
        self.service: str = f"{channels}!"  #: the channel of messages to every process

    def key(self, kind: str, topic: str = "") -> str:
        """Return the name of a key.

        Args:
            kind: What the key holds, such as ``"events"``.
            topic: The topic's name; "" for a key of no topic.
        """
        return f"{self._keys}:{kind}:{topic}" if topic else f"{self._keys}:{kind}"

    def channel(self, topic: str) -> str:
        """Return the pub/sub channel of a topic; "" stands for messages to every process."""
        return f"{self._channels}{topic}" if topic else self.service

    def topic_of(self, channel: str) -> str:
        """Return the topic of a pub/sub channel; "" for messages to every process."""
        return "" if channel == self.service else channel.removeprefix(self._channels)


class IdRequest(NamedTuple):
    """The arguments with which a script takes the next id of the order."""

    new_epoch: str  #: name of the epoch that begins if the data set is gone
    replid: str = ""  #: replication id of the server; "" if it is not known
    #: whether an epoch also begins if the data set has another replication id
    compare: bool = False
    clock_offset_ms: int = 0  #: added to the server's clock, in milliseconds; for tests


def _prelude(names: Names, request: IdRequest) -> tuple[list[str], list[Any]]:
    """Return the first keys and arguments of every script that takes an id."""
    keys = [names.key("last"), names.key("epoch"), names.key("replid")]
    compare = "compare" if request.compare else ""
    return keys, [request.clock_offset_ms, request.new_epoch, request.replid, compare]


# -- publishing ------------------------------------------------------------------------------------


def publish(names: Names, request: IdRequest, message: Message, keep: Keep) -> ScriptCall:
    """Return the call that publishes a message; :func:`read_published` parses the answer.

    Args:
        names: Names of keys and channels.
        request: Takes the message's id.
        message: What to publish; its id is ignored.
        keep: How the topic's history is kept.
    """
    topic = message.topic
    keys, arguments = _prelude(names, request)
    arguments += [names.channel(topic), message.kind.value, payload.write(message)]
    ttl_ms = int(keep.ttl * 1000)
    if message.kind in (Kind.REFRESH, Kind.PUSH):
        keys += [names.key("fragments", topic), names.key("tip", topic)]
        return ScriptCall(_CHANGE, keys, [*arguments, ttl_ms, message.name])
    keys += [names.key("events", topic), names.key("tip", topic)]
    return ScriptCall(_PUBLISH, keys, [*arguments, keep.events, ttl_ms])


def read_published(answer: Sequence[bytes]) -> tuple[str, Id]:
    """Return the epoch and the id of a published message.

    Raises:
        ValueError: If the answer is not one of the script's.
    """
    epoch, id = answer
    return epoch.decode(), Id.parse(id.decode())


# -- resuming --------------------------------------------------------------------------------------


class Snapshot(NamedTuple):
    """The histories of some topics at one moment, not parsed yet."""

    epoch: str
    id: Id  #: the snapshot's place in the order
    topics: list[
        Any
    ]  #: arguments for :meth:`payload.Reader.past`, one list for each topic of the call


def resume(
    names: Names, request: IdRequest, starts: Mapping[str, Start] | None = None, most: int = 0
) -> ScriptCall:
    """Return the call that takes a snapshot of topics; :func:`read_snapshot` parses the answer.

    Args:
        names: Names of keys.
        request: Takes the snapshot's id.
        starts: Topic -> where it starts; None asks for the newest position alone.
        most: Most events of one topic.
    """
    keys, arguments = _prelude(names, request)
    arguments.append(most)
    for topic, start in (starts or {}).items():
        keys += [names.key(kind, topic) for kind in ("events", "tip", "fragments")]
        position = None if start.now or not start.keep.events else start.position
        arguments += ["", ""] if position is None else [position.epoch, str(position.events)]
    return ScriptCall(_RESUME, keys, arguments)


def read_snapshot(answer: Sequence[Any]) -> Snapshot:
    """Return the snapshot in an answer.

    Raises:
        ValueError: If the answer is not one of the script's.
    """
    epoch, id, *topics = answer
    return Snapshot(epoch.decode(), Id.parse(id.decode()), topics)


def kept(names: Names, topic: str, most: int) -> tuple[str, ...]:
    """Return the command that asks for a topic's newest events, the newest first."""
    return ("XREVRANGE", names.key("events", topic), "+", "-", "COUNT", str(most))


# -- texts -----------------------------------------------------------------------------------------


def keep_text(names: Names, reference: str, text: str, seconds: float) -> tuple[str, ...]:
    """Return the command that keeps a text.

    Args:
        names: Names of keys.
        reference: What the text is kept under.
        text: The text.
        seconds: How long to keep it at least, in seconds.
    """
    return ("SET", names.key("text", reference), text, "EX", str(int(seconds) + 1))


def kept_text(names: Names, reference: str) -> tuple[str, ...]:
    """Return the command that asks for a text; :func:`read_text` parses the answer."""
    return ("GET", names.key("text", reference))


def read_text(answer: bytes | None) -> str | None:
    """Return a kept text; None if it has expired or was never kept."""
    # A text that was damaged no longer matches its reference, which is all that must fail.
    return None if answer is None else answer.decode(errors="replace")


# -- presence --------------------------------------------------------------------------------------


def enter(names: Names, members: Mapping[str, Mapping[str, str]]) -> list[TopicCall]:
    """Return the calls that record that connections are present, or renew the records.

    The answer of each is the number of entries of its topic that have expired.

    Args:
        names: Names of keys.
        members: Topic -> connection id -> its identity; the topic "" is the list of processes.
    """
    calls = []
    for topic, entering in members.items():
        for some in _parts(list(entering.items())):
            texts = [text for pair in some for text in pair]
            calls.append((topic, _presence(names, topic, len(some), *texts)))
    return calls


def exit(names: Names, members: Mapping[str, Collection[str]]) -> list[TopicCall]:
    """Return the calls that record that connections have left topics."""
    return [
        (topic, _presence(names, topic, 0, *some))
        for topic, leaving in members.items()
        for some in _parts(list(leaving))
    ]


def _parts(items: list[Item]) -> list[list[Item]]:
    return [items[begin : begin + MOST_MEMBERS] for begin in range(0, len(items), MOST_MEMBERS)]


def trips(calls: Iterable[TopicCall]) -> Iterator[list[TopicCall]]:
    """Yield the calls of one round trip after the other, each of a bounded size."""
    trip: list[TopicCall] = []
    size = 0
    for topic, call in calls:
        if trip and size + len(call.arguments) > MOST_OF_TRIP:
            yield trip
            trip, size = [], 0
        trip.append((topic, call))
        size += len(call.arguments)
    if trip:
        yield trip


def present(names: Names, topic: str) -> ScriptCall:
    """Return the call that asks who is present; :func:`read_members` parses the answer."""
    return _presence(names, topic, 0)


def _presence(names: Names, topic: str, entering: int, *members: str) -> ScriptCall:
    keys = [names.key("expiries", topic), names.key("members", topic)]
    return ScriptCall(_PRESENT, keys, [PRESENT_MS, entering, *members])


def read_members(answer: Sequence[bytes]) -> dict[str, str]:
    """Return connection id -> identity for all that are present.

    Raises:
        ValueError: If the answer is not one of the script's.
    """
    texts = [value.decode(errors="replace") for value in answer]
    return dict(zip(texts[::2], texts[1::2], strict=True))


# -- the server ------------------------------------------------------------------------------------


class ServerInfo(NamedTuple):
    """Facts about a server."""

    replid: str  #: replication id; another one means that published messages may be lost
    policy: str  #: its ``maxmemory-policy``
    may_evict: bool  #: whether it may evict keys, and so lose history


def read_info(answer: bytes) -> ServerInfo:
    """Return the facts in the answer to :data:`INFO`; a missing one counts as harmless."""
    lines = (line.partition(":") for line in answer.decode().splitlines())
    info = {name: value.strip() for name, mark, value in lines if mark}
    policy = info.get("maxmemory_policy", "noeviction")
    may_evict = policy != "noeviction" and info.get("maxmemory") != "0"
    return ServerInfo(info.get("master_replid", ""), policy, may_evict)
