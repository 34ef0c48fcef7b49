"""The publisher that awaits: :class:`AsyncPublisher`."""

import os
import re
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, overload

from ..broker import Broker, process_of
from ..config import Config
from ..errors import ConfigError, SetupError, without_password
from ..serving_loop import after_fork
from ..tracing import find_tracing
from .asking import ask, is_done
from .catalog import Catalog
from .declared import Recorded
from .dumps import dumps as default_dumps
from .event_type import Data, EventType, event_name
from .messages import MessagePublisher
from .targets import (
    AsyncPublisherChannel,
    AsyncPublisherTarget,
    AsyncPublisherTopic,
    Services,
    everyone,
    user,
)

_DEFAULTS = Config()


class AsyncPublisher:
    """Publishes to the pages of an app from another process, without the app.

    It loads no web framework. Channels are known from the app's processes, which declare them at
    the broker; names and parameters are checked as in the app. One object serves any number of
    tasks, event loops and threads, and goes on in a forked process. Connections are opened when
    they are needed, and end with their event loop.

    Args:
        broker: The app's ``QUART_SSE_BROKER_URL``: ``redis://``, ``rediss://`` or ``unix://``. Or a
            :class:`Broker`, which is then not closed.
        prefix: The app's ``QUART_SSE_REDIS_PREFIX``.
        timeout: Longest duration of a call to the broker, in seconds.
        channels: Channels that count instead of those that the app has declared: ``Channel`` or
            :class:`ChannelRecord` objects. Channels whose rules have converters of the app's own
            need it.
        dumps: Returns data as JSON; None for the JSON of Quart's default provider.

    Raises:
        SetupError: If the URL is ``memory://``, which leads to no other process.
        ConfigError: If the URL, the prefix or the timeout is invalid.

    Example:
        .. code-block:: python

            async def tell(text: str) -> None:
                async with AsyncPublisher("redis://localhost") as publisher:
                    await publisher.topic("room", id=3).publish("said", {"text": text})
    """

    def __init__(
        self,
        broker: str | Broker,
        *,
        prefix: str = _DEFAULTS.redis_prefix,
        timeout: float = _DEFAULTS.broker_timeout,
        channels: Iterable[Recorded] | Mapping[str, Recorded] = (),
        dumps: Callable[[Any], str] | None = None,
    ) -> None:
        self._is_own = isinstance(broker, str)
        config = check(broker if isinstance(broker, str) else None, prefix, timeout)
        used = self._open(config) if isinstance(broker, str) else broker
        given = channels.values() if isinstance(channels, Mapping) else channels
        self._broker: Broker | None = used
        self._timeout = config.broker_timeout
        self._services = Services(
            Catalog(
                used, given, without_password(config.broker_url) if self._is_own else repr(used)
            ),
            MessagePublisher(used, config.pending_bytes, dumps or default_dumps, find_tracing()),
        )
        if self._is_own:
            _all.add(self)

    def _open(self, config: Config) -> Broker:
        # Imported here: a program that only imports this module does not wait for it.
        from ..broker.redis import RedisBroker

        return RedisBroker(
            config.broker_url, prefix=config.redis_prefix, timeout=config.broker_timeout
        )

    @property
    def _open_services(self) -> Services:
        if self._broker is None:
            raise SetupError("This publisher is closed. Make another one, or close it later.")
        return self._services

    def topic(self, channel: str, /, **params: Any) -> AsyncPublisherTopic:
        """Return a topic of the app.

        The channel and the parameters are checked when something is published.

        Args:
            channel: The channel's name.
            params: One value for each parameter of the channel's rule, of the type that its
                converter gives.

        Raises:
            SetupError: If the publisher is closed.

        Example:
            ``await publisher.topic("room", id=3).publish("said", {"text": "Hello"})``
        """
        return AsyncPublisherTopic(self._open_services, channel, params, are_texts=False)

    def topic_of_texts(self, channel: str, texts: Mapping[str, str]) -> AsyncPublisherTopic:
        """Return a topic whose parameters are texts, as they stand in the channel's URL.

        Args:
            channel: The channel's name.
            texts: Parameter -> its value, not percent-encoded.

        Raises:
            SetupError: If the publisher is closed.

        Example:
            ``publisher.topic_of_texts("room", {"id": "3"})``, of what a command line has
        """
        return AsyncPublisherTopic(self._open_services, channel, texts, are_texts=True)

    def channel(self, name: str) -> AsyncPublisherChannel:
        """Return a channel as a whole.

        Args:
            name: The channel's name.

        Raises:
            SetupError: If the publisher is closed.

        Example:
            ``await publisher.channel("room").everyone.publish("closed-for-tonight")``
        """
        return AsyncPublisherChannel(self._open_services, name)

    def user(self, identity: str) -> AsyncPublisherTarget:
        """Return all streams of a user, in all browsers.

        Args:
            identity: The user's identity, as the ``@sse.identity`` function returns it.

        Raises:
            ParameterError: If it is no ``str``, or empty.
            SetupError: If the publisher is closed.

        Example:
            ``await publisher.user("7").publish("saved", {"id": 12})``
        """
        return user(self._open_services, identity)

    @property
    def everyone(self) -> AsyncPublisherTarget:
        """Every open stream of the app.

        Raises:
            SetupError: If the publisher is closed.

        Example:
            ``await publisher.everyone.publish("maintenance", {"minutes": 5})``
        """
        return everyone(self._open_services)

    @overload
    async def send(self, connection_id: str, name: EventType[Data], data: Data) -> bool: ...

    @overload
    async def send(self, connection_id: str, name: str, data: Any = None) -> bool: ...

    async def send(self, connection_id: str, name: EventType[Any] | str, data: Any = None) -> bool:
        """Send an event to one connection of any process, as :meth:`SSE.send` does.

        The process that has the connection is asked, so this takes a connection to the broker of
        its own and waits for the answer, at the longest for ``timeout``.

        Args:
            connection_id: The connection's id.
            name: The event's name, or its :class:`EventType`.
            data: The data, as for :meth:`AsyncPublisherTarget.publish`.

        Returns:
            Whether the connection is open.

        Raises:
            EventError: As for :meth:`AsyncPublisherTarget.publish`.
            SetupError: If the publisher is closed, or the broker serves one process alone.
            BrokerUnavailable: If the broker, or the process, did not answer in time.

        Example:
            ``await publisher.send(connection_id, "done", {"file": "report.pdf"})``, in a worker
        """
        catalog, messages = self._open_services
        messages.max_bytes = (await catalog.declared()).max_bytes
        text, is_text = messages.encode(name, data)
        broker, told = self._broker, {"name": event_name(name), "data": text, "is_text": is_text}
        assert broker is not None
        question = {"id": connection_id, **told}
        to = process_of(connection_id)
        return is_done(await ask(broker, "send", question, self._timeout, to), self._timeout)

    async def aclose(self) -> None:
        """End the publisher: connections of the running event loop are closed, and it refuses use.

        Example:
            ``await publisher.aclose()``, when the program ends
        """
        broker, self._broker = self._broker, None
        if broker is not None and self._is_own:
            await broker.stop()

    async def __aenter__(self) -> Self:
        """Return the publisher, which the end of the block closes."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the publisher."""
        await self.aclose()


