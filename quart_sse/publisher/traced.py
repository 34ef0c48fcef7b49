"""Publishing with spans: each message carries the trace of its own."""

from collections.abc import Sequence
from dataclasses import replace

from ..broker import Broker, Keep, Kind, Message
from ..tracing import Recorded, Tracing
from ..wire import Id, public_name

#: Kind of a message -> the operation of its span.
OPERATIONS = {Kind.EVENT: "publish", Kind.REFRESH: "refresh", Kind.PUSH: "push"}


async def publish_traced(tracing: Tracing, broker: Broker, message: Message, keep: Keep) -> Id:
    """Publish a message.

    Args:
        tracing: Makes the span.
        broker: Carries the message.
        message: The message.
        keep: How its topic's history is kept.

    Raises:
        BrokerUnavailable: If the broker did not confirm the message.
    """
    span = _begin(tracing, message)
    if span is None:
        return await broker.publish(message, keep)
    try:
        id = await broker.publish(replace(message, trace=span.trace), keep)
    except BaseException as error:
        span.end(error=error)
        raise
    span.end(str(id))
    return id


async def publish_all_traced(
    tracing: Tracing, broker: Broker, messages: Sequence[tuple[Message, Keep]]
) -> list[Id]:
    """Publish several messages, each with a span of its own.

    Args:
        tracing: Makes the spans.
        broker: Carries the messages.
        messages: The messages, and how histories are kept.

    Returns:
        The ids that the broker assigned.

    Raises:
        BrokerUnavailable: If the broker did not confirm everything.
    """
    spans = [_begin(tracing, message) for message, _ in messages]
    carried = [
        (message if span is None else replace(message, trace=span.trace), keep)
        for span, (message, keep) in zip(spans, messages, strict=True)
    ]
    failed: BaseException | None = None
    try:
        return await broker.publish_all(carried)
    except BaseException as error:
        failed = error
        raise
    finally:
        for span in spans:
            if span is not None:
                span.end(error=failed)


def _begin(tracing: Tracing, message: Message) -> Recorded | None:
    channel = public_name(message.topic).partition("?")[0]
    return tracing.publish(channel, OPERATIONS[message.kind], message.name or "")
