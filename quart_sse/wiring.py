"""Make the services of one app and connect them; no framework is imported here."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import CodeType
from typing import Any

from .access import ConnectElements, Gate, Revocations, Signer
from .broker import Broker, Control, MemoryBroker, ServingBroker
from .channels import (
    Announcer,
    AppChannels,
    AppFunctions,
    Binding,
    Channel,
    Members,
    PresenceTracker,
    Refreshing,
)
from .config import Config
from .error_log import ErrorLog
from .host import Host
from .hub import Connections, Hub
from .pages import Macros, Notifications, Pages, Renderer, Scripts
from .publisher import MessagePublisher
from .registry import (
    Closing,
    Desk,
    Hooks,
    ProcessList,
    Registry,
    Remote,
    Sending,
    Statistics,
    Survey,
    Surveying,
    live_processes,
)
from .server import AnswerHeaders, Housekeeping, Lifecycle, Middleware, Shutdown
from .serving_loop import ServingLoop
from .soon import Soon
from .streams import Initials, Jobs, Renewal, Replacing, StreamEndpoints, Streams, Viewers
from .tracing import find_tracing

#: Returns the identity of a host's current request.
Identify = Callable[[Host], Awaitable[str | None]]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Services:
    """The services of one app, in ``app.extensions["quart_sse"]``; not a public interface."""

    config: Config
    errors: ErrorLog
    host: Host
    serving: ServingLoop
    broker: ServingBroker
    control: Control
    hub: Hub
    connections: Connections
    channels: AppChannels
    presence: PresenceTracker
    binding: Binding
    registry: Registry
    processes: ProcessList
    statistics: Statistics
    survey: Survey
    sending: Sending
    remote: Remote
    signer: Signer
    gate: Gate
    revocations: Revocations
    viewers: Viewers
    streams: StreamEndpoints
    headers: AnswerHeaders
    lifecycle: Lifecycle
    shutdown: Shutdown
    housekeeping: Housekeeping
    pages: Pages
    renderer: Renderer
    macros: Macros

    def wrap(self, app: Any, sender: CodeType | None = None) -> Middleware:
        """Return the middleware around the framework's ASGI app.

        Args:
            app: The framework's ASGI app.
            sender: Code of the coroutine by which the framework sends an answer; None if unknown.
        """
        prefix = self.config.url_prefix
        return Middleware(
            app,
            self.lifecycle,
            self.shutdown,
            self.broker,
            self.headers,
            prefix,
            self.connections,
            sender,
            is_direct=self.config.direct,
        )


def wire(
    host: Host,
    broker: Broker,
    channels: Mapping[str, Channel],
    identify: Identify,
    config: Config,
    reloader: CodeType | None = None,
    functions: AppFunctions | None = None,
) -> Services:
    """Make the services of an app; its lifecycle starts them.

    Args:
        host: The app's framework.
        broker: The app's broker; see :func:`make_broker`.
        channels: Channel name -> channel; channels that are declared later appear in it.
        identify: Returns the current request's identity.
        config: The app's settings.
        reloader: Code of the coroutine in which the framework's reloader watches files; None
            without a reloader.
        functions: The functions that the app has registered for all channels; some may be
            registered later.
    """
    functions = functions or AppFunctions()
    errors = ErrorLog()
    serving = ServingLoop(config.broker_timeout)
    broker = ServingBroker(broker, serving)
    control = Control(broker, errors)
    declared = AppChannels(channels, config, host)
    control.processes.declare(declared.write)

    pages = Pages(host)
    renderer = Renderer(host, declared, broker, pages, config.render_timeout)

    tracing = find_tracing()
    hub = Hub(broker, config, declared, renderer, control, errors, serving, tracing)
    connections = hub.connections

    publisher = MessagePublisher(broker, config.pending_bytes, host.dumps, tracing)
    hooks = Hooks(host, functions, declared, connections, errors)
    members = Members(connections, config.presence_linger, host.keys, broker, declared)
    presence = PresenceTracker(
        broker,
        control,
        members,
        Announcer(broker, publisher, members, declared, config.debounce, hooks.attend),
        declared,
        config.broker_timeout,
        errors,
    )

    signer = Signer(host.keys, config.token_lifetime, config.token_max_lifetime)
    gate = Gate(host, declared, signer, broker, partial(identify, host), hub, functions, errors)
    elements = ConnectElements(declared, signer, broker, config)
    revocations = Revocations(control, connections, declared)

    scripts = Scripts(host, config, pages)
    closing = Closing(control, connections, hub.changes, hooks, presence, errors)
    binding = Binding(
        host=host,
        config=config,
        publisher=publisher,
        hub=hub,
        channels=declared,
        presence=presence,
        refreshing=Refreshing(declared, functions.refreshers),
        pushes=renderer,
        serving=serving,
        soon=Soon(serving),
        reload_file=scripts.named("update"),
    )
    desk = Desk(connections, hub.changes, declared, binding, hooks, presence, serving)

    statistics = Statistics(hub, broker, publisher)
    Surveying(control, hub, statistics, config)
    sending = Sending(desk, control, broker, publisher, serving, config)

    shutdown = Shutdown(connections, reloader)
    housekeeping = Housekeeping(
        broker, control.processes, hub, connections, declared, shutdown, config, errors
    )

    viewers = Viewers(host, signer, config)
    jobs = Jobs(publisher, config, errors)
    streams = Streams(
        hub,
        connections,
        revocations,
        presence,
        hooks,
        closing,
        control.processes,
        declared,
        config,
        serving,
        jobs,
    )
    renewal = Renewal(elements, signer, config)
    return Services(
        config=config,
        errors=errors,
        host=host,
        serving=serving,
        broker=broker,
        control=control,
        hub=hub,
        connections=connections,
        channels=declared,
        presence=presence,
        binding=binding,
        registry=Registry(desk),
        processes=ProcessList(control, desk, statistics, serving, config),
        statistics=statistics,
        survey=Survey(
            lambda question, data=None, *, deadline, to=None: serving.run(
                control.ask, question, data, deadline=deadline, to=to
            ),
            partial(serving.run, live_processes, control),
            config.broker_timeout,
        ),
        sending=sending,
        remote=Remote(declared, binding, sending),
        signer=signer,
        gate=gate,
        revocations=revocations,
        viewers=viewers,
        streams=StreamEndpoints(
            gate,
            streams,
            connections,
            viewers,
            renewal,
            Replacing(connections),
            Initials(host, declared, publisher, errors),
            jobs,
            broker,
            config,
            scripts.named("refused"),
        ),
        headers=AnswerHeaders(declared, config),
        lifecycle=Lifecycle(
            declared,
            serving,
            broker,
            control,
            hub,
            connections,
            presence,
            jobs,
            hooks,
            shutdown,
            housekeeping,
        ),
        shutdown=shutdown,
        housekeeping=housekeeping,
        pages=pages,
        renderer=renderer,
        macros=Macros(
            *(host, declared, gate, hub, renderer, elements, pages, scripts),
            notifications=Notifications(binding, gate, elements, pages, scripts),
        ),
    )


def _memory(config: Config) -> Broker:
    return MemoryBroker()


def _redis(config: Config) -> Broker:
    # Imported here, so that apps with one process do not load the Redis client.
    from .broker.redis import RedisBroker

    return RedisBroker(
        config.broker_url,
        prefix=config.redis_prefix,
        timeout=config.broker_timeout,
        probe=config.probe,
    )


#: Scheme of ``QUART_SSE_BROKER_URL`` -> what makes the broker.
BROKERS: dict[str, Callable[[Config], Broker]] = {
    "memory": _memory,
    "redis": _redis,
    "rediss": _redis,
    "unix": _redis,
}


def make_broker(config: Config) -> Broker:
    """Return the broker that ``QUART_SSE_BROKER_URL`` selects."""
    return BROKERS[config.broker_url.partition("://")[0]](config)
