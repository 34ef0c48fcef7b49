"""Commands to Redis are built and answers parsed without any Redis."""

import re
from importlib.resources import files

import pytest

from quart_sse.broker import Claim, Keep, Kind, Message, Shelf, Start
from quart_sse.broker.messages import MOST_REFRESHES
from quart_sse.broker.redis import FORMAT, commands
from quart_sse.broker.redis.commands import MEMBERS, PORTION, IdRequest, Names
from quart_sse.broker.redis.script import ScriptCall
from quart_sse.broker.texts import FORGET, OVERHEAD
from quart_sse.wire.position import ZERO, Id, Position

NAMES = Names("app")
TAG = f"{{app:{FORMAT}}}"
REQUEST = IdRequest("next", "replid", clock_offset_ms=-5)
PRELUDE_KEYS = [f"{TAG}:last", f"{TAG}:epoch", f"{TAG}:replid"]
PRELUDE = [-5, "next", "replid", ""]
KEEP = Keep(events=7, ttl=1.5)
NEWS = f"{TAG}:news?id=1"
TOPIC = "news?id=1"


def a_message(kind: Kind, topic: str = TOPIC) -> Message:
    return Message(kind, ZERO, topic, "name", "data", 250, "a|page")


def source(name: str) -> str:
    folder = files("quart_sse.broker.redis") / "scripts"
    return (folder / f"{name}.lua").read_text("utf-8")


CALLS = [
    commands.publish(NAMES, REQUEST, a_message(Kind.EVENT), KEEP),
    commands.publish(NAMES, REQUEST, a_message(Kind.REFRESH), KEEP),
    commands.publish(NAMES, REQUEST, a_message(Kind.CONTROL, ""), KEEP),
    commands.resume(NAMES, REQUEST, [(TOPIC, Start(None, frozenset(), KEEP))]),
    *(call for _, call in commands.enter(NAMES, {TOPIC: {"c": "ada"}})),
    *(call for _, call in commands.exit(NAMES, {TOPIC: ["c"]})),
    commands.present(NAMES, ""),
    commands.keep_text(NAMES, "ref", "text", 1.5, Claim(Shelf.OPEN, "a")),
]


@pytest.mark.parametrize("call", CALLS)
def test_keys_are_in_one_slot_of_a_cluster(call: ScriptCall) -> None:
    """Every key of a script has the app's hash tag, and no other tag before it."""
    assert call.keys
    assert all(re.match(r"\{([^}]*)\}", key) for key in call.keys)
    assert {key[: key.index("}") + 1] for key in call.keys} == {TAG}


@pytest.mark.parametrize("call", CALLS)
def test_command_says_how_many_keys_there_are(call: ScriptCall) -> None:
    """The server takes that many for keys, and the rest for arguments."""
    name, sha, number, *rest = call.command

    assert (name, sha) == ("EVALSHA", call.script.sha)
    assert rest[:number] == call.keys
    assert rest[number:] == call.arguments
    assert call.load == ("SCRIPT", "LOAD", call.script.source)


def test_databases_share_keys_and_not_channels() -> None:
    """Pub/sub knows no databases, so the channels' names tell them apart."""
    other = Names("app", 3)

    assert other.key("events", "t") == NAMES.key("events", "t")
    assert (other.channel("t"), NAMES.channel("t")) == (f"{TAG}3:t", f"{TAG}:t")
    assert (other.service, NAMES.service) == (f"{TAG}3!", f"{TAG}!")


@pytest.mark.parametrize("topic", ["", "t", "news?id=1", "a:b!", "{x}"])
@pytest.mark.parametrize("database", [0, 3])
def test_topic_of_a_channel_is_the_one_that_it_was_made_of(topic: str, database: int) -> None:
    """Also a topic whose name has what separates parts of channels."""
    names = Names("app", database)

    assert names.topic_of(names.channel(topic)) == topic


def test_event_is_published_as_the_script_takes_it() -> None:
    """Keys and arguments are in the order that the script's first lines list."""
    call = commands.publish(NAMES, REQUEST, a_message(Kind.EVENT), KEEP)

    assert call.keys == [*PRELUDE_KEYS, f"{TAG}:events:{TOPIC}", f"{TAG}:tip:{TOPIC}"]
    assert call.arguments == [*PRELUDE, NEWS, "event", "name|250|a%7Cpage|data", 7, 1500]
    assert call.script.source == source("prelude") + source("changing") + source("publish")


