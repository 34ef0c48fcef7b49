"""When a process begins to receive from the broker, and when it stops."""

from .broker import Broker, Control
from .hub import Hub


class Lifecycle:
    """Starts and stops what one app needs in a process that serves it.

    Args:
        broker: Begins to deliver to the hub.
        control: Joins the list of live processes.
        hub: Receives.
    """

    def __init__(self, broker: Broker, control: Control, hub: Hub) -> None:
        self._broker = broker
        self._control = control
        self._hub = hub
        self.is_started = False

    async def start(self) -> None:
        """Begin to receive from the broker: before serving, or with the first request."""
        if not self.is_started:
            self.is_started = True
            self._control.begin()
            await self._broker.start(self._hub)

    async def stop(self) -> None:
        """Leave the list of live processes, and receive no longer."""
        await self._control.end()
        await self._hub.close()
        await self._broker.stop()
        self.is_started = False

    async def release(self) -> None:
        """Free what the broker holds between calls, in a process that only publishes.

        Its event loop may end with the app context.
        """
        if not self.is_started:
            await self._broker.release()
