"""The publisher of the command line, which also says what it knows, and listens."""

from typing import Any, NamedTuple

from ..broker import Answers, Broker, Keep, Process, Processes
from ..wire import channel_of, identity_of, is_audience, parse_topic
from .asking import ask
from .catalog import Catalog
from .declared import Declared
from .publisher import AsyncPublisher
from .targets import AsyncPublisherTarget


class Place(NamedTuple):
    """What is listened to.

    Attributes:
        topic: Name of the topic, or of an audience.
        keep: How its history is kept.
        fragments: Names of the topic's fragments.
    """

    topic: str
    keep: Keep
    fragments: frozenset[str]


class ShellPublisher(AsyncPublisher):
    """Publishes, asks and listens for one command of a shell, and closes the broker in the end.

    Args:
        broker: As for :class:`AsyncPublisher`.
        declared: What the app declares, where the app is at hand; None to read it.
        options: Further arguments of :class:`AsyncPublisher`.
    """

    def __init__(
        self, broker: str | Broker, *, declared: Declared | None = None, **options: Any
    ) -> None:
        super().__init__(broker, **options)
        if declared is not None:
            catalog = Catalog(self.broker, (), "", declared)
            self._services = self._services._replace(catalog=catalog)

    @property
    def broker(self) -> Broker:
        """The broker.

        Raises:
            SetupError: If the publisher is closed.
        """
        broker = self._broker if self._open_services else None
        assert broker is not None
        return broker

    @property
    def timeout(self) -> float:
        """Longest duration of a call, in seconds."""
        return self._timeout

    async def declared(self) -> Declared:
        """Return what the app declares.

        Raises:
            SetupError: If no process of the app has declared anything.
            BrokerUnavailable: If the broker does not answer.
        """
        return await self._open_services.catalog.declared()

    def target(self, name: str) -> AsyncPublisherTarget:
        """Return what events are published to, by the name of a topic or an audience.

        Args:
            name: Such as ``room?id=3``, ``everyone`` or ``user?identity=7``.

        Raises:
            ParameterError: If it names a user without an identity.
        """
        if not is_audience(name):
            return self.topic_of_texts(*parse_topic(name))
        identity, channel = identity_of(name), channel_of(name)
        if identity is not None:
            return self.user(identity)
        return self.everyone if channel is None else self.channel(channel).everyone

    async def place(self, name: str) -> Place:
        """Return what is listened to, by the name of a topic or an audience.

        Raises:
            UnknownChannelError: As for :meth:`AsyncPublisherTarget.publish`, and so are all other
                errors.
        """
        topic, keep, channel = await self.target(name)._place()
        names = () if channel is None or is_audience(topic) else channel.record.fragments
        return Place(topic, keep, frozenset(names))

    async def ask(
        self, question: str, data: Any = None, *, deadline: float, to: str | None = None
    ) -> Answers:
        """Ask one process of the app, or all; see ``Control.ask``."""
        return await ask(self.broker, question, data or {}, deadline, to)

    async def live(self) -> dict[str, Process]:
        """Return the live processes of the app, by id.

        Raises:
            BrokerUnavailable: If the broker does not answer.
        """
        return {process.id: process for process in await Processes(self.broker).live()}

    async def aclose(self) -> None:
        """End the publisher, and close the broker, also one that the caller has made."""
        broker = self._broker
        await super().aclose()
        if broker is not None and not self._is_own:
            await broker.stop()