@pytest.mark.parametrize("kind", [Kind.REFRESH, Kind.PUSH])
def test_change_is_published_as_the_script_takes_it(kind: Kind) -> None:
    """Keys and arguments are in the order that the script's first lines list."""
    call = commands.publish(NAMES, REQUEST, a_message(kind), KEEP)

    assert call.keys == [*PRELUDE_KEYS, f"{TAG}:fragments:{TOPIC}", f"{TAG}:tip:{TOPIC}"]
    payload = "name|250|a%7Cpage|data"
    assert call.arguments == [*PRELUDE, NEWS, kind.value, payload, 1500, "name", ""]
    assert call.script.source == source("prelude") + source("changing") + source("change")


def test_event_and_the_refreshes_behind_it_are_one_call() -> None:
    """Other messages are calls of their own, and so are refreshes beyond what one script may do."""
    event, refresh = (a_message(kind) for kind in (Kind.EVENT, Kind.REFRESH))
    kinds = [refresh, event, refresh, refresh, a_message(Kind.PUSH), refresh, event, event]
    calls = commands.publish_all(NAMES, REQUEST, [(each, KEEP) for each in kinds])

    assert [len(call.keys) for _, call in calls] == [5, 9, 5, 5, 5, 5]
    (_, both), change = calls[1], [NEWS, "refresh", "name|250|a%7Cpage|data", 1500, "name", ""]
    assert both.keys[5:7] == [f"{TAG}:fragments:{TOPIC}", f"{TAG}:tip:{TOPIC}"]
    assert both.arguments[9:] == [*change, *change]
    many = [(event, KEEP), *[(refresh, KEEP)] * (MOST_REFRESHES + 2)]
    assert [len(call.keys) for _, call in commands.publish_all(NAMES, REQUEST, many)] == [
        5 + 2 * MOST_REFRESHES,
        5,
        5,
    ]


def test_message_to_every_process_has_no_topic_in_its_keys() -> None:
    """It goes over the channel that every process listens to."""
    call = commands.publish(NAMES, REQUEST, a_message(Kind.CONTROL, ""), KEEP)

    assert call.keys == [*PRELUDE_KEYS, f"{TAG}:events", f"{TAG}:tip"]
    assert call.arguments[4:6] == [f"{TAG}!", "control"]


def test_resume_asks_for_events_of_topics_that_have_some() -> None:
    """Topics without history or position, and those that start now, ask for changes alone."""
    position = Position("epoch", Id(9, 1), Id(8, 0))
    none: frozenset[str] = frozenset()
    starts = {
        "a": Start(position, none, KEEP),
        "b": Start(None, none, KEEP),
        "c": Start(position, none, Keep(0, 60)),
        "d": Start(position, none, KEEP, now=True),
    }
    call = commands.resume(NAMES, REQUEST._replace(compare=True), starts.items())

    of_topics = [f"{TAG}:{kind}:{t}" for t in starts for kind in ("events", "tip", "fragments")]
    assert call.keys == [*PRELUDE_KEYS, *of_topics]
    asked = ["epoch", "9-1"] + [""] * 6
    assert call.arguments == [-5, "next", "replid", "compare", *PORTION, *asked]


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        (commands.enter(NAMES, {"t": {"c": "ada", "d": "bob"}})[0][1], [2, "c", "ada", "d", "bob"]),
        (commands.exit(NAMES, {"t": ["c"]})[0][1], [0, "c"]),
    ],
)
def test_presence_tells_who_enters_before_who_leaves(
    call: ScriptCall, arguments: list[object]
) -> None:
    """The number of those who enter parts them from those who leave."""
    assert call.keys == [f"{TAG}:{kind}:t" for kind in ("expiries", "members", "people")]
    assert call.arguments == [commands.PRESENT_MS, *arguments]


