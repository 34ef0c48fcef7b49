"""Publishing with spans: what is published carries the trace of its span, and nothing else more."""

from dataclasses import replace

import pytest

from quart_sse.broker import Keep, Kind, Message
from quart_sse.broker.memory import MemoryBroker
from quart_sse.publisher.traced import OPERATIONS, publish_all_traced, publish_traced
from quart_sse.tracing import Tracing, is_trace
from quart_sse.wire.audience import user_topic
from quart_sse.wire.position import ZERO
from tests.support.processes import Inbox
from tests.support.spans import Spans, id_of

KEEP = Keep(9, 60.0)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Spans:
    """Everything is recorded."""
    return Spans(monkeypatch)


@pytest.fixture
async def inbox() -> Inbox:
    """Takes what the broker delivers."""
    return Inbox()


@pytest.mark.parametrize("kind", OPERATIONS)
async def test_message_carries_the_span_of_its_publish(
    spans: Spans, kind: Kind, inbox: Inbox
) -> None:
    """The name of the span has the channel, not the topic."""
    broker = MemoryBroker()
    await broker.start(inbox)
    message = Message(kind, ZERO, "rooms?room=1", "said", "data", origin="page")
    id = await publish_traced(Tracing(), broker, message, KEEP)

    (span,) = spans.all
    (came,) = [each for each in inbox.messages if each.kind is kind]
    assert span.name == f"{OPERATIONS[kind]} rooms"
    assert is_trace(came.trace)
    assert came.trace.split("-")[2] == f"{id_of(span):016x}"
    assert replace(came, trace="") == replace(message, id=id)


async def test_messages_that_are_published_together_keep_their_order(
    spans: Spans, inbox: Inbox
) -> None:
    """Each carries its own span; that of a user is named without the identity."""
    broker = MemoryBroker()
    await broker.start(inbox)
    topics = ["rooms?room=1", user_topic("ada"), "rooms?room=2"]
    messages = [(Message(Kind.EVENT, ZERO, topic, "said"), KEEP) for topic in topics]
    await publish_all_traced(Tracing(), broker, messages)

    came = [each for each in inbox.messages if each.kind is Kind.EVENT]
    assert [each.topic for each in came] == topics
    assert [span.name for span in spans.all] == ["publish rooms", "publish user", "publish rooms"]
    assert [each.trace.split("-")[2] for each in came] == [
        f"{id_of(span):016x}" for span in spans.all
    ]
