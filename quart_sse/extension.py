"""The extension: :class:`SSE`, which an app makes once."""

import asyncio
import contextlib
import gc
import logging
import os
import re
import weakref
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from quart import (
    Blueprint,
    Quart,
    Response,
    abort,
    current_app,
    has_app_context,
    has_request_context,
    request,
)

from .access import check_identity
from .broker import Broker
from .channels import AppFunctions, Binding, Channel, ChannelOptions, Everyone, Topic, User
from .config import Config
from .errors import (
    AnswerError,
    BrokerUnavailable,
    DeclarationError,
    ParameterError,
    SetupError,
    UnknownChannelError,
)
from .host import KEY, Host
from .hub import metadata_of
from .inspector import CHANNEL, MAX_AGE, RULE, Inspector
from .logs import LogLine
from .metrics import Metrics, metrics_of
from .publisher import Data, EventType
from .quart import Installation, itself, respond
from .registry import ProcessList, Registry, Stats, StreamHooks
from .streams import ResumableSource, Source, StreamSource, last_event_id, source_of
from .wire import STARTED, Event, Refusal
from .wiring import Services

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

LOGOUT_OF_NONE = LogLine(
    "access",
    "logout-of-none",
    logging.WARNING,
    "sse.logout() found neither an identity nor a browser cookie, so it ended no stream. Call it "
    "before the session is cleared, or set QUART_SSE_BROWSER_COOKIE.",
)
LOGOUT_UNSENT = LogLine(
    "access",
    "logout-unsent",
    logging.WARNING,
    "The broker is unavailable, so streams of a user who signed out may stay open for "
    "QUART_SSE_MAX_AGE. Call sse.disconnect(identity=...) when it is back.",
)

Function = TypeVar("Function", bound=Callable[..., Any])
Result = TypeVar("Result")

#: A connection's id that an app may choose. Those that are made have a dot.
_ID = re.compile(r"[\w-]{1,64}", re.ASCII)