def check(url: str | None, prefix: str, timeout: float) -> Config:
    """Return the settings of a publisher, read as those of an app.

    Args:
        url: The broker's URL; None for a broker that is given.
        prefix: The prefix of keys.
        timeout: Longest duration of a call, in seconds.

    Raises:
        SetupError: If the URL is ``memory://``.
        ConfigError: If something is invalid.
    """
    if url is not None and url.startswith("memory:"):
        raise SetupError(
            "A publisher cannot use memory://, which leads to no other process. Pass the "
            "QUART_SSE_BROKER_URL=redis://... of the app; within the app, use its own topics."
        )
    keys = {"QUART_SSE_REDIS_PREFIX": prefix, "QUART_SSE_BROKER_TIMEOUT": timeout}
    if url is not None:
        keys["QUART_SSE_BROKER_URL"] = url
    config = Config.read(keys, {})
    if url is not None and not re.match("(redis|rediss|unix)://", config.broker_url):
        raise ConfigError("QUART_SSE_BROKER_URL", url, "a redis://, rediss:// or unix:// URL")
    return config


_all: "weakref.WeakSet[AsyncPublisher]" = weakref.WeakSet()


def _abandon_all() -> None:
    with after_fork():
        for publisher in list(_all):
            if publisher._broker is not None:
                publisher._broker.abandon()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_abandon_all)
