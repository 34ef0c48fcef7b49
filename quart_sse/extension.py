"""The extension itself: ``SSE``."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from types import EllipsisType
from typing import Any, TypeVar

from quart import Quart, Response

from .access import private
from .asgi import Wrapper
from .broker import Broker, Keep
from .broker.control import Control
from .broker.memory import MemoryBroker
from .callbacks import call, check_identity
from .channel import Channel, Topic
from .config import Config
from .connect import open_own_stream
from .errors import (
    AnswerError,
    DeclarationError,
    ParameterError,
    SetupError,
    UnknownChannelError,
)
from .event import Event
from .fragment import FragmentSpec, Rendered
from .hub import Hub
from .limits import Limits
from .markup import Macros
from .naming import parse_topic
from .page_request import current_browser, current_identity, current_page
from .render import render_shared
from .revocation import Revocations
from .shutdown import Shutdown
from .signer import Signer
from .state import KEY, State, current_state
from .sweeper import Sweeper
from .views import channel_blueprint, extension_blueprint

logger = logging.getLogger("quart_sse")

Function = TypeVar("Function", bound=Callable[..., Any])


class SSE:
    """Live server-rendered pages for a Quart app.

    Args:
        app: The app; or None, to call :meth:`init_app` later. One object can serve several apps:
            channels are shared by all of them, everything else is kept per app.

    Example:
        .. code-block:: python

            sse = SSE(app)

        or, with an application factory:

        .. code-block:: python

            sse = SSE()

            def create_app() -> Quart:
                app = Quart(__name__)
                sse.init_app(app)
                return app
    """

    def __init__(self, app: Quart | None = None) -> None:
        self.channels: dict[str, Channel] = {}
        self._states: list[State] = []
        self._identity: Callable[..., Any] | None = None
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Quart) -> None:
        """Initialise the extension for an app.

        Call it once per app, before the app serves, and after ``app.config`` holds the
        extension's keys, which are read here and never again: every field of
        :class:`~quart_sse.config.Config` is one, such as ``QUART_SSE_BROKER_URL``,
        ``QUART_SSE_URL_PREFIX``, ``QUART_SSE_HTMX`` and ``QUART_SSE_HISTORY``; a key that is not
        in ``app.config`` is taken from the environment variable of the same name.

        Args:
            app: The app.

        Raises:
            SetupError: If the app was initialised before, or its broker needs what is not
                installed.
            ConfigError: If a key's value cannot be used.
        """
        if KEY in app.extensions:
            raise SetupError(
                "This app was initialised for quart_sse before. Call init_app(app) once, or use "
                "SSE() without the app where you call init_app(app) later."
            )
        config = Config.read(app.config, os.environ)
        broker = make_broker(config)
        source = _Source(self.channels)
        hub = Hub(broker, config, source)
        control, limits = Control(broker, hub.errors), Limits()
        state = State(
            app=app,
            config=config,
            broker=broker,
            control=control,
            hub=hub,
            limits=limits,
            revocations=Revocations(control, hub, limits, lambda topics: private(topics, state)),
            channels=self.channels,
            signer=Signer(lambda: _keys(app), config.token_lifetime, config.token_max_lifetime),
            identify=lambda: self._identify(app),
            wake_sweeper=lambda: sweeper.wake(),
        )
        source.state = state
        shutdown = Shutdown(state)
        sweeper = Sweeper(state, shutdown.poll)
        macros = Macros(state, self.channels)

        app.extensions[KEY] = state
        self._states.append(state)
        app.jinja_env.globals["_quart_sse"] = macros
        app.register_blueprint(extension_blueprint(), url_prefix=config.url_prefix)
        for channel in self.channels.values():
            _register(app, config, channel)
        app.after_request(macros.append_to)

        @app.before_serving
        async def start() -> None:
            await state.start()
            shutdown.start()
            sweeper.start()

        @app.after_serving
        async def stop() -> None:
            await shutdown.stop()
            await sweeper.stop()
            await state.stop()

        @app.teardown_appcontext
        async def release(_: BaseException | None) -> None:
            # A worker that only publishes: its loop may end with the context.
            if not state.is_started:
                await broker.release()

        # Documented by Quart as the way to add ASGI middleware; its type says otherwise.
        app.asgi_app = Wrapper(state, shutdown, app.asgi_app)  # type: ignore[method-assign, assignment]

    # -- declaring -------------------------------------------------------------------------------

    def channel(
        self,
        name: str,
        rule: str,
        *,
        public: bool = False,
        history: int | None = None,
        history_ttl: float | None = None,
    ) -> Channel:
        """Declare a channel: something that pages can listen to.

        Args:
            name: Letters, digits, ``_`` and ``-``; part of endpoints (``sse.<name>.stream``), of
                fragment names (``<name>.list``) and of what goes over the wire.
            rule: A URL rule, below ``QUART_SSE_URL_PREFIX``, whose parameters pick a topic.
            public: Whether anybody may listen, who knows or guesses the URL. Otherwise a page
                of the app must have shown the topic, or ``authorize`` agree.
            history: Events kept per topic for those who come back; 0 keeps none, and such events
                may be missed. None for ``QUART_SSE_HISTORY``.
            history_ttl: Seconds that they are kept after a topic's last one; None for
                ``QUART_SSE_HISTORY_TTL``.

        Raises:
            DeclarationError: If the name or rule cannot be used or is taken.

        Example:
            ``comments = sse.channel("comments", "/discussion/<int:discussion_id>/comments")``
        """
        if name in self.channels:
            raise DeclarationError(
                f"A channel {name!r} is declared already. Keep it in a variable and use that, or "
                "choose another name."
            )
        taken = next((other for other in self.channels.values() if other.rule == rule), None)
        if taken is not None:
            raise DeclarationError(
                f"The rule {rule!r} belongs to channel {taken.name!r} already. Choose another."
            )
        if history is not None and history < 0:
            raise DeclarationError(f"history is {history!r}. It must be 0 or more.")
        if history_ttl is not None and not 1 <= history_ttl < float("inf"):
            raise DeclarationError(f"history_ttl is {history_ttl!r}. It must be 1 s or more.")
        channel = Channel(
            name,
            rule,
            public=public,
            history=history,
            history_ttl=history_ttl,
            default_state=self._state,
        )
        for state in self._states:
            _register(state.app, state.config, channel)
        self.channels[name] = channel
        return channel

    def identity(self, function: Function) -> Function:
        """Let this function say who makes the current request: a string, or None for nobody.

        What a page shows to somebody can then be listened to by nobody else. It may be sync or
        async, and is asked once per request that needs it.

        Raises:
            DeclarationError: If there is such a function already.

        Example:
            .. code-block:: python

                @sse.identity
                async def identity() -> str | None:
                    return current_user.auth_id
        """
        if self._identity is not None:
            raise DeclarationError("@sse.identity was used before. Join the two into one.")
        self._identity = function
        return function

    async def _identify(self, app: Quart) -> str | None:
        if self._identity is None:
            return None
        identity = await call(app, self._identity, {})
        return check_identity(identity, "The function of @sse.identity returned")

    # -- using -----------------------------------------------------------------------------------

    def _state(self) -> State:
        """Return the state of the current app, or of the only one."""
        if len(self._states) == 1:
            return self._states[0]
        if not self._states:
            raise SetupError(
                "This SSE object serves no app yet. Call sse.init_app(app) before its topics are "
                "used."
            )
        return current_state()

    @property
    def broker(self) -> Broker:
        """The current app's broker; its ``state`` says whether it can be used."""
        return self._state().broker

    def topic(self, name: str, /, **params: Any) -> Topic:
        """Return the topic of a channel by the channel's name.

        Raises:
            UnknownChannelError: If no such channel was declared.
            ParameterError: If the parameters are not those of its rule.
        """
        channel = self.channels.get(name)
        if channel is None:
            raise UnknownChannelError(name, self.channels)
        return channel.topic(**params)

    def position(self) -> str:
        """Return where the current request's page starts: for a page that opens its own stream.

        A page that appends facts it rendered may be sent some of them again (at least once); a
        client drops the ids that it has.
        """
        return str(current_page().since or 0)

    async def stream(
        self,
        *topics: Topic,
        initial: Iterable[Event] = (),
        metadata: Mapping[str, object] | None = None,
        identity: str | EllipsisType | None = ...,
    ) -> Response:
        """Return a stream of topics as the answer of one of the app's own views.

        The view has decided who may listen: nothing else is asked, but pages of other origins are
        refused as everywhere. It starts where the client's ``Last-Event-ID``, or ``since`` in the
        query, says, else with what comes next. A client that returns after it was told to stop
        is answered by 204. The events of a single topic have their bare names; those of several,
        the full ones of ``sse_event``.

        Args:
            topics: What to stream; at least one.
            initial: Sent before all else.
            metadata: Kept with the connection.
            identity: Who listens, for :meth:`disconnect` and presence: a str that is not empty,
                or None for a visitor who is not signed in. Left out, it is what the function of
                ``@sse.identity`` says.

        Raises:
            ParameterError: Without topics, or if one is no topic, such as a channel.
            AnswerError: If the identity cannot be one.

        Example:
            .. code-block:: python

                @app.get("/ticker")
                async def ticker() -> Response:
                    return await sse.stream(prices.topic(), initial=[Event("hello", "welcome")])
        """
        for topic in topics:
            _check_topic("sse.stream()", topic)
        if not topics:
            raise ParameterError("sse.stream() needs a topic, such as sse.stream(prices.topic()).")
        who = (
            await current_identity()
            if isinstance(identity, EllipsisType)
            else check_identity(identity, "identity= of sse.stream() is")
        )
        return open_own_stream(topics, initial, metadata, who)

    async def disconnect(self, *, identity: str) -> None:
        """End every stream of a user, in every process; clients that come back are judged again.

        Args:
            identity: As the function of ``@sse.identity`` gives it.

        Raises:
            AnswerError: If it is not a str, or empty: no stream can have that identity.
            BrokerUnavailable: If other processes could not be told.

        Example:
            ``await sse.disconnect(identity=str(user.id))``
        """
        if check_identity(identity, "identity= of sse.disconnect() is") is None:
            raise AnswerError(
                "identity= of sse.disconnect() is None, which no stream has. Give the user's "
                "identity; to end the streams of a topic there is sse.recheck(topic)."
            )
        await self._state().revocations.disconnect(identity)

    async def logout(self) -> None:
        """End the current user's streams in this browser, in all its tabs and every process.

        Without it other tabs go on receiving until they reconnect, within ``QUART_SSE_MAX_AGE``.
        Call it in the view that signs the user out, before or after the session is cleared.
        Clients that come back are judged as what they are then. Streams of the same user in other
        browsers stay; :meth:`disconnect` ends those, too.

        Raises:
            BrokerUnavailable: If other processes could not be told.

        Example:
            .. code-block:: python

                @app.post("/logout")
                async def logout() -> Response:
                    await sse.logout()
                    session.clear()
                    return redirect("/")
        """
        state = self._state()
        identity, browser = await current_identity(), current_browser(state)
        if identity is None and browser is None:
            if not state.config.browser_cookie:
                logger.warning(
                    "sse.logout() was called when the user was forgotten already, and no cookie "
                    "tells whose streams to end. Call it before the session is cleared, or set "
                    "QUART_SSE_BROWSER_COOKIE."
                )
            return

        async def end() -> None:
            await state.revocations.logout(identity, browser)

        await end()
        # Once more when the browser has been sent the answer that ends its session: a stream
        # that came back before was let in by the cookie of the session that is over.
        current_page().farewell = end

    async def recheck(self, topic: Topic) -> None:
        """End every stream of a topic, so that clients that come back are judged again.

        Raises:
            ParameterError: If it is no topic, such as a channel.
            BrokerUnavailable: If other processes could not be told.

        Example:
            ``await sse.recheck(comments.topic(discussion_id=7))``
        """
        _check_topic("sse.recheck()", topic)
        await self._state().revocations.recheck(topic.name)

    async def close_all(self) -> None:
        """End every stream of this process, for servers whose stop is not noticed.

        New streams are told to come back later. It returns when all have ended, or after a
        second; what a server holds back then it must end itself.
        """
        state = self._state()
        state.is_closing = True
        state.end_all()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await state.hub.emptied.wait()


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


