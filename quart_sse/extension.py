"""The extension itself: ``SSE``."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from types import EllipsisType
from typing import Any, TypeVar

from quart import Quart, Response, abort, current_app, has_app_context, request

from .access import check_identity
from .broker import Broker
from .channels import Binding, Channel, Topic
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
from .quart import Installation, respond
from .wire import Event, Refusal
from .wiring import Services

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
        self._installations: list[Installation] = []
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
        installation = Installation(app, self.channels, self._identify, config)
        app.extensions[KEY] = installation.services
        self._installations.append(installation)
        installation.install()

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
            binding=self._binding,
        )
        for installation in self._installations:
            installation.add_channel(channel)
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

    async def _identify(self, host: Host) -> str | None:
        if self._identity is None:
            return None
        identity = await host.call(self._identity, {})
        return check_identity(identity, "The function of @sse.identity returned")

    # -- using -----------------------------------------------------------------------------------

    @property
    def _current(self) -> Services:
        """What serves the current app, or the only one."""
        if len(self._installations) == 1:
            return self._installations[0].services
        if not self._installations:
            raise SetupError(
                "This SSE object serves no app yet. Call sse.init_app(app) before its topics are "
                "used."
            )
        return current_services()

    def _binding(self) -> Binding:
        return self._current.binding

    @property
    def broker(self) -> Broker:
        """The current app's broker; its ``state`` says whether it can be used."""
        return self._current.broker

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
        return str(current_services().host.exchange().since or 0)

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
            await current_services().gate.identity()
            if isinstance(identity, EllipsisType)
            else check_identity(identity, "identity= of sse.stream() is")
        )
        try:
            answer = await current_services().streams.view(request, topics, initial, metadata, who)
        except Refusal as refusal:
            abort(refusal.ending.status)
        return respond(answer)

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
        await self._current.revocations.disconnect(identity)

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
        services = self._current
        identity = await services.gate.identity()
        browser = services.viewers.browser_of(request)
        if identity is None and browser is None:
            if not services.config.browser_cookie:
                logger.warning(
                    "sse.logout() was called when the user was forgotten already, and no cookie "
                    "tells whose streams to end. Call it before the session is cleared, or set "
                    "QUART_SSE_BROWSER_COOKIE."
                )
            return
        await services.revocations.logout(identity, browser)

        async def end_later_ones() -> None:
            try:
                await services.revocations.logout(identity, browser)
            except BrokerUnavailable:
                logger.warning(
                    "The broker is away, so streams of a user who signed out may stay open."
                )

        # Once more when the browser has been sent the answer that ends its session: a stream
        # that came back before was let in by the cookie of the session that is over.
        services.host.exchange().after.append(end_later_ones)

    async def recheck(self, topic: Topic) -> None:
        """End every stream of a topic, so that clients that come back are judged again.

        Raises:
            ParameterError: If it is no topic, such as a channel.
            BrokerUnavailable: If other processes could not be told.

        Example:
            ``await sse.recheck(comments.topic(discussion_id=7))``
        """
        _check_topic("sse.recheck()", topic)
        await self._current.revocations.recheck(topic.name)

    async def close_all(self) -> None:
        """End every stream of this process, for servers whose stop is not noticed.

        New streams are told to come back later. It returns when all have ended, or after a
        second; what a server holds back then it must end itself.
        """
        connections = self._current.connections
        connections.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await connections.emptied.wait()


def current_services() -> Services:
    """Return what serves the current app.

    Raises:
        SetupError: Outside an app context, or if the app was never initialised.
    """
    if not has_app_context():
        raise SetupError(
            "quart_sse was used outside an app context, so it cannot know which app is meant. "
            "Wrap the call in 'async with app.app_context():'."
        )
    services = current_app.extensions.get(KEY)
    if not isinstance(services, Services):
        raise SetupError(
            "This app was not initialised for quart_sse. Call sse.init_app(app) or SSE(app)."
        )
    return services


def _check_topic(function: str, topic: object) -> None:
    if not isinstance(topic, Topic):
        raise ParameterError(
            f"{function} was given {topic!r}, which is no topic. Write channel.topic(...), with "
            "the channel's parameters."
        )
