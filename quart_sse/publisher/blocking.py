"""The publisher that blocks: :class:`Publisher`, the same code without an event loop."""

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, overload

from ..broker import Broker
from ..config import Config
from ..wire import Level, Notification
from .declared import Recorded
from .event_type import Data, EventType
from .publisher import AsyncPublisher
from .steps import run
from .targets import AsyncPublisherChannel, AsyncPublisherTarget, AsyncPublisherTopic

_DEFAULTS = Config()


class _OverBlocking(AsyncPublisher):
    """A publisher whose coroutines end in one step."""

    def _open(self, config: Config) -> Broker:
        from ..broker.redis import BlockingLink, RedisBroker

        url, timeout = config.broker_url, config.broker_timeout
        link = BlockingLink(url, timeout)
        return RedisBroker(url, prefix=config.redis_prefix, timeout=timeout, link=link)


class PublisherTarget:
    """Everyone, a user, or all who listen to a channel.

    Example:
        ``publisher.everyone.publish("maintenance", {"minutes": 5})``, in a worker
    """

    def __init__(self, target: AsyncPublisherTarget) -> None:
        self._target = target

    @overload
    def publish(
        self,
        name: EventType[Data],
        data: Data,
        *,
        retry_ms: int | None = None,
        where: Mapping[str, Any] | None = None,
        exclude: str | None = None,
        refresh_on: bool = True,
    ) -> str: ...

    @overload
    def publish(
        self,
        name: str,
        data: Any = None,
        *,
        retry_ms: int | None = None,
        where: Mapping[str, Any] | None = None,
        exclude: str | None = None,
        refresh_on: bool = True,
    ) -> str: ...

    def publish(
        self,
        name: Any,
        data: Any = None,
        *,
        retry_ms: int | None = None,
        where: Mapping[str, Any] | None = None,
        exclude: str | None = None,
        refresh_on: bool = True,
    ) -> str:
        """Publish an event, and return its id; see :meth:`AsyncPublisherTarget.publish`.

        Example:
            ``publisher.topic("room", id=3).publish("said", {"text": "Hello"})``, in a worker
        """
        return run(
            self._target.publish(
                name,
                data,
                retry_ms=retry_ms,
                where=where,
                exclude=exclude,
                refresh_on=refresh_on,
            )
        )

    def notify(
        self,
        message: str,
        *,
        level: Level = "info",
        title: str | None = None,
        data: Any = None,
        id: str | None = None,
        where: Mapping[str, Any] | None = None,
        exclude: str | None = None,
    ) -> Notification:
        """Notify the people of the target; see :meth:`AsyncPublisherTarget.notify`.

        Example:
            ``publisher.user("7").notify("Your report is ready", level="success")``, in a worker
        """
        target = self._target
        notifying = target.notify(
            message, level=level, title=title, data=data, id=id, where=where, exclude=exclude
        )
        return run(notifying)


class PublisherTopic(PublisherTarget):
    """A topic; ``publisher.topic(channel, ...)``.

    Example:
        ``publisher.topic("room", id=3).refresh("list")``, in a worker
    """

    def __init__(self, topic: AsyncPublisherTopic) -> None:
        super().__init__(topic)
        self._topic = topic

    def refresh(self, *fragments: str, item: str | int | None = None) -> None:
        """Render fragments again; see :meth:`AsyncPublisherTopic.refresh`.

        Example:
            ``publisher.topic("room", id=3).refresh("list", "count")``, in a worker
        """
        run(self._topic.refresh(*fragments, item=item))

    def push(
        self,
        fragment: str,
        html: str,
        *,
        root: str | None = None,
        item: str | int | None = None,
    ) -> None:
        """Publish a fragment's HTML; see :meth:`AsyncPublisherTopic.push`.

        Example:
            ``publisher.topic("room", id=3).push("count", Markup("<b>3</b>"))``, in a worker
        """
        run(self._topic.push(fragment, html, root=root, item=item))

    def close(self) -> None:
        """Take the topic off all open connections; see :meth:`AsyncPublisherTopic.close`.

        Example:
            ``publisher.topic("room", id=3).close()``, in a worker
        """
        run(self._topic.close())


