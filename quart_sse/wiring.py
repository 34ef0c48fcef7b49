"""What one app is served by: the one place that makes it, and no framework is known here."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import CodeType
from typing import Any

from .access import ConnectElements, Gate, Revocations, Signer
from .broker import Broker, Control, MemoryBroker
from .channels import AppChannels, Binding, Channel, PresenceTracker
from .config import Config
from .error_log import ErrorLog
from .host import Host
from .hub import Connections, Hub
from .pages import Macros, Pages, Renderer, Scripts
from .publisher import AsyncPublisher
from .server import Housekeeping, Lifecycle, Middleware, Shutdown
from .streams import Renewal, StreamEndpoints, Streams, Viewers

#: Returns who makes the current request of a host.
Identify = Callable[[Host], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Services:
    """What serves one app: ``app.extensions["quart_sse"]``, for the extension alone."""

    config: Config
    errors: ErrorLog
    host: Host
    broker: Broker
    control: Control
    hub: Hub
    connections: Connections
    channels: AppChannels
    presence: PresenceTracker
    binding: Binding
    signer: Signer
    gate: Gate
    revocations: Revocations
    viewers: Viewers
    streams: StreamEndpoints
    lifecycle: Lifecycle
    shutdown: Shutdown
    housekeeping: Housekeeping
    pages: Pages
    renderer: Renderer
    macros: Macros

    async def start(self) -> None:
        """Begin to serve; servers have installed their signal handlers by then."""
        await self.lifecycle.start()
        self.shutdown.start()
        self.housekeeping.start()

    async def stop(self) -> None:
        """End all streams, and free what is held."""
        await self.shutdown.stop()
        await self.housekeeping.stop()
        await self.lifecycle.stop()

    def wrap(self, app: Any) -> Middleware:
        """Return the middleware around the framework's ASGI app."""
        return Middleware(app, self.lifecycle, self.shutdown, self.broker, self.config.url_prefix)


def wire(
    host: Host,
    broker: Broker,
    channels: Mapping[str, Channel],
    identify: Identify,
    config: Config,
    reloader: CodeType | None = None,
) -> Services:
    """Make what serves an app; nothing of it is started.

    Args:
        host: The framework, as the app uses it.
        broker: See :func:`make_broker`.
        channels: The declared channels; more may be declared.
        identify: Returns who makes the current request.
        config: The app's settings.
        reloader: The code of the coroutine by which the framework looks for changes of files; None
            if it has none.
    """
    errors = ErrorLog()
    control = Control(broker, errors)
    declared = AppChannels(channels, config, host)

    pages = Pages(host)
    renderer = Renderer(host, declared, broker, pages, config.render_timeout)

    hub = Hub(broker, config, declared, renderer, control, errors)
    connections = Connections(config, hub.subscribers)

    publisher = AsyncPublisher(broker, config.pending_bytes, host.dumps)
    presence = PresenceTracker(broker, publisher, connections, declared, config)

    signer = Signer(host.keys, config.token_lifetime, config.token_max_lifetime)
    gate = Gate(host, declared, signer, broker, partial(identify, host), hub, errors)
    elements = ConnectElements(declared, signer, broker, config)
    revocations = Revocations(control, connections, declared)

    shutdown = Shutdown(connections, reloader)
    housekeeping = Housekeeping(
        broker, control.processes, hub, connections, presence, shutdown, config, errors
    )

    viewers = Viewers(host, signer, config)
    streams = Streams(hub, connections, revocations, presence, config, housekeeping.wake)
    renewal = Renewal(elements, signer, config)

    scripts = Scripts(host, config)
    return Services(
        config=config,
        errors=errors,
        host=host,
        broker=broker,
        control=control,
        hub=hub,
        connections=connections,
        channels=declared,
        presence=presence,
        binding=Binding(host, config, publisher, hub, presence, renderer),
        signer=signer,
        gate=gate,
        revocations=revocations,
        viewers=viewers,
        streams=StreamEndpoints(gate, streams, connections, viewers, renewal, broker, config),
        lifecycle=Lifecycle(broker, control, hub),
        shutdown=shutdown,
        housekeeping=housekeeping,
        pages=pages,
        renderer=renderer,
        macros=Macros(host, declared, gate, hub, renderer, elements, pages, scripts),
    )


def make_broker(config: Config) -> Broker:
    """Return the broker that ``QUART_SSE_BROKER_URL`` names."""
    if config.broker_url == "memory://":
        return MemoryBroker()
    # Only here, so that apps of one process need not load it.
    from .broker.redis import RedisBroker

    return RedisBroker(
        config.broker_url,
        prefix=config.redis_prefix,
        timeout=config.broker_timeout,
        probe=config.probe,
        most=config.replay_events,
    )