class SSE:
    """Live server-rendered pages for a Quart app.

    One object can serve several apps. They share its channels; connections, broker and settings
    belong to each app.

    Args:
        app: The app to initialise; None to call :meth:`init_app` later.
        broker: As for :meth:`init_app`; only with an app.

    Attributes:
        channels: Channel name -> declared channel.

    Raises:
        SetupError: As for :meth:`init_app`.
        ConfigError: As for :meth:`init_app`.

    Example:
        .. code-block:: python

            sse = SSE(app)

        With an application factory:

        .. code-block:: python

            sse = SSE()

            def create_app() -> Quart:
                app = Quart(__name__)
                sse.init_app(app)
                return app
    """

    def __init__(self, app: Quart | None = None, *, broker: Broker | None = None) -> None:
        self.channels: dict[str, Channel] = {}
        self._names: dict[str, str] = {}  #: rule -> name of its channel
        # An app is collected when nothing else holds it, such as one that was made for a test.
        self._installations: weakref.WeakSet[Installation] = weakref.WeakSet()
        self._identity: Callable[..., Any] | None = None
        self._functions = AppFunctions()
        self._metrics: Metrics | None = None
        self._inspector: Inspector | None = None
        if app is not None:
            self.init_app(app, broker=broker)
        elif broker is not None:
            raise SetupError("SSE(broker=...) has no app. Give it to init_app(app, broker=...).")

    def init_app(self, app: Quart, *, broker: Broker | None = None) -> None:
        """Initialise the extension for an app: endpoints, hooks, macros and middleware.

        Call it once per app, before the app serves. The ``QUART_SSE_*`` keys of ``app.config`` are
        read here and never again, so set them before; absent keys come from the environment.
        :class:`~quart_sse.config.Config` has all keys, such as ``QUART_SSE_BROKER_URL``,
        ``QUART_SSE_URL_PREFIX``, ``QUART_SSE_HTMX`` and ``QUART_SSE_HISTORY``.

        Args:
            app: The app.
            broker: A broker of the app's own, for this app alone; None for the one that
                ``QUART_SSE_BROKER_URL`` selects. What a :class:`Broker` has to do may still change
                until version 1.0.

        Raises:
            SetupError: If the app was initialised before, or the broker serves another app.
            ConfigError: If a key is unknown or its value is invalid.

        Example:
            ``sse.init_app(app)``
        """
        if KEY in app.extensions:
            raise SetupError(
                "This app is initialised for quart_sse already. Call init_app(app) once, and use "
                "SSE() without the app where you call init_app(app) later."
            )
        config = Config.read(app.config, os.environ)
        if any(broker is each.services.broker.inner for each in self._installations):
            raise SetupError("This broker serves another app. Make one for each app.")
        installation = Installation(
            app, self.channels, self._identify, config, broker, self._functions
        )
        app.extensions[KEY] = installation.services
        self._installations.add(installation)
        installation.install()
        if self._metrics is not None:
            installation.measure(self._metrics)
        if self._inspector is not None:
            self._inspector.install(app, installation.services)

    # -- declaring -------------------------------------------------------------------------------

    def channel(
        self,
        name: str,
        rule: str,
        *,
        public: bool = False,
        presence: bool | Iterable[str] = False,
        history: int | None = None,
        history_ttl: float | None = None,
        max_connections: int | None = None,
        max_per_topic: int | None = None,
        max_age: float | None = None,
        max_idle: float | None = None,
        heartbeat: float | None = None,
        retry: float | None = None,
        headers: Mapping[str, str] | None = None,
        origins: Iterable[str] = (),
        blueprint: Blueprint | str | None = None,
    ) -> Channel:
        """Declare a channel: a URL rule whose parameters select a topic.

        A setting that is left out is the app's: ``history`` is ``QUART_SSE_HISTORY``, and so on.
        Where one stream has several channels, the shortest of their times counts. The channel's own
        URL, of the endpoint ``sse.<name>.stream``, is for programs and for pages of other sites;
        pages of the app listen at the URL that all channels share.

        Args:
            name: Letters, digits, ``_`` and ``-``. The name is part of endpoints
                (``sse.<name>.stream``), fragment names (``<name>.list``) and topic names.
            rule: URL rule of Werkzeug, below ``QUART_SSE_URL_PREFIX``.
            public: Whether every client that knows or guesses the URL may listen. Otherwise a
                client needs the token of a page that shows the topic, or the consent of
                ``authorize``.
            presence: Whether the broker records who listens to the channel's topics, so that
                ``topic.presence()`` is one question to it, also in processes that serve nothing,
                and ``sse_presence`` shows it. A list of keys, such as ``("name",)``, does the same,
                and presence carries these keys of the metadata (:meth:`metadata`), which all who
                see who is here may then see. A fragment with ``presence=True``, or a hook of
                ``on_join`` or ``on_leave``, lets the broker record it as well. Otherwise all
                processes are asked.
            history: Number of events kept per topic for clients that resume; 0 keeps none, so that
                clients miss events while they reconnect.
            history_ttl: Lifetime of a topic's history after its last event, in seconds, at least 1.
            max_connections: Limit of open connections in one process that listen to any topic of
                the channel, 1 or more; further clients must retry. None sets no limit beside
                ``QUART_SSE_MAX_CONNECTIONS``.
            max_per_topic: Limit of open connections per topic in one process, 1 or more.
            max_age: Lifetime of a stream, in seconds, at least 1. It ends at 80 to 100 % of it, and
                its client reconnects and is judged again.
            max_idle: Seconds, at least 1, after which a stream ends if no event and no HTML of its
                topics was sent; the client reconnects after about 30 seconds and resumes. None
                sets no limit.
            heartbeat: Interval in which an idle stream sends its position, in seconds, 0.1 to 30.
            retry: Reconnect delay of clients whose stream was cut, in seconds, 0.1 to 86,400; at
                the channel's own URL and in :meth:`stream`.
            headers: Name -> value of further response headers at the channel's own URL, also of
                refusals.
            origins: Origins such as ``https://example.org`` whose pages may open the channel's own
                URL, beside ``QUART_SSE_ORIGINS``. They get the headers that browsers then require
                (CORS).
            blueprint: The blueprint to which the fragments' requests belong, or its name as the app
                registers it, such as ``"shop.cart"``: its hooks and context processors run, and
                ``url_for(".page")`` leads to its views.

        Returns:
            The channel, which declares fragments and returns topics.

        Raises:
            DeclarationError: If the name or rule is invalid or taken, a number is out of its range,
                or a header or an origin is invalid.

        Example:
            ``comments = sse.channel("comments", "/discussion/<int:discussion_id>/comments")``
        """
        if name in self.channels:
            raise DeclarationError(
                f"Channel {name!r} is declared already. Keep it in a variable and use that, or "
                "choose another name."
            )
        if rule in self._names:
            raise DeclarationError(
                f"The rule {rule!r} belongs to channel {self._names[rule]!r} already. Choose "
                "another."
            )
        options = ChannelOptions(
            public=public,
            presence=presence,
            history=history,
            history_ttl=history_ttl,
            max_connections=max_connections,
            max_per_topic=max_per_topic,
            max_age=max_age,
            max_idle=max_idle,
            heartbeat=heartbeat,
            retry=retry,
            headers={} if headers is None else headers,
            origins=origins,
        )
        channel = Channel(
            name,
            rule,
            options,
            blueprint=blueprint.name if isinstance(blueprint, Blueprint) else blueprint,
            binding=self._binding,
            refreshers=self._functions.refreshers,
        )
        for installation in self._installations:
            installation.add_channel(channel)
        self.channels[name] = channel
        self._names[rule] = name
        return channel

    def identity(self, function: Function) -> Function:
        """Register the function that returns the current user's identity.

        A page's token is good for the identity that it was made for, and for no other. The function
        runs once in each request that needs the identity, in a thread if it is sync.

        Args:
            function: A sync or async function without arguments. It returns a ``str`` that is not
                empty, or None for an anonymous user.

        Returns:
            The function, unchanged.

        Raises:
            DeclarationError: If an identity function is registered already.

        Example:
            .. code-block:: python

                @sse.identity
                async def identity() -> str | None:
                    return current_user.auth_id
        """
        if self._identity is not None:
            raise DeclarationError(
                "An @sse.identity function is registered already. Combine the two into one."
            )
        self._identity = function
        return function

    def metadata(self, function: Function) -> Function:
        """Register the function that returns what the app knows of a client, for its connection.

        Events can be filtered by it (``publish(..., where=...)``), and connections have it
        (``connection.metadata``). It runs in the request of each client that connects, in a thread
        if it is sync, and again when the client reconnects.

        Args:
            function: A sync or async function without arguments. It returns a dict with ``str``
                keys and JSON values, of at most 4,096 characters, or None. Any other answer is
                logged as an error, and the client retries later. ``abort(4xx)`` refuses it.

        Returns:
            The function, unchanged.

        Raises:
            DeclarationError: If such a function is registered already.

        Example:
            .. code-block:: python

                @sse.metadata
                async def metadata() -> dict[str, str]:
                    return {"role": current_user.role, "locale": session["locale"]}
        """
        if self._functions.metadata is not None:
            raise DeclarationError(
                "An @sse.metadata function is registered already. Combine the two into one."
            )
        self._functions.metadata = function
        return function

    def authorize_publish(self, function: Function) -> Function:
        """Allow other programs to publish by HTTP, and register what decides over each request.

        Without it there is no such URL. With it, ``POST /sse/~publish`` (below
        ``QUART_SSE_URL_PREFIX``) takes JSON, with the same checks as the app's own calls.
        docs/publishing.md has its form.

        Args:
            function: A sync or async function without arguments, which runs in the request. It
                returns True to allow it. False, None and ``abort(4xx)`` refuse it; any other answer
                is logged as an error and refuses it, too.

        Returns:
            The function, unchanged.

        Raises:
            DeclarationError: If such a function is registered already.

        Example:
            .. code-block:: python

                @sse.authorize_publish
                def may_publish() -> bool:
                    given = request.headers.get("Authorization", "")
                    return hmac.compare_digest(given, f"Bearer {app.config['PUBLISH_KEY']}")
        """
        if self._functions.publishing is not None:
            raise DeclarationError(
                "An @sse.authorize_publish function is registered already. Combine the two into "
                "one."
            )
        self._functions.publishing = function
        return function

    def on_connect(self, function: Function) -> Function:
        """Register a hook that is called when a connection has opened.

        Tabs that share a stream are one connection, and it stays one while the script replaces its
        stream. The hook runs in an app context of its own, off the delivery path; an error is
        logged and harms no stream.

        Args:
            function: A sync or async function that takes the :class:`ConnectionHandle`.

        Returns:
            The function, unchanged.

        Example:
            .. code-block:: python

                @sse.on_connect
                async def greet(connection: ConnectionHandle) -> None:
                    await connection.send("hello", {"id": connection.id})
        """
        self._functions.on_connect.append(function)
        return function

    def on_disconnect(self, function: Function) -> Function:
        """Register a hook that is called when a connection has ended.

        It runs as that of :meth:`on_connect`, and after it.

        Args:
            function: A sync or async function that takes the :class:`ConnectionHandle`, and how the
                stream ended: an :class:`Ending`, or None if the client has gone.

        Returns:
            The function, unchanged.

        Example:
            .. code-block:: python

                @sse.on_disconnect
                def log(connection: ConnectionHandle, ending: Ending | None) -> None:
                    app.logger.info("%s has left: %s", connection.identity, ending)
        """
        self._functions.on_disconnect.append(function)
        return function

    async def _identify(self, host: Host) -> str | None:
        if self._identity is None:
            return None
        identity = await host.call(self._identity, {})
        return check_identity(identity, "The function of @sse.identity returned")

    # -- using -----------------------------------------------------------------------------------

    @property
    def _current(self) -> Services:
        """The services of the current app, of the only one, or of the one that is served here."""
        apps = [each.services for each in self._installations]
        if len(apps) == 1:
            return apps[0]
        if not apps:
            raise SetupError(
                "This SSE object serves no app yet. Call sse.init_app(app) before you use its "
                "topics."
            )
        if has_app_context():
            return current_services()
        served = [services for services in apps if services.lifecycle.is_serving]
        if len(served) != 1:
            gc.collect()  # apps of tests that have ended
            apps = [each.services for each in self._installations]
        return apps[0] if len(apps) == 1 else served[0] if len(served) == 1 else current_services()

    def _binding(self) -> Binding:
        return self._current.binding

    @property
    def broker(self) -> Broker:
        """The current app's broker.

        ``broker.state`` tells a health check whether the broker is available, and
        ``broker.is_shared`` a worker whether other processes receive what it publishes.

        Example:
            ``sse.broker.state.value == "ready"``
        """
        return self._current.broker.inner

    @property
    def is_rendering(self) -> bool:
        """Whether the current request is the anonymous one in which a shared fragment is rendered.

        All hooks of the app run in it. A gate, a rate limiter or a request log may let it pass.

        Example:
            .. code-block:: python

                @app.before_request
                async def gate() -> None:
                    if not sse.is_rendering and not await current_user.is_authenticated:
                        raise Unauthorized
        """
        if not has_request_context() or not isinstance(
            services := current_app.extensions.get(KEY), Services
        ):
            return False
        return services.host.exchange().is_rendering

    def topic(self, name: str, /, **params: Any) -> Topic:
        """Return a topic by the name of its channel.

        Use it where the channel object is not at hand; :meth:`Channel.topic` is the same.

        Args:
            name: The channel's name.
            params: The topic's parameters.

        Raises:
            UnknownChannelError: If the channel is not declared.
            ParameterError: If the parameters are not those of its rule.
            SetupError: As for :meth:`Channel.topic`.

        Example:
            ``await sse.topic("comments", discussion_id=7).refresh("list")``
        """
        channel = self.channels.get(name)
        if channel is None:
            raise UnknownChannelError(name, self.channels)
        return channel.topic(**params)

    def position(self) -> str:
        """Return the position at which the current request's page starts.

        A page that opens its own stream passes it as ``?since=`` and misses no event. It may
        receive events that it has rendered already, so it must drop the ids that it has.

        Returns:
            The position, for URLs; ``"0"`` if it is unknown, which resets the page.

        Raises:
            SetupError: If there is no current app, or it is not initialised.

        Example:
            ``url_for("sse.prices.stream", since=sse.position())``
        """
        return str(current_services().host.exchange().since or 0)

    async def connect_url(self, *topics: Topic) -> str:
        """Return the URL of a stream of topics that starts at the current request's position.

        It is what ``sse_connect`` writes into a page, for answers that are no page: JSON for an
        island of a page, or for a program. The view that calls it decides who sees the topics: the
        URL holds a token that grants their events, as a page does, to the current identity and for
        ``QUART_SSE_TOKEN_LIFETIME``. What is published while the view reads its data is sent, too,
        so a client drops what the answer has already.

        Args:
            topics: The topics. Without any the stream has what is for everyone, and for the user.

        Returns:
            The URL's path and query. The answer is ``Cache-Control: private, no-store`` if the
            token is signed, unless the view sets the header.

        Raises:
            ParameterError: If an argument is no topic (such as a channel).
            ConfigError: If there are more topics than ``QUART_SSE_MAX_TOPICS``.
            FragmentError: Inside a shared fragment, whose HTML all viewers receive.
            MissingSecretKeyError: If a channel is not public, and the app has no secret key.
            SetupError: Outside a request, or if the app is not initialised.

        Example:
            .. code-block:: python

                @app.get("/api/discussion/<int:id>")
                async def as_json(id: int) -> dict[str, object]:
                    url = await sse.connect_url(comments.topic(discussion_id=id))
                    return {"comments": await load_comments(id), "stream": url}
        """
        for topic in topics:
            _check_topic("sse.connect_url()", topic)
        services = current_services()
        if not has_request_context():
            raise SetupError(
                "sse.connect_url() was called outside a request, so the client and the position "
                "of its answer are unknown. Call it in the view that answers."
            )
        return await services.macros.url([topic.name for topic in topics])

    # -- connections -----------------------------------------------------------------------------

    @property
    def connections(self) -> Registry:
        """The open connections of this process.

        Raises:
            SetupError: If the SSE object serves no app, or several and none is current.

        Example:
            ``sse.connections.count(channel="comments")``
        """
        return self._current.registry

    @property
    def processes(self) -> ProcessList:
        """The live processes of the app, and the connections of all of them.

        Raises:
            SetupError: As for :attr:`connections`.

        Example:
            ``(await sse.processes.count()).total``
        """
        return self._current.processes

    def user(self, identity: str) -> User:
        """Return a user as a target of events: all browsers in which the user is signed in.

        Args:
            identity: The user's identity, as the ``@sse.identity`` function returns it.

        Raises:
            AnswerError: If the identity is None, empty or no ``str``.
            SetupError: As for :attr:`connections`.

        Example:
            ``await sse.user(str(user.id)).publish("saved", {"id": 12})``
        """
        checked = check_identity(identity, "identity of sse.user() is")
        if checked is None:
            raise AnswerError(
                "identity of sse.user() is None, which names no user. Pass the user's identity, or "
                "use sse.everyone."
            )
        return User(self._current.binding, checked)

    @property
    def everyone(self) -> Everyone:
        """Every open stream of the app, as a target of events.

        Raises:
            SetupError: As for :attr:`connections`.

        Example:
            ``await sse.everyone.publish("maintenance", {"minutes": 5})``
        """
        return Everyone(self._current.binding)

    # -- monitoring --------------------------------------------------------------------------------

    def stats(self) -> Stats:
        """Return figures of this process: connections, messages, renders, lag, memory.

        Those of all processes are ``await sse.processes.stats()``.

        Raises:
            SetupError: As for :attr:`connections`.

        Example:
            ``sse.stats().connections``
        """
        return self._current.statistics.of_process()

    def stats_endpoint(self, *, authorize: Callable[..., Any] | None = None) -> None:
        """Serve the figures of :meth:`stats` as JSON, for health checks and dashboards.

        Without this call there is no such URL. With it, ``GET /sse/~stats`` (below
        ``QUART_SSE_URL_PREFIX``) answers with status 200, or with 503 while the broker is not
        there or the server stops; ``healthy`` says the same. ``?processes=all`` gives the figures
        of all processes, added up.

        Args:
            authorize: A sync or async function without arguments, which runs in the request. It
                returns True to allow it. False, None and ``abort(4xx)`` refuse it; any other answer
                is logged as an error and refuses it, too. None refuses every request.

        Raises:
            DeclarationError: If the endpoint is there already.

        Example:
            .. code-block:: python

                def may_read() -> bool:
                    given = request.headers.get("Authorization", "")
                    return hmac.compare_digest(given, f"Bearer {app.config['STATS_KEY']}")

                sse.stats_endpoint(authorize=may_read)
        """
        if self._functions.stats is not None:
            raise DeclarationError(
                "sse.stats_endpoint() was called already. Combine the two authorize functions into "
                "one."
            )
        self._functions.stats = (authorize,)

    def metrics(self, registry: "CollectorRegistry | None" = None) -> Metrics:
        """Keep metrics for Prometheus, and return what tells them.

        It needs prometheus-client (``quart-sse[metrics]``). With ``PROMETHEUS_MULTIPROC_DIR`` set,
        the metrics are those of all processes of the machine. Call it at any time before the app
        serves; further calls return the same metrics.

        Args:
            registry: The registry of prometheus-client that has the metrics; None for its default.

        Returns:
            The metrics: ``exposition()`` is the answer to Prometheus.

        Raises:
            SetupError: If prometheus-client is not installed.
            DeclarationError: If another registry has the metrics already.

        Example:
            .. code-block:: python

                metrics = sse.metrics()

                @app.get("/metrics")
                async def show_metrics() -> Response:
                    return Response(metrics.exposition(), content_type=metrics.content_type)
        """
        metrics = metrics_of(registry)
        if self._metrics not in (None, metrics):
            raise DeclarationError(
                "sse.metrics() was called with another registry before. Pass the same one, or keep "
                "what it returned in a variable."
            )
        if self._metrics is None:
            self._metrics = metrics
            for installation in self._installations:
                installation.measure(metrics)
        return metrics

    def inspector(
        self, *, authorize: Callable[..., Any] | None = None, payloads: bool = True
    ) -> None:
        """Serve pages on which operators see and steer what is live, in all processes.

        They are at ``/sse/~inspector`` (below ``QUART_SSE_URL_PREFIX``), for a browser, and need
        ``app.secret_key``. Without this call there are none. docs/inspector.md describes them.

        Args:
            authorize: A sync or async function without arguments, which runs in each request for a
                page, an action or a stream, and again at least once a minute while a stream is
                open. It returns True to allow it. False, None and ``abort(4xx)`` refuse it; any
                other answer is logged as an error and refuses it, too. None refuses everyone.
            payloads: Whether the pages show the data of events, and what errors of renderers say.

        Raises:
            DeclarationError: If the inspector is there already.

        Example:
            .. code-block:: python

                def may_inspect() -> bool:
                    return session.get("role") == "admin"

                sse.inspector(authorize=may_inspect)
        """
        if self._inspector is not None:
            raise DeclarationError(
                "sse.inspector() was called already. Combine the two authorize functions into one."
            )
        channel = self.channel(CHANNEL, RULE, presence=True, history=0, max_age=MAX_AGE)
        self._inspector = Inspector(channel, authorize, payloads)
        for installation in self._installations:
            self._inspector.install(installation.app, installation.services)

    # -- publishing --------------------------------------------------------------------------------

    def run_soon(self, coroutine: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Start a coroutine without waiting for it, from any thread.

        It runs in the event loop that serves the app, with the context of the caller. Use it for
        what has no method of its own, such as ``sse.disconnect()``; topics have
        :meth:`Topic.publish_soon`, ``refresh_soon`` and ``push_soon``. What one thread starts
        begins in that order, and waits for what the thread has published before. No lock is taken,
        so signal handlers may call it.

        Where the process does not serve the app, the coroutine runs in the event loop of the
        calling thread, or to its end at once if that has none.

        Args:
            coroutine: What an async function has returned.

        Returns:
            A future with its result or error. An error that is not asked for is logged. Its
            ``result()`` raises RuntimeError in the thread of the loop that runs the coroutine.

        Raises:
            TypeError: If it is no coroutine.
            SetupError: As for :attr:`connections`.

        Example:
            ``sse.run_soon(sse.disconnect(identity="7"))``
        """
        return self._current.binding.soon.run(coroutine)

    def batch(self) -> AbstractAsyncContextManager[None]:
        """Publish together, at the end of a block, what is published within it.

        Several refreshes of one fragment become one, and all is sent in one round trip. If the
        block raises, nothing is published, so that pages do not show what was rolled back. What a
        thread or task publishes that the block has started, and waits for, belongs to it.

        Returns:
            An async context manager. Leaving it raises BrokerUnavailable if the broker did not
            confirm everything.

        Raises:
            SetupError: As for :attr:`connections`.

        Example:
            .. code-block:: python

                async with sse.batch():  # with SQLAlchemy: async with sse.batch(), session.begin():
                    await comments.topic(discussion_id=7).refresh("list")
        """
        return self._current.binding.publisher.batch()

    @overload
    async def send(self, connection_id: str, name: EventType[Data], data: Data) -> bool: ...

    @overload
    async def send(self, connection_id: str, name: str, data: Any = None) -> bool: ...

    async def send(self, connection_id: str, name: EventType[Any] | str, data: Any = None) -> bool:
        """Send an event to one connection, of whichever process.

        The connection's id names the process, which is asked. An id of the app's own
        (``sse.stream(connection_id=...)``) names none, so all processes are asked.

        Args:
            connection_id: The connection's id.
            name: The event's name or :class:`EventType`, as for :meth:`Topic.publish`.
            data: The data, as for :meth:`Topic.publish`.

        Returns:
            Whether the connection was open, so that the event is on its way. It is in no history.

        Raises:
            EventError: As for :meth:`Topic.publish`.
            BrokerUnavailable: If the process did not answer within ``QUART_SSE_BROKER_TIMEOUT``;
                ``maybe_published`` is then true. It is false if too many messages were under way,
                so that this one was not sent.
            SetupError: If the connection is not here, and this process serves nothing.

        Example:
            ``await sse.send(connection_id, "paid", {"order": 12})``
        """
        return await self._current.sending.send(connection_id, name, data)

    async def close(self, connection_id: str, *, retry: float | None = None) -> bool:
        """End one connection, of whichever process; see :meth:`ConnectionHandle.close`.

        Args:
            connection_id: The connection's id.
            retry: Seconds after which the client comes back; None if it does not.

        Returns:
            Whether the connection was open.

        Raises:
            ParameterError: If ``retry`` is no number of seconds of 0 or more.
            BrokerUnavailable: As for :meth:`send`.
            SetupError: As for :meth:`send`.

        Example:
            ``await sse.close(connection_id, retry=60)``
        """
        return await self._current.sending.close(connection_id, retry)

    @overload
    async def stream(
        self,
        *topics: Topic,
        initial: Iterable[Event] = (),
        metadata: Mapping[str, object] | EllipsisType | None = ...,
        identity: str | EllipsisType | None = ...,
        connection_id: str | None = None,
        on_connect: Callable[..., Any] | None = None,
        on_disconnect: Callable[..., Any] | None = None,
        names: Literal["full", "bare"] | None = None,
    ) -> Response: ...
    @overload
    async def stream(
        self,
        source: StreamSource,
        /,
        *,
        resume: Literal[False] = False,
        initial: Iterable[Event] = (),
        metadata: Mapping[str, object] | EllipsisType | None = ...,
        identity: str | EllipsisType | None = ...,
        connection_id: str | None = None,
        on_connect: Callable[..., Any] | None = None,
        on_disconnect: Callable[..., Any] | None = None,
    ) -> Response: ...
    @overload
    async def stream(
        self,
        source: ResumableSource,
        /,
        *,
        resume: Literal[True],
        initial: Iterable[Event] = (),
        metadata: Mapping[str, object] | EllipsisType | None = ...,
        identity: str | EllipsisType | None = ...,
        connection_id: str | None = None,
        on_connect: Callable[..., Any] | None = None,
        on_disconnect: Callable[..., Any] | None = None,
    ) -> Response: ...
    async def stream(
        self,
        *topics: Any,
        resume: bool = False,
        initial: Iterable[Event] = (),
        metadata: Mapping[str, object] | EllipsisType | None = ...,
        identity: str | EllipsisType | None = ...,
        connection_id: str | None = None,
        on_connect: Callable[..., Any] | None = None,
        on_disconnect: Callable[..., Any] | None = None,
        names: Literal["full", "bare"] | None = None,
    ) -> Response:
        """Return a stream of topics, or of what a source sends, as the response of a view.

        The view authorizes the client: neither tokens nor ``authorize`` apply, but pages of other
        origins are refused.

        A *source* is a generator, or a callback that takes the stream. It sends an :class:`Event`,
        a pair of name and data, a ``str`` or ``bytes``, no faster than the client reads. Its end is
        ``sse-stop``, an error ``sse-error`` and ``sse-stop``. When the client has gone, it is
        closed, so that its ``finally`` runs. A sync source runs in a thread of its own, of which
        there are ``QUART_SSE_SYNC_STREAMS``. A client that was cut off is sent ``sse-stop`` when it
        comes again, unless ``resume`` is true.

        A stream of topics resumes from the client's ``Last-Event-ID`` header or the
        query's ``since``, and otherwise starts with the next message. A client that reconnects
        after ``sse-stop`` gets a 204, after which ``EventSource`` stops (WHATWG HTML, 9.2.3).

        Events of a single topic have their bare names, and events of several topics the names that
        ``sse_event`` writes. Pass ``names`` where the number of topics may vary, or a client that
        asks for one more topic hears none of its events.

        Args:
            topics: The topics, at least one; or one source.
            resume: Whether the source is a generator function, which is called with the id of the
                last event that the client has received, or None, and again after a cut.
            initial: Events that are sent first.
            metadata: What the app knows of the client, as ``@sse.metadata`` returns it; None for
                nothing. Without the argument it is that of ``@sse.metadata``.
            identity: The user's identity, for :meth:`disconnect` and presence: a ``str`` that is
                not empty, or None for an anonymous user. Without the argument it is that of
                ``@sse.identity``.
            connection_id: An id of the app's own for the connection: 1 to 64 letters, digits, ``_``
                and ``-``. None for one that is made.
            on_connect: As for :meth:`on_connect`, for this stream alone.
            on_disconnect: As for :meth:`on_disconnect`, for this stream alone.
            names: Names of the events on the wire: ``"full"`` as ``sse_event`` writes them
                (``prices.price?name=a``), ``"bare"`` as they are published (``price``). None for
                bare names if there is one topic, and full ones if there are several.

        Returns:
            The response, which the view must return unchanged.

        Raises:
            ParameterError: If there is no topic, an argument is no topic (such as a channel),
                ``connection_id`` is malformed or open in this process, or ``names`` is neither of
                the two words.
            TypeError: If a source comes with topics or with another source, or cannot be one.
            AnswerError: If the identity is neither None nor a ``str`` that is not empty, or the
                metadata are no JSON.
            HTTPException: By ``abort()``, if a page of another origin asks.

        Example:
            .. code-block:: python

                @app.get("/ticker")
                async def ticker() -> Response:
                    hello = Event("hello", name="welcome")
                    return await sse.stream(prices.topic(), initial=[hello])

            With a source:

            .. code-block:: python

                async def steps() -> AsyncIterator[tuple[str, int]]:
                    for done in range(11):
                        yield "progress", 10 * done
                        await asyncio.sleep(1)

                @app.get("/report/progress")
                async def progress() -> Response:
                    return await sse.stream(steps())
        """
        source = _source_in(topics, resume)
        if connection_id is not None and not _ID.fullmatch(connection_id):
            raise ParameterError(
                f"connection_id is {connection_id!r}. Use 1 to 64 letters, digits, '_' and '-'."
            )
        if names not in (None, "full", "bare"):
            raise ParameterError(f"names of sse.stream() is {names!r}. Pass 'full' or 'bare'.")
        services = current_services()
        who = (
            await services.gate.identity()
            if isinstance(identity, EllipsisType)
            else check_identity(identity, "identity= of sse.stream() is")
        )
        hooks = StreamHooks(on_connect, on_disconnect) if on_connect or on_disconnect else None
        try:
            what = (
                await services.gate.metadata()
                if isinstance(metadata, EllipsisType)
                else metadata_of(metadata, "metadata= of sse.stream() is")
            )
            if source is None:
                bare = None if names is None else names == "bare"
                answer = await services.streams.view(
                    itself(), topics, initial, who, what, connection_id, hooks, bare
                )
            else:
                answer = services.streams.own(
                    itself(), source, initial, who, what, connection_id, hooks
                )
        except Refusal as refusal:
            abort(refusal.ending.status)
        return respond(answer)

    async def disconnect(self, *, identity: str) -> None:
        """End all streams of a user, in all browsers and processes.

        The clients reconnect, and the gate judges them again. Use it after a ban or when a password
        was changed.

        Args:
            identity: The user's identity, as the ``@sse.identity`` function returns it.

        Raises:
            AnswerError: If the identity is None, empty or no ``str``.
            BrokerUnavailable: If the broker did not confirm the message; streams may stay open.

        Example:
            ``await sse.disconnect(identity=str(user.id))``
        """
        if check_identity(identity, "identity= of sse.disconnect() is") is None:
            raise AnswerError(
                "identity= of sse.disconnect() is None, which names no user. Pass the user's "
                "identity, or end the streams of a topic with sse.recheck(topic)."
            )
        await self._current.revocations.disconnect(identity)

    async def logout(self) -> None:
        """End the current user's streams in this browser: in all tabs and processes.

        Without it other tabs receive the user's events until they reconnect, at the latest after
        ``QUART_SSE_MAX_AGE``. Call it in the view that signs the user out, before or after the
        session is cleared. The tabs reconnect, and the gate judges them again. Streams of the user
        in other browsers stay open; :meth:`disconnect` ends these, too.

        Raises:
            BrokerUnavailable: If the broker did not confirm the message; streams may stay open.

        Example:
            .. code-block:: python

                @app.post("/logout")
                async def logout() -> Response:
                    await sse.logout()
                    session.clear()
                    return redirect("/")
        """
        services = self._current
        identity = await services.gate.identity()
        browser = services.viewers.browser_of(request)
        if identity is None and browser is None:
            if not services.config.browser_cookie:
                LOGOUT_OF_NONE.log()
            return
        await services.revocations.logout(identity, browser)

        async def end_later_ones() -> None:
            try:
                await services.revocations.logout(identity, browser)
            except BrokerUnavailable:
                LOGOUT_UNSENT.log()

        # Again after the response that clears the session was sent: a stream that reconnected
        # before still had the old session's cookie.
        exchange = services.host.exchange()
        exchange.after = (*exchange.after, end_later_ones)

    async def recheck(self, topic: Topic) -> None:
        """End all streams of a topic, in every process, so that the gate judges the clients again.

        Use it when users lose the right to read a topic.

        Args:
            topic: The topic.

        Raises:
            ParameterError: If the argument is no topic (such as a channel).
            BrokerUnavailable: If the broker did not confirm the message; streams may stay open.

        Example:
            ``await sse.recheck(comments.topic(discussion_id=7))``
        """
        _check_topic("sse.recheck()", topic)
        await self._current.revocations.recheck(topic.name)

    async def close_all(self) -> None:
        """End all streams of this process, for servers whose stop is not noticed.

        It may be called in any thread, such as by ``asyncio.run(sse.close_all())``. The clients
        reconnect later (``sse-holdoff``), and new streams are refused likewise. It
        returns when all streams have ended, at the latest after one second; streams that a client
        does not read may remain open.

        Raises:
            SetupError: If there is no current app, or it is not initialised.

        Example:
            ``await sse.close_all()``
        """
        services = self._current
        connections = services.connections

        async def close() -> None:
            connections.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await connections.emptied.wait()

        await services.serving.run(close)


def current_services() -> Services:
    """Return the services of the current app.

    Raises:
        SetupError: If there is no app context, or the app is not initialised.
    """
    if not has_app_context():
        raise SetupError(
            "quart_sse was used outside an app context, so the app is unknown. Wrap the call in "
            "'async with app.app_context():'."
        )
    services = current_app.extensions.get(KEY)
    if not isinstance(services, Services):
        raise SetupError(
            "This app is not initialised for quart_sse. Call sse.init_app(app) or SSE(app)."
        )
    return services


def _source_in(given: tuple[Any, ...], resume: bool) -> Source | None:
    """Return the source that ``SSE.stream`` was given; None if it was given topics.

    Raises:
        TypeError: If both were given, several sources, or what cannot be a source.
        ParameterError: If nothing was given, or a channel.
    """
    if not given:
        raise ParameterError("sse.stream() needs a topic, such as sse.stream(prices.topic()).")
    sources = [each for each in given if not isinstance(each, Topic)]
    for each in sources:
        if each is None or isinstance(each, Channel | str):  # what is meant to be a topic
            _check_topic("sse.stream()", each)
    if not sources and not resume:
        return None
    if not sources:
        raise TypeError(
            "resume=True is for a source; streams of topics resume by themselves. Leave it out."
        )
    if len(sources) < len(given):
        raise TypeError(
            "sse.stream() got topics and a source. A stream of topics goes on where a client was "
            "cut off, by ids of the broker; a source has ids of its own, and runs once. Answer "
            "with two streams, or publish to the topic what the source sends."
        )
    if len(sources) > 1:
        raise TypeError(
            f"sse.stream() got {len(sources)} sources, but a stream has one. Let one generator "
            "send what all of them would."
        )
    last = last_event_id(request) or None
    if last == STARTED:  # of a release in which the source did not resume
        last = None
    return source_of(sources[0], request.endpoint or request.path, resume, last)


def _check_topic(function: str, topic: object) -> None:
    if not isinstance(topic, Topic):
        raise ParameterError(
            f"{function} got {topic!r}, which is no topic. Pass channel.topic(...), with the "
            "channel's parameters."
        )
