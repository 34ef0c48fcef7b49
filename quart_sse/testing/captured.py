"""What an app publishes while a test runs, whether or not a page is open."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from ..broker import Broker, Filter, Keep, Kind, Message, ServingBroker
from ..channels import Target
from ..errors import ParameterError, SetupError
from ..extension import SSE
from ..serving_loop import ServingLoop
from ..wire import NOTIFICATION, Id, Level, decode_data, read_notification


@dataclass(frozen=True, slots=True)
class CapturedEvent:
    """An event that was published.

    Attributes:
        topic: Name of its topic, such as ``comments?discussion_id=7``; ``target.name`` of whatever
            it was published to.
        name: Its name.
        data: Its data, as scripts in a page get them.
        where: Its filter; None if it is for all.
    """

    topic: str
    name: str
    data: Any
    where: Any = None


@dataclass(frozen=True, slots=True)
class CapturedFragment:
    """A change of a fragment that was published.

    Attributes:
        topic: Name of its topic.
        name: Its name, without the channel.
        html: The HTML that was pushed; None if the fragment was refreshed.
        item: Key of the item of a list that has changed; None if it is all of the fragment.
    """

    topic: str
    name: str
    html: str | None = None
    item: str | None = None


@dataclass(frozen=True, slots=True)
class CapturedNotification:
    """A notification that was published.

    Attributes:
        topic: As of :class:`CapturedEvent`.
        message: Its text.
        level: Its level.
        title: Its heading; None for none.
        data: Its data, as JSON holds them.
        where: Its filter; None if it is for all.
    """

    topic: str
    message: str
    level: Level = "info"
    title: str | None = None
    data: Any = None
    where: Any = None


#: What is noted of one message.
_Entry = CapturedEvent | CapturedFragment | CapturedNotification


def _where(filter: Filter | None) -> Any:
    if filter is None:
        return None
    return json.loads(filter.text) if filter.text else filter._function


class Captured:
    """What an app has published since :func:`capture` began, in order.

    Attributes:
        events: The events.
        fragments: The fragments that were refreshed or pushed.
        notifications: The notifications.
    """

    def __init__(self) -> None:
        self.events: list[CapturedEvent] = []
        self.fragments: list[CapturedFragment] = []
        self.notifications: list[CapturedNotification] = []

    def of(self, target: Target | str) -> "Captured":
        """Return what was published to one target, so far.

        Args:
            target: A topic, ``sse.user(...)``, ``channel.everyone`` or ``sse.everyone``; or the
                name of one.

        Raises:
            ParameterError: If it is none of these.

        Example:
            ``captured.of(comments.topic(discussion_id=7)).events``
        """
        name = target.name if isinstance(target, Target) else target
        if not isinstance(name, str):
            raise ParameterError(
                f"captured.of() got {target!r}. Pass a topic, such as channel.topic(...), or the "
                "name of one."
            )
        found = Captured()
        found.events = [each for each in self.events if each.topic == name]
        found.fragments = [each for each in self.fragments if each.topic == name]
        found.notifications = [each for each in self.notifications if each.topic == name]
        return found

    def clear(self) -> None:
        """Forget what was published so far."""
        self.events.clear()
        self.fragments.clear()
        self.notifications.clear()

    def __repr__(self) -> str:
        """Show what a failed assertion is about."""
        more = f", notifications={self.notifications!r}" if self.notifications else ""
        return f"Captured(events={self.events!r}, fragments={self.fragments!r}{more})"

    def _list_of(self, kind: type[_Entry]) -> list[Any]:
        lists: dict[type[_Entry], list[Any]] = {
            CapturedEvent: self.events,
            CapturedFragment: self.fragments,
            CapturedNotification: self.notifications,
        }
        return lists[kind]


class _Recorder(ServingBroker):
    """A broker that notes what is published through it, before pages get it."""

    def __init__(self, inner: Broker, serving: ServingLoop, captured: Captured) -> None:
        super().__init__(inner, serving)
        self._captured = captured

    async def publish(self, message: Message, keep: Keep) -> Id:
        """Note a message and publish it."""
        with self._noting([message]):
            return await self.inner.publish(message, keep)

    async def publish_all(self, messages: Iterable[tuple[Message, Keep]]) -> list[Id]:
        """Note several messages and publish them."""
        listed = [*messages]
        with self._noting([message for message, _ in listed]):
            return await self.inner.publish_all(listed)

    @contextmanager
    def _noting(self, messages: list[Message]) -> Iterator[None]:
        """Note messages while they are published; those that were not confirmed are dropped."""
        entries = [entry for entry in map(_entry, messages) if entry is not None]
        for entry in entries:
            self._captured._list_of(type(entry)).append(entry)
        try:
            yield
        except BaseException:
            own = {id(entry) for entry in entries}
            for kind in {type(entry) for entry in entries}:
                noted = self._captured._list_of(kind)
                noted[:] = [each for each in noted if id(each) not in own]
            raise

    async def probe(self) -> None:
        """Publish a probe, which is nothing of the app's."""
        await self.inner.probe()


def _entry(message: Message) -> _Entry | None:
    topic, name = message.topic, message.name or ""
    if message.kind is Kind.EVENT and name == NOTIFICATION:
        made = read_notification(message.data)
        assert made is not None
        where = _where(message.where)
        return CapturedNotification(topic, made.message, made.level, made.title, made.data, where)
    if message.kind is Kind.EVENT:
        data = decode_data(message.data, message.is_text)
        return CapturedEvent(topic, name, data, _where(message.where))
    if message.kind is Kind.REFRESH:
        return CapturedFragment(topic, name, item=_item(message))
    if message.kind is Kind.PUSH:
        return CapturedFragment(topic, name, message.data, _item(message))
    return None


def _item(message: Message) -> str | None:
    return unquote(message.item) if message.item else None


@contextmanager
def capture(sse: SSE) -> Iterator[Captured]:
    """Collect what an app publishes, also when no page is open.

    It collects what this process publishes by its topics and users: in views, hooks and threads,
    and with any broker. Events for one connection (``connection.send()``) are not published, and
    what other processes publish is theirs; an open page receives both.

    Args:
        sse: The extension; all apps that it serves are captured.

    Raises:
        SetupError: If it serves no app yet.

    Example:
        .. code-block:: python

            async def test_a_comment_is_published(client):
                with capture(sse) as captured:
                    await client.post("/discussion/7/comments", form={"text": "I do!"})
                assert captured.events == [
                    CapturedEvent("comments?discussion_id=7", "comment-added", {"by": "mira"})
                ]
    """
    brokers = [each.services.broker for each in sse._installations]
    if not brokers:
        raise SetupError(
            "capture() got an SSE object that serves no app yet. Call sse.init_app(app) before."
        )
    captured = Captured()
    recorders = []
    for broker in brokers:
        recorder = _Recorder(broker.inner, broker._serving, captured)
        recorders.append((broker, recorder))
        broker.inner = recorder
    try:
        yield captured
    finally:
        for broker, recorder in recorders:
            _remove(broker, recorder)


def _remove(broker: ServingBroker, recorder: _Recorder) -> None:
    """Take a recorder out, whichever others were added meanwhile."""
    outer: Any = broker
    while outer.inner is not recorder:
        outer = outer.inner
    outer.inner = recorder.inner