def test_presence_of_many_is_parted_into_calls_and_round_trips() -> None:
    """No script keeps Redis for long, and no round trip carries without bound."""
    many = {str(number): "+ada" for number in range(1_200)}
    members = {"crowd": many, **{f"t{number}": {"c": "+ada"} for number in range(3_000)}}

    entering = commands.enter(NAMES, members)
    trips = list(commands.trips(entering))

    assert [(topic, call.arguments[1]) for topic, call in entering[:3]] == [
        ("crowd", 500),
        ("crowd", 500),
        ("crowd", 200),
    ]
    named = {name: who for _, call in entering[:3] for name, who in pairs(call.arguments[2:])}
    assert named == many
    assert [call for trip in trips for call in trip] == entering
    assert max(len(trip) for trip in trips) == 107
    assert len(trips) == 30
    leaving = commands.exit(NAMES, members)
    assert [name for _, call in leaving[:3] for name in call.arguments[2:]] == [*many]
    assert len(leaving) == 3 + 3_000
    assert list(commands.trips([])) == []
    assert commands.present(NAMES, "t", "7").arguments == ["7", MEMBERS]


def pairs(texts: list[str]) -> list[tuple[str, str]]:
    return list(zip(texts[::2], texts[1::2], strict=True))


def test_text_is_kept_for_at_least_the_time_that_was_asked_for() -> None:
    """The call names its size and whose it is, too."""
    key = f"{TAG}:text:ref"

    call = commands.keep_text(NAMES, "ref", "té", 1.5, Claim(Shelf.OPEN, "ada"))

    assert call.keys == [key, *(f"{TAG}:text-{kind}" for kind in ("expiries", "claims", "bytes"))]
    assert call.arguments[:5] == ["ref", "té", 1501, 3 + OVERHEAD, FORGET]
    assert call.arguments[5:] == ["open", Shelf.OPEN.most, "ada", Shelf.OPEN.share]
    assert commands.kept_text(NAMES, "ref") == ("GET", key)
    assert commands.read_text(None) is None
    assert commands.read_text("é".encode()) == "é"
    assert commands.read_text(b"\xff") == "\ufffd"


def test_answers_of_scripts_are_read() -> None:
    """Epochs, ids and members; histories are left to the reader of payloads."""
    past = [[], b"", b"", []]

    assert commands.read_published([b"epoch", b"9-1", b"9-2"]) == (
        "epoch",
        [Id(9, 1), Id(9, 2)],
    )
    assert commands.read_snapshot([b"epoch", b"9-1"]) == ("epoch", Id(9, 1), [])
    assert commands.read_snapshot([b"epoch", b"9-1", past]).topics == [past]
    members = [b"c", b"ada", b"d", b"\xff"]
    assert commands.read_members([b"7", members]) == ("7", {"c": "ada", "d": "\ufffd"})
    assert commands.read_members([b"", []]) == ("", {})


@pytest.mark.parametrize(
    "answer", [[], [b"epoch"], [b"epoch", b"never"], [b"epoch", b""], [b"\xff", b"9-1"]], ids=repr
)
def test_answers_that_are_no_message_or_snapshot_are_refused(answer: list[bytes]) -> None:
    """An id that cannot be read must not become a position."""
    with pytest.raises(ValueError, match=r".+"):
        commands.read_published(answer)
    with pytest.raises(ValueError, match=r".+"):
        commands.read_snapshot(answer)


def test_members_without_identity_are_refused() -> None:
    """An answer in which a part is missing would mix up members and identities."""
    with pytest.raises(ValueError, match="shorter"):
        commands.read_members([b"", [b"c", b"ada", b"d"]])


@pytest.mark.parametrize(
    ("lines", "may_evict"),
    [
        ("maxmemory:0\r\nmaxmemory_policy:allkeys-lru", False),
        ("maxmemory:100\r\nmaxmemory_policy:noeviction", False),
        ("maxmemory:100\r\nmaxmemory_policy:allkeys-lru", True),
        ("maxmemory_policy:volatile-ttl", True),
        ("", False),
    ],
)
def test_server_may_evict_if_it_has_a_limit_and_a_policy(lines: str, may_evict: bool) -> None:
    """What a server does not tell counts as harmless."""
    text = f"# Replication\r\nmaster_replid:f00\r\n\r\n{lines}\r\n"
    info = commands.read_info(text.encode())

    assert (info.replid, info.may_evict) == ("f00", may_evict)
    assert commands.read_info(b"").replid == ""
