"""Publishing without an app: what is written, and what is refused before anything is sent."""

from collections.abc import Callable
from enum import Enum
from math import inf, nan

import pytest

from quart_sse.broker import Keep, Kind, Message, Start
from quart_sse.broker.memory import MemoryBroker
from quart_sse.errors import EventError
from quart_sse.publisher import MessagePublisher
from tests.support.processes import Inbox

TOPIC = "board?number=7"
KEEP = Keep(events=10, ttl=60.0)
MOST = 100


@pytest.fixture
async def inbox() -> Inbox:
    """What a process receives."""
    return Inbox()


@pytest.fixture
async def broker(inbox: Inbox) -> MemoryBroker:
    """A broker that delivers to it."""
    broker = MemoryBroker()
    await broker.start(inbox)
    return broker


@pytest.fixture
def publisher(broker: MemoryBroker) -> MessagePublisher:
    """A publisher of small events."""
    return MessagePublisher(broker, MOST)


def contents(message: Message) -> tuple[object, ...]:
    """Return all of a message but its id."""
    return message.kind, message.topic, message.name, message.data, message.retry_ms, message.origin


async def test_event_is_published_with_all_that_was_said(
    publisher: MessagePublisher, inbox: Inbox
) -> None:
    """The id that is returned is the one with which it arrives."""
    id = await publisher.event(TOPIC, "moved", "7", KEEP, retry_ms=50, origin="page")
    (message,) = inbox.messages

    assert message.id == id
    assert contents(message) == (Kind.EVENT, TOPIC, "moved", "7", 50, "page")


@pytest.mark.parametrize(
    ("data", "text"), [("7", "7"), ("", ""), (7, "7"), (None, "null"), ({"a": [1]}, '{"a": [1]}')]
)
async def test_text_stays_and_all_else_is_json(
    publisher: MessagePublisher, inbox: Inbox, data: object, text: str
) -> None:
    """A script of the page reads it in the same way that it reads any JSON."""
    await publisher.event(TOPIC, "moved", data, KEEP)

    assert inbox.data == [text]


class Word(str, Enum):  # noqa: UP042 - a StrEnum is written as what it equals
    """Words that an app has in an enumeration, as many do."""

    ADDED = "added"
    DATA = "42"


async def test_member_of_an_enumeration_is_its_text(
    publisher: MessagePublisher, inbox: Inbox
) -> None:
    """A str of a subclass, which an f-string would write by another name."""
    await publisher.event(TOPIC, Word.ADDED, Word.DATA, KEEP)
    (message,) = inbox.messages

    assert [type(message.name), type(message.data)] == [str, str]
    assert (message.name, message.data) == ("added", "42")


@pytest.mark.parametrize("text", ["42", "-1", ' {"a": 1}', "[1]", '"x"', "true", "null", "tea"])
async def test_text_that_reads_like_json_is_marked(
    publisher: MessagePublisher, inbox: Inbox, text: str
) -> None:
    """So that a script gets the text, and not a number or an object."""
    await publisher.event(TOPIC, "said", text, KEEP)
    await publisher.event(TOPIC, "said", "hello", KEEP)
    await publisher.event(TOPIC, "said", [text], KEEP)

    assert [message.is_text for message in inbox.messages] == [True, False, False]


@pytest.mark.parametrize("value", [nan, inf, -inf])
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: {"a": [1, value]}])
async def test_number_that_json_has_not_is_refused(
    publisher: MessagePublisher, inbox: Inbox, value: float, wrap: Callable[[float], object]
) -> None:
    """Python writes it, and no browser reads it."""
    with pytest.raises(EventError, match=r"JSON has no -?(NaN|Infinity)"):
        await publisher.event(TOPIC, "moved", wrap(value), KEEP)
    await publisher.event(TOPIC, "moved", {"NaN": "-Infinity"}, KEEP)

    assert [message.data for message in inbox.messages] == ['{"NaN": "-Infinity"}']


async def test_json_is_written_as_the_app_does(broker: MemoryBroker, inbox: Inbox) -> None:
    """What only the app can write is handed to its own function."""
    publisher = MessagePublisher(broker, MOST, dumps=lambda value: f"<{value}>")
    await publisher.event(TOPIC, "moved", 7, KEEP)

    assert inbox.data == ["<7>"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("sse-open", "7"),
        ("two words\n", "7"),
        ("moved", object()),
        ("moved", "x" * (MOST + 1)),
        ("moved", "\ud800"),
    ],
    ids=["reserved", "line end", "no JSON", "too long", "no text"],
)
async def test_event_that_no_client_could_read_is_not_published(
    publisher: MessagePublisher, inbox: Inbox, name: str, data: object
) -> None:
    """It is refused where it was made, and not where it would be read."""
    with pytest.raises(EventError):
        await publisher.event(TOPIC, name, data, KEEP)

    assert inbox.messages == []


async def test_each_fragment_is_said_to_have_changed(
    publisher: MessagePublisher, inbox: Inbox
) -> None:
    """Processes render those that pages show, in whatever order."""
    await publisher.refresh(TOPIC, ["list", "count"], KEEP)

    assert [contents(message) for message in inbox.messages] == [
        (Kind.REFRESH, TOPIC, "list", None, None, ""),
        (Kind.REFRESH, TOPIC, "count", None, None, ""),
    ]


async def test_html_is_pushed_with_the_root_of_its_urls(
    publisher: MessagePublisher, inbox: Inbox
) -> None:
    """Pages below another root path render the fragment for themselves."""
    await publisher.push(TOPIC, "list", "<li>7</li>", KEEP, root="/app")

    assert [contents(message) for message in inbox.messages] == [
        (Kind.PUSH, TOPIC, "list", "<li>7</li>", None, "/app")
    ]


async def test_history_is_kept_as_the_topic_wants(
    publisher: MessagePublisher, broker: MemoryBroker
) -> None:
    """Of two topics one keeps its events, the other none."""
    begun = broker.known
    await publisher.event(TOPIC, "moved", "7", KEEP)
    await publisher.event("chat", "said", "hello", Keep(0, 60.0))
    starts = {topic: Start(begun, frozenset(), KEEP) for topic in (TOPIC, "chat")}
    replay = await broker.resume(starts)

    assert [message.data for message in replay.events] == ["7"]
