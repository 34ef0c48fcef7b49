"""Build the broker's commands to Redis, and parse the answers, without any I/O.

Any link to Redis can therefore use them, awaited or blocking.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from ...wire import Id
from ..messages import MOST_REFRESHES, Keep, Kind, Message
from ..replay import Start
from ..texts import FORGET, Claim, size_of
from ..who import Moves
from . import payload
from .script import Script, ScriptCall

#: Lifetime of a presence entry that its process does not renew, in milliseconds.
PRESENT_MS = 60_000
#: Most presence entries of one call.
MEMBERS = 500
#: Most arguments in one round trip, to which each call adds ten for its own work. That is some
#: milliseconds, for Redis runs all calls of a trip before it turns to other clients.
MOST_OF_TRIP, CALL = 1_500, 10
#: Asks which server this is and whether it may evict keys; :func:`read_info` parses the answer.
INFO = ("INFO",)

#: Messages that change a fragment.
_CHANGES = (Kind.REFRESH, Kind.PUSH)

Item = TypeVar("Item")
TopicCall = tuple[str, ScriptCall]  #: a topic, and a call about it

_PUBLISH, _CHANGE = (Script("prelude", "changing", name) for name in ("publish", "change"))
_RESUME = Script("prelude", "resume")
_ENTER, _PRESENT, _KEEP = (Script(name) for name in ("enter", "present", "keep"))


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


def publish(
    names: Names,
    request: IdRequest,
    message: Message,
    keep: Keep,
    refreshes: Iterable[tuple[Message, Keep]] = (),
) -> ScriptCall:
    """Return the call that publishes a message; :func:`read_published` parses the answer.

    Args:
        names: Names of keys and channels.
        request: Takes the message's id.
        message: What to publish; its id is ignored.
        keep: How the topic's history is kept.
        refreshes: The refreshes that the same script records, if the message is an event.
    """
    topic = message.topic
    keys, arguments = _prelude(names, request)
    if message.kind in _CHANGES:
        return ScriptCall(_CHANGE, *_with_change(names, keys, arguments, message, keep))
    keys += [names.key("events", topic), names.key("tip", topic)]
    arguments += [names.channel(topic), message.kind.value, payload.write(message)]
    arguments += [keep.events, int(keep.ttl * 1000)]
    for each in refreshes:
        _with_change(names, keys, arguments, *each)
    return ScriptCall(_PUBLISH, keys, arguments)


def _with_change(
    names: Names, keys: list[str], arguments: list[Any], message: Message, keep: Keep
) -> tuple[list[str], list[Any]]:
    """Return keys and arguments of a script, with those of a change at their ends."""
    topic = message.topic
    keys += [names.key("fragments", topic), names.key("tip", topic)]
    arguments += [names.channel(topic), message.kind.value, payload.write(message)]
    arguments += [int(keep.ttl * 1000), message.name, message.item]
    return keys, arguments


def publish_all(
    names: Names, request: IdRequest, messages: Iterable[tuple[Message, Keep]]
) -> list[TopicCall]:
    """Return the calls that publish several messages, for :func:`trips`.

    An event and the refreshes behind it are one call, so that none is recorded without the others.
    """
    groups: list[list[tuple[Message, Keep]]] = []
    for each in messages:
        follows = groups and groups[-1][0][0].kind is Kind.EVENT and each[0].kind is Kind.REFRESH
        if follows and len(groups[-1]) <= MOST_REFRESHES:
            groups[-1].append(each)
        else:
            groups.append([each])
    return [
        (first[0].topic, publish(names, request, *first, refreshes)) for first, *refreshes in groups
    ]


def read_published(answer: Sequence[bytes]) -> tuple[str, list[Id]]:
    """Return the epoch, and the ids of the messages that one call has published.

    Raises:
        ValueError: If the answer is not one of the script's.
    """
    epoch, id, *ids = answer
    return epoch.decode(), [Id.parse(each.decode()) for each in (id, *ids)]


# -- resuming --------------------------------------------------------------------------------------


class Snapshot(NamedTuple):
    """The histories of some topics at one moment, not parsed yet."""

    epoch: str
    id: Id  #: the snapshot's place in the order
    #: arguments for :meth:`payload.Reader.past`, one list for each topic of the answer
    topics: list[Any]


class Portion(NamedTuple):
    """What one call of a resume may answer, so that it is over in some milliseconds.

    No topic's record of changes is read that is larger; its changes then count as unknown.
    """

    events: int = 256  #: most events; 0 asks only whether there are any
    bytes: int = 1 << 19  #: size of the events, in bytes; the last one may exceed it
    fragments: int = 1000  #: most changes of fragments


#: The portion of most calls.
PORTION = Portion()
#: Most events of one page of a history, few because each may have a megabyte.
PAGE = 8
#: Most topics of one call of a resume.
TOPICS = 128


def resume(
    names: Names,
    request: IdRequest,
    starts: Iterable[tuple[str, Start]] = (),
    portion: Portion = PORTION,
) -> ScriptCall:
    """Return the call that takes a snapshot of topics; :func:`read_snapshot` parses the answer.

    It answers for as many of the first topics as the portion allows, and for one at least.

    Args:
        names: Names of keys.
        request: Takes the snapshot's id.
        starts: Topics, at most :data:`TOPICS`, and where they start; none ask for the newest
            position alone.
        portion: What the call may answer.
    """
    keys, arguments = _prelude(names, request)
    arguments += portion
    for topic, start in starts:
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


def kept(names: Names, topic: str, most: int, before: str = "") -> tuple[str, ...]:
    """Return the command that asks for some of a topic's newest events, the newest first.

    Args:
        names: Names of keys.
        topic: The topic's name.
        most: Most events, at most :data:`PAGE`.
        before: Id of an event, if only older ones are wanted.
    """
    end = f"({before}" if before else "+"
    return ("XREVRANGE", names.key("events", topic), end, "-", "COUNT", str(most))


# -- texts -----------------------------------------------------------------------------------------


def keep_text(names: Names, reference: str, text: str, seconds: float, claim: Claim) -> ScriptCall:
    """Return the call that keeps a text; its answer is 0 if there is no room.

    Args:
        names: Names of keys.
        reference: What the text is kept under.
        text: The text.
        seconds: How long to keep it at least, in seconds.
        claim: For whom it is kept.
    """
    shelf, owner = claim
    keys = [names.key("text", reference)]
    keys += [names.key(kind) for kind in ("text-expiries", "text-claims", "text-bytes")]
    lifetime = int(seconds * 1000) + 1
    bounds = [shelf.key, shelf.most, owner, shelf.share]
    return ScriptCall(_KEEP, keys, [reference, text, lifetime, size_of(text), FORGET, *bounds])


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

    :func:`read_moves` parses the answer of each.

    Args:
        names: Names of keys.
        members: Topic -> connection id -> whom it counts as; the topic "" is the list of processes.
    """
    calls = []
    for topic, entering in members.items():
        for some in _parts(list(entering.items())):
            texts = [text for pair in some for text in pair]
            calls.append((topic, _enter(names, topic, len(some), *texts)))
    return calls


