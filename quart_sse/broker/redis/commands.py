"""Build the commands that Redis is sent and read its answers, without any I/O.

So every way of talking to Redis can use them, awaited or not.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ...position import Id
from ..messages import Keep, Kind, Message
from ..replay import Start
from . import payload
from .script import Script, ScriptCall

#: Lifetime of a presence entry that its process does not renew, in milliseconds.
PRESENT_MS = 60_000
#: Asks which server this is and what it keeps; :func:`read_info` reads the answer.
INFO = ("INFO",)


_PUBLISH, _CHANGE, _RESUME = (Script("prelude", name) for name in ("publish", "change", "resume"))
_PRESENT = Script("present")


class Names:
    """Names of an app's keys and pub/sub channels.

    Args:
        prefix: Of all of them; apps with different prefixes do not meet.
        database: The number of the database. Each has its own keys, but all share the channels.
    """

    def __init__(self, prefix: str, database: int = 0) -> None:
        # In braces, so that all keys are in one slot of a cluster.
        self._keys = f"{{{prefix}:{payload.FORMAT}}}"
        channels = f"{self._keys}{database}" if database else self._keys
        self._channels = f"{channels}:"
        self.service = f"{channels}!"  #: the channel of messages to every process

    def key(self, kind: str, topic: str = "") -> str:
        """Return the name of a key.

        Args:
            kind: What is kept under it, such as ``"events"``.
            topic: The topic whose key it is; "" for what belongs to no topic.
        """
        return f"{self._keys}:{kind}:{topic}" if topic else f"{self._keys}:{kind}"

    def channel(self, topic: str) -> str:
        """Return the pub/sub channel of a topic; "" stands for messages to every process."""
        return f"{self._channels}{topic}" if topic else self.service

    def topic_of(self, channel: str) -> str:
        """Return the topic of a pub/sub channel; "" for messages to every process."""
        return "" if channel == self.service else channel.removeprefix(self._channels)


class IdRequest(NamedTuple):
    """What every script needs that takes an id."""

    new_epoch: str  #: the epoch's name, should the script have to begin another one
    replid: str = ""  #: the server's replication id; "" if not known
    #: whether to begin another epoch if the data set was made under another replication id
    compare: bool = False
    clock_offset_ms: int = 0  #: added to the server's clock, for tests


def _prelude(names: Names, request: IdRequest) -> tuple[list[str], list[Any]]:
    """Return the keys and arguments that begin those of every script which takes an id."""
    keys = [names.key("last"), names.key("epoch"), names.key("replid")]
    compare = "compare" if request.compare else ""
    return keys, [request.clock_offset_ms, request.new_epoch, request.replid, compare]


# -- publishing ------------------------------------------------------------------------------------


def publish(names: Names, request: IdRequest, message: Message, keep: Keep) -> ScriptCall:
    """Return the call that publishes a message; :func:`read_published` reads the answer.

    Args:
        names: Of keys and channels.
        request: How the message gets its id.
        message: What to publish; its own id is ignored.
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
    """Return the epoch and the id of a message that was published.

    Raises:
        ValueError: If the answer is not one of the script's.
    """
    epoch, id = answer
    return epoch.decode(), Id.parse(id.decode())


# -- resuming --------------------------------------------------------------------------------------


class Snapshot(NamedTuple):
    """What Redis has kept of some topics at one moment."""

    epoch: str
    id: Id  #: of the moment
    topics: list[Any]  #: arguments for :meth:`payload.Reader.past`, in the order of the question


def resume(
    names: Names, request: IdRequest, starts: Mapping[str, Start] | None = None, most: int = 0
) -> ScriptCall:
    """Return the call that takes a snapshot of topics; :func:`read_snapshot` reads the answer.

    Args:
        names: Of keys.
        request: How the snapshot gets its id.
        starts: Topic -> where it starts; none if only the order's position is wanted.
        most: Events of one topic at most.
    """
    keys, arguments = _prelude(names, request)
    arguments.append(most)
    for topic, start in (starts or {}).items():
        keys += [names.key(kind, topic) for kind in ("events", "tip", "fragments")]
        position = None if start.now or not start.keep.events else start.position
        arguments += ["", ""] if position is None else [position.epoch, str(position.events)]
    return ScriptCall(_RESUME, keys, arguments)


def read_snapshot(answer: Sequence[Any]) -> Snapshot:
    """Return the snapshot that an answer holds.

    Raises:
        ValueError: If the answer is not one of the script's.
    """
    epoch, id, *topics = answer
    return Snapshot(epoch.decode(), Id.parse(id.decode()), topics)


# -- texts -----------------------------------------------------------------------------------------


def keep_text(names: Names, reference: str, text: str, seconds: float) -> tuple[str, ...]:
    """Return the command that keeps a text for some seconds."""
    return ("SET", names.key("text", reference), text, "EX", str(int(seconds) + 1))


def kept_text(names: Names, reference: str) -> tuple[str, ...]:
    """Return the command that asks for a text; :func:`read_text` reads the answer."""
    return ("GET", names.key("text", reference))


def read_text(answer: bytes | None) -> str | None:
    """Return a text that was kept; None if it is not known, or no longer."""
    # What is no text fails the check against its reference, and nothing else.
    return None if answer is None else answer.decode(errors="replace")


# -- presence --------------------------------------------------------------------------------------


def enter(names: Names, topic: str, members: Mapping[str, str]) -> ScriptCall:
    """Return the call that notes connections as present on a topic.

    Args:
        names: Of keys.
        topic: "" for the list of processes.
        members: Connection -> its identity.
    """
    pairs = [text for pair in members.items() for text in pair]
    return _presence(names, topic, len(members), *pairs)


def exit(names: Names, topic: str, member: str) -> ScriptCall:
    """Return the call that notes that a connection has left a topic."""
    return _presence(names, topic, 0, member)


def present(names: Names, topic: str) -> ScriptCall:
    """Return the call that asks who is present; :func:`read_members` reads the answer."""
    return _presence(names, topic, 0)


def _presence(names: Names, topic: str, entering: int, *members: str) -> ScriptCall:
    keys = [names.key("expiries", topic), names.key("members", topic)]
    return ScriptCall(_PRESENT, keys, [PRESENT_MS, entering, *members])


def read_members(answer: Sequence[bytes]) -> dict[str, str]:
    """Return connection -> identity, of all that are present.

    Raises:
        ValueError: If the answer is not one of the script's.
    """
    texts = [value.decode(errors="replace") for value in answer]
    return dict(zip(texts[::2], texts[1::2], strict=True))


# -- the server ------------------------------------------------------------------------------------


class ServerInfo(NamedTuple):
    """What a server says of itself."""

    replid: str  #: its replication id; another one means that it may know less than was published
    policy: str  #: its ``maxmemory-policy``
    may_evict: bool  #: whether it may evict keys, and history with them


def read_info(answer: bytes) -> ServerInfo:
    """Return what the answer to :data:`INFO` says; what is missing counts as harmless."""
    lines = (line.partition(":") for line in answer.decode().splitlines())
    info = {name: value.strip() for name, mark, value in lines if mark}
    policy = info.get("maxmemory_policy", "noeviction")
    may_evict = policy != "noeviction" and info.get("maxmemory") != "0"
    return ServerInfo(info.get("master_replid", ""), policy, may_evict)
