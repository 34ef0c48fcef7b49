"""What one app is served by: the one place that makes it, a function for each wing."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import CodeType

from quart import Quart, utils

from .access import Gate
from .app_channels import AppChannels
from .asgi import Middleware
from .broker import Broker, Control, MemoryBroker
from .channel import Binding, Channel
from .config import Config
from .connect import StreamEndpoints
from .connections import Connections
from .error_log import ErrorLog
from .host import Host
from .hub import Hub
from .leaf import ConnectElements
from .lifecycle import Lifecycle
from .markup import Macros
from .page_request import Pages
from .presence import PresenceTracker
from .publisher import AsyncPublisher
from .quart_host import QuartHost
from .render import Renderer
from .renewal import Renewal
from .revocation import Revocations
from .scripts import Scripts
from .shutdown import Shutdown
from .signer import Signer
from .stream import Streams
from .stream_request import Viewers
from .sweeper import Housekeeping
from .views import Endpoints

#: Returns who makes the current request.
Identify = Callable[[Host], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Services:
    """What serves one app: ``app.extensions["quart_sse"]``, for the extension alone."""

    app: Quart
    config: Config
    errors: ErrorLog
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
    housekeeping: Housekeeping
    shutdown: Shutdown
    macros: Macros
    endpoints: Endpoints


def wire(
    app: Quart, channels: Mapping[str, Channel], identify: Identify, config: Config
) -> Services:
    """Make what serves an app; nothing of it is started.

    Args:
        app: The app.
        channels: The declared channels; more may be declared.
        identify: Returns who makes the current request.
        config: The app's settings.

    Raises:
        SetupError: If the broker needs what is not installed.
    """
    errors = ErrorLog()
    broker = make_broker(config)
    control = Control(broker, errors)
    host = QuartHost(app, config, lambda: broker.known)
    declared = AppChannels(channels, config, host)
    pages = Pages(host)
    renderer = Renderer(host, declared, broker, pages, config.render_timeout)
    hub = Hub(broker, config, declared, renderer, control, errors)
    connections = Connections(config, hub.routes)
    publisher = AsyncPublisher(broker, config.pending_bytes, host.dumps)
    presence = PresenceTracker(broker, publisher, connections, declared, config)
    signer = Signer(host.keys, config.token_lifetime, config.token_max_lifetime)
    gate = Gate(host, declared, signer, broker, partial(identify, host), hub, errors)
    elements = ConnectElements(declared, signer, broker, config)
    revocations = Revocations(control, connections, declared)
    shutdown = Shutdown(connections, reloader=_reloader())
    housekeeping = Housekeeping(
        broker, control.processes, hub, connections, presence, shutdown, config, errors
    )
    viewers = Viewers(host, signer, config)
    streams = StreamEndpoints(
        gate,
        Streams(hub, connections, revocations, presence, config, housekeeping.wake),
        connections,
        viewers,
        Renewal(elements, signer, config),
        broker,
        config,
    )
    macros = Macros(host, declared, gate, hub, renderer, elements, pages, Scripts(host, config))
    return Services(
        app=app,
        config=config,
        errors=errors,
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
        streams=streams,
        lifecycle=Lifecycle(broker, control, hub),
        housekeeping=housekeeping,
        shutdown=shutdown,
        macros=macros,
        endpoints=Endpoints(gate, declared, streams, hub, renderer, pages, macros, config),
    )


def install(services: Services) -> None:
    """Let an app serve by what was made for it.

    Args:
        services: Made by :func:`wire`.
    """
    app, lifecycle = services.app, services.lifecycle
    shutdown, housekeeping = services.shutdown, services.housekeeping
    prefix = services.config.url_prefix
    app.jinja_env.globals["_quart_sse"] = services.macros
    app.register_blueprint(services.endpoints.extension_blueprint(), url_prefix=prefix)
    for channel in services.channels.declared.values():
        install_channel(services, channel)
    app.after_request(services.endpoints.finish)

    @app.before_serving
    async def start() -> None:
        await lifecycle.start()
        shutdown.start()
        housekeeping.start()

    @app.after_serving
    async def stop() -> None:
        await shutdown.stop()
        await housekeeping.stop()
        await lifecycle.stop()

    @app.teardown_appcontext
    async def release(_: BaseException | None) -> None:
        await lifecycle.release()

    # Documented by Quart as the way to add ASGI middleware; its type says otherwise.
    app.asgi_app = Middleware(  # type: ignore[method-assign, assignment]
        app.asgi_app, lifecycle, shutdown, services.broker, prefix
    )


def install_channel(services: Services, channel: Channel) -> None:
    """Let an app serve the streams and fragments of a channel."""
    services.app.register_blueprint(
        services.endpoints.channel_blueprint(channel),
        name_prefix="sse",
        url_prefix=services.config.url_prefix,
    )


def _reloader() -> CodeType | None:
    """Return the code of the coroutine by which Quart looks for changes of files."""
    code = getattr(getattr(utils, "observe_changes", None), "__code__", None)
    return code if isinstance(code, CodeType) else None


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