def _register(app: Quart, config: Config, channel: Channel) -> None:
    app.register_blueprint(
        channel_blueprint(channel), name_prefix="sse", url_prefix=config.url_prefix
    )


def _keys(app: Quart) -> list[bytes]:
    if not app.secret_key:
        return []
    keys = [app.secret_key, *(app.config.get("SECRET_KEY_FALLBACKS") or ())]
    return [key.encode() if isinstance(key, str) else key for key in keys]


def _check_topic(function: str, topic: object) -> None:
    if not isinstance(topic, Topic):
        raise ParameterError(
            f"{function} was given {topic!r}, which is no topic. Write channel.topic(...), with "
            "the channel's parameters."
        )


class _Source:
    """What the hub of one app asks of the layers above it."""

    state: State

    def __init__(self, channels: Mapping[str, Channel]) -> None:
        self._channels = channels

    def _channel(self, topic: str) -> Channel | None:
        return self._channels.get(parse_topic(topic)[0])

    def spec(self, topic: str, fragment: str) -> FragmentSpec | None:
        channel = self._channel(topic)
        declared = channel.fragments.get(fragment) if channel is not None else None
        return None if declared is None else declared.spec

    async def render(self, topic: str, fragment: str, root: str) -> Rendered:
        channel = self._channel(topic)
        assert channel is not None  # spec() knew it
        values = channel.known_values(self.state.app, topic)
        path = channel.fragment_url(self.state.app, values, fragment)
        renderer = channel.find(fragment).renderer
        return await render_shared(self.state, topic, fragment, renderer, values, path, root)

    def keep(self, topic: str) -> Keep:
        channel = self._channel(topic)
        config = self.state.config
        return channel.keep(config) if channel is not None else Keep(0, config.history_ttl)

    def control(self, name: str, data: str) -> None:
        self.state.control.take(name, data)

    def control_lost(self) -> None:
        self.state.control.lose()
