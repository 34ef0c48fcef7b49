"""Lifecycle: a process begins to receive from the broker, and stops."""

from ..broker import Broker, Control
from ..hub import Hub


class Lifecycle:
    """Starts and stops what one app needs in a process that serves it.

    Attributes:
        is_started: Whether this process receives from the broker.

    Args:
        broker: Delivers messages to the hub from its start.
        control: Adds the process to the list of live processes.
        hub: Receives the messages.
    """

    def __init__(self, broker: Broker, control: Control, hub: Hub) -> None:
        self._broker = broker
        self._control = control
        self._hub = hub
        self.is_started: bool = False

    async def start(self) -> None:
        """Begin to receive from the broker; harmless if this process has started already.

        A lifespan calls this before serving, and otherwise the first request does.
        """
        if not self.is_started:
            self.is_started = True
            self._control.begin()
            await self._broker.start(self._hub)

    async def stop(self) -> None:
        """Leave the list of live processes, and stop receiving."""
        await self._control.end()
        await self._hub.close()
        await self._broker.stop()
        self.is_started = False

    async def release(self) -> None:
        """Close the broker's connections in a process that only publishes.

        They belong to the event loop, which may end with the app context.
        """
        if not self.is_started:
            await self._broker.release()
