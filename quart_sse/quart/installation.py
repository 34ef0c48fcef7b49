"""Install the extension in a Quart app: endpoints, hooks and middleware."""

from types import CodeType

from quart import Quart, utils
from quart.asgi import ASGIHTTPConnection

from ..broker import Broker
from ..channels import AppFunctions, Channel
from ..config import Config
from ..metrics import Metrics
from ..wiring import Identify, Services, make_broker, wire
from .development import TemplateWatcher
from .endpoints import Endpoints
from .host import QuartHost
from .hosts import HostRules
from .monitoring import StatsEndpoint
from .publishing import PublishEndpoint
from .sessions import leave_session


def reloader() -> CodeType | None:
    """Return the code of the coroutine in which Quart's reloader watches files; None without."""
    code = getattr(getattr(utils, "observe_changes", None), "__code__", None)
    return code if isinstance(code, CodeType) else None


def sender() -> CodeType | None:
    """Return the code of the coroutine by which Quart sends an answer; None if it is elsewhere."""
    code = getattr(getattr(ASGIHTTPConnection, "_send_response", None), "__code__", None)
    return code if isinstance(code, CodeType) else None


class Installation:
    """The extension in one Quart app.

    Args:
        app: The app.
        channels: Channel name -> declared channel.
        identify: Returns the current request's identity.
        config: The app's settings.
        broker: The app's broker; None for the one that the settings select.
        functions: The functions that the app has registered for all channels.
    """

    def __init__(
        self,
        app: Quart,
        channels: dict[str, Channel],
        identify: Identify,
        config: Config,
        broker: Broker | None = None,
        functions: AppFunctions | None = None,
    ) -> None:
        used = broker or make_broker(config)
        self._host = host = QuartHost(app, config, lambda: used.known)
        self.services: Services = wire(
            host, used, channels, identify, config, reloader(), functions
        )
        self.app: Quart = app
        self._endpoints = Endpoints(self.services)
        self._rules = HostRules(app, self._endpoints.is_ours)
        functions = functions or AppFunctions()
        self._publishing = PublishEndpoint(self.services, functions)
        self._monitoring = StatsEndpoint(self.services, functions)
        self._watcher: TemplateWatcher | None = None

    def install(self) -> None:
        """Register the endpoints, hooks and middleware."""
        app, services = self.app, self.services
        self._host.run_renders_apart()
        app.jinja_env.globals["_quart_sse"] = services.macros
        prefix = services.config.url_prefix
        app.register_blueprint(self._endpoints.extension_blueprint(), url_prefix=prefix)
        self._publishing.install(app, prefix)
        self._monitoring.install(app, prefix)
        for channel in services.channels.declared.values():
            self.add_channel(channel)
        self._rules.install()
        services.lifecycle.at_start.append(self._rules.repeat)
        app.after_request(self._endpoints.finish)
        app.after_request(leave_session(self._endpoints.is_ours))
        app.before_serving(self._watch_templates)
        app.before_serving(services.lifecycle.start)
        app.after_serving(services.lifecycle.stop)

        @app.teardown_appcontext
        async def release(_: BaseException | None) -> None:
            await services.lifecycle.release()

        # Quart documents this assignment as the way to add ASGI middleware; its types forbid it.
        app.asgi_app = services.wrap(app.asgi_app, sender())  # type: ignore[method-assign, assignment]

    def measure(self, metrics: Metrics) -> None:
        """Keep metrics up to date while the app is served, and once more when that ends.

        Args:
            metrics: Those of the extension.
        """
        metrics.add(self.services.statistics)
        self.services.housekeeping.add(metrics.poll)
        self.services.lifecycle.at_end.append(metrics.update)

    async def _watch_templates(self) -> None:
        # Some apps are served more than once, such as by test_app() in each of several tests.
        if self.app.debug and self._watcher is None:
            self._watcher = TemplateWatcher(self.app, self.services.hub)
            self.services.housekeeping.add(self._watcher.poll)

    def add_channel(self, channel: Channel) -> None:
        """Register the endpoints of a channel, also of one declared after :meth:`install`."""
        self._endpoints.add_channel(self.app, channel)
        if self.services.lifecycle.is_serving:
            self._rules.repeat()