def exit(names: Names, members: Mapping[str, Collection[str]]) -> list[TopicCall]:
    """Return the calls that record that connections have left topics."""
    return [
        (topic, _enter(names, topic, 0, *some))
        for topic, leaving in members.items()
        for some in _parts(list(leaving))
    ]


def _enter(names: Names, topic: str, entering: int, *texts: str) -> ScriptCall:
    keys = [*_presence(names, topic), names.key("people", topic)]
    return ScriptCall(_ENTER, keys, [PRESENT_MS, entering, *texts])


def read_moves(moves: Moves, topic: str, answer: Sequence[Any]) -> None:
    """Add the answer to a call of :func:`enter` or :func:`exit` to what has changed.

    Raises:
        ValueError: If the answer is not one of the script's.
    """
    expired, showing, joined, left = answer
    moves.add(
        topic,
        is_expired=expired > 0,
        is_showing=showing > 0,
        joined=[value.decode(errors="replace") for value in joined],
        left=[value.decode(errors="replace") for value in left],
    )


def _parts(items: list[Item]) -> list[list[Item]]:
    return [items[begin : begin + MEMBERS] for begin in range(0, len(items), MEMBERS)]


def trips(calls: Iterable[TopicCall]) -> Iterator[list[TopicCall]]:
    """Yield the calls of one round trip after the other, each of a bounded size."""
    trip: list[TopicCall] = []
    size = 0
    for topic, call in calls:
        more = len(call.arguments) + CALL
        if trip and size + more > MOST_OF_TRIP:
            yield trip
            trip, size = [], 0
        trip.append((topic, call))
        size += more
    if trip:
        yield trip


def present(names: Names, topic: str, cursor: str = "0") -> ScriptCall:
    """Return the call that asks for some of those present; :func:`read_members` parses the answer.

    Args:
        names: Names of keys.
        topic: The topic's name; "" for the list of processes.
        cursor: What the answer before had, so that this one goes on there.
    """
    return ScriptCall(_PRESENT, _presence(names, topic), [cursor, MEMBERS])


def _presence(names: Names, topic: str) -> list[str]:
    return [names.key("expiries", topic), names.key("members", topic)]


def read_members(answer: Sequence[Any]) -> tuple[str, dict[str, str]]:
    """Return where to go on, "" at the end, and connection id -> whom it counts as, of some.

    Raises:
        ValueError: If the answer is not one of the script's.
    """
    cursor, members = answer
    texts = [value.decode(errors="replace") for value in members]
    return cursor.decode(), dict(zip(texts[::2], texts[1::2], strict=True))


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
