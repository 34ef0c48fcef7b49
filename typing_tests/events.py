"""Typed events, of which a type checker refuses data of another type."""

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypedDict, assert_type

from quart import Quart

from quart_sse import SSE, AsyncPublisher, EventType, Published, Publisher

sse = SSE(Quart(__name__))
comments = sse.channel("comments", "/discussion/<int:discussion_id>/comments")
stats = sse.channel("stats", "/stats")


@dataclass
class CommentAdded:
    """A comment."""

    id: int
    author: str


class CommentGone(TypedDict):
    """What is left of a comment."""

    id: int


added = comments.event("comment-added", CommentAdded)
gone = comments.event("comment-gone", CommentGone)
numbers = comments.event("numbers", list[int])
free = comments.event("free")
assert_type(added, EventType[CommentAdded])
assert_type(gone, EventType[CommentGone])
assert_type(numbers, EventType[list[int]])
assert_type(free, EventType[Any])
assert_type(EventType("saved", CommentGone), EventType[CommentGone])


@comments.fragment("list", on=added)
def listed(discussion_id: int) -> str:
    """Render a list; a decorated function keeps its type."""
    return str(discussion_id)


@comments.fragment("count", on=["comment-added", gone])
def counted(discussion_id: int) -> str:
    """Render a number."""
    return str(discussion_id)


@stats.refresh_on(added)
def of_comment(comment: CommentAdded) -> dict[str, Any]:
    """Select the topic of a comment."""
    return {"author": comment.author}


@stats.refresh_on("comments.comment-gone", "chart")
async def of_gone(comment: CommentGone) -> list[dict[str, Any]] | None:
    """Select topics by an async function."""
    return None


async def publish() -> None:
    """Publish what is right."""
    topic = comments.topic(discussion_id=7)
    comment = CommentAdded(1, "mira")
    assert_type(await topic.publish(added, comment, to_others=True), Published)
    assert_type(topic.publish_soon(gone, CommentGone(id=1)), Future[Published])
    await topic.publish(numbers, [1])
    await topic.publish(free, {"any": "thing"}, refresh_on=False)
    await topic.publish("comment-added", {"any": "thing"})
    await comments.everyone.publish(added, comment)
    await sse.user("mira").publish(added, comment)
    assert_type(await sse.send("id", added, comment), bool)
    await sse.connections.of()[0].send(added, comment)
    publisher = AsyncPublisher("redis://localhost")
    assert_type(await publisher.topic("comments", discussion_id=7).publish(added, comment), str)
    assert_type(Publisher("redis://localhost").everyone.publish(added, comment), str)


async def publish_what_is_wrong() -> None:
    """Publish what a type checker must refuse; an ignored error that is none is one."""
    topic = comments.topic(discussion_id=7)
    wrong = {"id": 1, "author": "mira"}
    await topic.publish(added, wrong)  # type: ignore[misc]  # pyright: ignore
    await topic.publish(added)  # type: ignore[call-overload]  # pyright: ignore
    await topic.publish(gone, CommentAdded(1, "mira"))  # type: ignore[misc]  # pyright: ignore
    await topic.publish(gone, {"ix": 1})  # type: ignore[misc]  # pyright: ignore
    await topic.publish(numbers, ["1"])  # type: ignore[misc]  # pyright: ignore
    topic.publish_soon(added, wrong)  # type: ignore[misc]  # pyright: ignore
    await sse.send("id", added, wrong)  # type: ignore[misc]  # pyright: ignore
    await sse.connections.of()[0].send(added, wrong)  # type: ignore[misc]  # pyright: ignore
    await AsyncPublisher("").everyone.publish(added, wrong)  # type: ignore[misc]  # pyright: ignore
    Publisher("").everyone.publish(added, wrong)  # type: ignore[misc]  # pyright: ignore

    @stats.refresh_on(added)  # type: ignore[arg-type]  # pyright: ignore
    def of_another(comment: CommentGone) -> dict[str, Any]:
        return {"id": comment["id"]}

    @stats.refresh_on("comments.comment-gone")  # type: ignore[type-var]  # pyright: ignore
    def of_number(comment: CommentGone) -> int:
        return comment["id"]