class PublisherChannel:
    """A channel as a whole; ``publisher.channel(name)``.

    Example:
        ``publisher.channel("room").everyone.publish("closed-for-tonight")``, in a worker
    """

    def __init__(self, channel: AsyncPublisherChannel) -> None:
        self._channel = channel

    def topic(self, /, **params: Any) -> PublisherTopic:
        """Return a topic of the channel; see :meth:`AsyncPublisherChannel.topic`.

        Example:
            ``publisher.channel("room").topic(id=3).refresh()``, in a worker
        """
        return PublisherTopic(self._channel.topic(**params))

    @property
    def everyone(self) -> PublisherTarget:
        """All who listen to any topic of the channel.

        Example:
            ``publisher.channel("room").everyone.publish("closed-for-tonight")``, in a worker
        """
        return PublisherTarget(self._channel.everyone)

    def close(self) -> None:
        """Take all topics of the channel off all open connections, in every process.

        Example:
            ``publisher.channel("room").close()``, in a worker
        """
        run(self._channel.close())


class Publisher:
    """Publishes to the pages of an app from a program without an event loop, and without the app.

    For task queues (Celery, RQ, Dramatiq), other frameworks (Django, Flask) and cron jobs. It is
    :class:`AsyncPublisher`, but blocks; checks and errors are the same. One object serves any
    number of threads, and goes on in a forked process. A call holds a connection, which the next
    one takes over, so that there are as many as threads that publish at once, at most 50.

    Args:
        url: The app's ``QUART_SSE_BROKER_URL``: ``redis://``, ``rediss://`` or ``unix://``.
        prefix: The app's ``QUART_SSE_REDIS_PREFIX``.
        timeout: Longest duration of a call to Redis, in seconds; connecting may take as long again.
        channels: As for :class:`AsyncPublisher`.
        dumps: As for :class:`AsyncPublisher`.

    Raises:
        SetupError: If the URL is ``memory://``, which leads to no other process.
        ConfigError: If the URL, the prefix or the timeout is invalid.

    Example:
        .. code-block:: python

            def tell(text: str) -> None:
                with Publisher("redis://localhost") as publisher:
                    publisher.topic("room", id=3).publish("said", {"text": text})
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = _DEFAULTS.redis_prefix,
        timeout: float = _DEFAULTS.broker_timeout,
        channels: Iterable[Recorded] | Mapping[str, Recorded] = (),
        dumps: Callable[[Any], str] | None = None,
    ) -> None:
        self._publisher = _OverBlocking(
            url, prefix=prefix, timeout=timeout, channels=channels, dumps=dumps
        )

    def topic(self, channel: str, /, **params: Any) -> PublisherTopic:
        """Return a topic of the app; see :meth:`AsyncPublisher.topic`.

        Example:
            ``publisher.topic("room", id=3).publish("said", {"text": "Hello"})``, in a worker
        """
        return PublisherTopic(self._publisher.topic(channel, **params))

    def topic_of_texts(self, channel: str, texts: Mapping[str, str]) -> PublisherTopic:
        """Return a topic whose parameters are texts; see :meth:`AsyncPublisher.topic_of_texts`.

        Example:
            ``publisher.topic_of_texts("room", {"id": "3"})``, of what a command line has
        """
        return PublisherTopic(self._publisher.topic_of_texts(channel, texts))

    def channel(self, name: str) -> PublisherChannel:
        """Return a channel as a whole; see :meth:`AsyncPublisher.channel`.

        Example:
            ``publisher.channel("room").everyone.publish("closed-for-tonight")``, in a worker
        """
        return PublisherChannel(self._publisher.channel(name))

    def user(self, identity: str) -> PublisherTarget:
        """Return all streams of a user; see :meth:`AsyncPublisher.user`.

        Example:
            ``publisher.user("7").publish("saved", {"id": 12})``, in a worker
        """
        return PublisherTarget(self._publisher.user(identity))

    @property
    def everyone(self) -> PublisherTarget:
        """Every open stream of the app.

        Example:
            ``publisher.everyone.publish("maintenance", {"minutes": 5})``, in a worker
        """
        return PublisherTarget(self._publisher.everyone)

    @overload
    def send(self, connection_id: str, name: EventType[Data], data: Data) -> bool: ...

    @overload
    def send(self, connection_id: str, name: str, data: Any = None) -> bool: ...

    def send(self, connection_id: str, name: Any, data: Any = None) -> bool:
        """Send an event to one connection of any process; see :meth:`AsyncPublisher.send`.

        Example:
            ``publisher.send(connection_id, "done", {"file": "report.pdf"})``, in a worker
        """
        return run(self._publisher.send(connection_id, name, data))

    def close(self) -> None:
        """End the publisher: its connections are closed, and it refuses use.

        Example:
            ``publisher.close()``, when the program ends
        """
        run(self._publisher.aclose())

    def __enter__(self) -> Self:
        """Return the publisher, which the end of the block closes."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the publisher."""
        self.close()
