"""Channels and topics: what applications declare, publish to, refresh and close."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any

from markupsafe import escape

from ..errors import FragmentError
from ..hub import FragmentSpec
from ..publisher import ChannelRecord
from ..wire import check_item, plain
from .binding import Binding
from .declaration import BUILT_IN, Declaration, Fragment
from .declaring import Declaring
from .options import ChannelOptions
from .presence import Presence
from .refreshing import Refreshers
from .target import Target, WholeChannel, page_that_asks

#: Template of the built-in fragments, in which an app may write other words.
PRESENCE = "quart_sse/presence.html"


class Channel(Declaring):
    """A named kind of topic: a URL rule whose parameters select one topic.

    ``sse.channel(...)`` makes channels and documents the arguments. A channel declares its
    fragments (:meth:`fragment`), authorizes clients (:meth:`authorize`) and returns topics
    (:meth:`topic`).

    Example:
        .. code-block:: python

            comments = sse.channel("comments", "/discussion/<int:discussion_id>/comments")

            @comments.fragment("list")
            async def comment_list(discussion_id: int) -> str:
                return await render_template("_comments.html", ...)

            await comments.topic(discussion_id=7).refresh("list")
    """

    def __init__(
        self,
        name: str,
        rule: str,
        options: ChannelOptions,
        *,
        blueprint: str | None = None,
        binding: Callable[[], Binding],
        refreshers: Refreshers | None = None,
    ) -> None:
        declaration = Declaration(name, rule, options, blueprint)
        super().__init__(declaration, {} if refreshers is None else refreshers)
        self._binding = binding
        if options.presence:
            for fragment in BUILT_IN:
                spec = FragmentSpec(fragment, presence=True)
                renderer = partial(self._show_presence, "names" in fragment)
                self._declaration.built_in[fragment] = Fragment(spec, renderer)

    def topic(self, /, **params: Any) -> "Topic":
        """Return the topic that these parameters select.

        The parameters are built into a URL and matched back by the rule's converters, so that
        publishers and clients always mean the same topic.

        Args:
            params: One value for each parameter of the rule, of the type that its converter gives.

        Returns:
            The topic, bound to the current app.

        Raises:
            ParameterError: If a parameter is missing or unknown, or its URL leads back to another
                value (as an empty string, ``1.0`` for an int, or a string with ``/``).
            SetupError: If the SSE object serves no app, or several and none is current.

        Example:
            ``comments.topic(discussion_id=7).name == "comments?discussion_id=7"``
        """
        binding = self._binding()
        name, values = self._declaration.select(binding.host.url_map, params)
        return Topic(self, self._declaration, binding, name, values)

    def topics(self) -> "dict[Topic, int]":
        """Return the topics to which connections of this process listen, with their number.

        A topic without a connection goes by itself. ``await sse.processes.count(topic=...)`` counts
        in all processes.

        Raises:
            SetupError: As for :meth:`topic`.

        Example:
            ``max(comments.topics().values(), default=0)``, of the busiest one
        """
        binding = self._binding()
        counts = binding.hub.subscribers.counts(self.name)
        return {self._of_name(binding, name): number for name, number in counts.items()}

    def _of_name(self, binding: Binding, name: str) -> "Topic":
        """Return the topic of a name that exists."""
        values = binding.channels.known_values(name)
        return Topic(self, self._declaration, binding, name, values)

    def record(self) -> ChannelRecord:
        """Return what a :class:`Publisher` in another process needs to know of the channel.

        Processes of the app write it to the broker by themselves, but for converters of the app's
        own: with those, a publisher needs the channel itself (``channels=``).

        Raises:
            SetupError: As for :meth:`topic`.

        Example:
            ``comments.record().history == 256``
        """
        binding = self._binding()
        return self._declaration.record(binding.config, binding.host.url_map)

    async def _show_presence(self, names: bool, /, **params: Any) -> str:
        """Return what ``sse_presence`` shows of a topic."""
        here = await self.topic(**params).presence()
        context = {"here": here, "names": names, "channel": self.name, "params": params}
        return await self._binding().host.template(PRESENCE, context)

    @property
    def everyone(self) -> WholeChannel:
        """All who listen to any topic of the channel.

        Raises:
            SetupError: As for :meth:`topic`.

        Example:
            ``await comments.everyone.publish("closed-for-tonight")``
        """
        return WholeChannel(self._binding(), self._declaration)

    async def close(self) -> None:
        """Take all topics of the channel off all open connections, as :meth:`Topic.close` does.

        Raises:
            SetupError: As for :meth:`topic`.
            BrokerUnavailable: If the broker did not confirm the message; topics may stay open.

        Example:
            ``await comments.close()``
        """
        await self._binding().publisher.close(channel=self.name)


class Topic(Target):
    """A channel with its parameters filled in: clients listen to it, the app publishes to it.

    Returned by :meth:`Channel.topic` and ``sse.topic(...)``. A topic holds no connection and no
    state: make one wherever you need it.

    Attributes:
        channel: The topic's channel.
        name: The topic's name, such as ``comments?discussion_id=7``.
        params: The parameters, as the rule's converters give them.

    Example:
        .. code-block:: python

            topic = comments.topic(discussion_id=7)
            await topic.refresh("list")
            await topic.publish("comment-added", {"id": 12})
    """

    def __init__(
        self,
        channel: "Channel",
        declaration: Declaration,
        binding: Binding,
        name: str,
        params: Mapping[str, Any],
    ) -> None:
        super().__init__(binding, name, declaration)
        self._declaration: Declaration = declaration
        self.channel = channel
        self.params = params

    async def refresh(
        self, *fragments: str, item: str | int | None = None, to_others: bool = False
    ) -> None:
        """Render fragments again for their viewers, in every process.

        Commit first: the renderer may run at once, in a process that reads the committed data.
        Processes without viewers of a fragment do not render it.

        Args:
            fragments: Names of the changed fragments; without names, all of the channel.
            item: Key of the item of a list that was added, has changed or has gone: it alone is
                rendered, and sent to pages. Then ``fragments`` is the list, one name.
            to_others: Whether the page that sent the current request leaves the HTML out, as it
                shows the change already. If others have changed the same since, it takes it.

        Raises:
            UnknownFragmentError: If the channel does not declare one of the fragments.
            FragmentError: If ``item`` is given without one fragment that is declared with
                :meth:`Channel.item`, or is no key.
            BrokerUnavailable: If the broker cannot be reached. Refreshing again is always safe.

        Example:
            ``await comments.topic(discussion_id=7).refresh("list", "count")``
        """
        names, key = self._changed(fragments, item)
        origin = page_that_asks(self._binding.host) if to_others else ""
        await self._binding.publisher.refresh(self.name, names, self._keep, item=key, origin=origin)

    def _changed(self, fragments: tuple[str, ...], item: str | int | None) -> tuple[list[str], str]:
        """Return the names of changed fragments, and the key of the item that has changed."""
        declared = self._declaration
        if item is not None:
            return [declared.find_list(fragments)], check_item(item)
        return [declared.find(name).spec.name for name in fragments] or [*declared.fragments], ""

    def refresh_soon(
        self, *fragments: str, item: str | int | None = None, to_others: bool = False
    ) -> Future[None]:
        """Render fragments again without waiting for it, from any thread.

        What :meth:`publish_soon` says holds here, too.

        Args:
            fragments: As for :meth:`refresh`, like all others.
            item: Key of the item of a list that has changed.
            to_others: Whether the page that sent the current request leaves the HTML out.

        Returns:
            A future that is done when the refresh is published, with any error of
            :meth:`refresh`.

        Example:
            .. code-block:: python

                @app.post("/comments/import")
                def import_comments() -> str:
                    comments.topic(discussion_id=7).refresh_soon("list")
                    return ""
        """
        refreshing = self.refresh(*fragments, item=item, to_others=to_others)
        return self._soon(refreshing, f"refresh_soon() of {self.name!r}")

    async def push(
        self,
        fragment: str,
        html: str | None = None,
        *,
        template: str | None = None,
        item: str | int | None = None,
        **context: Any,
    ) -> None:
        """Publish a fragment's HTML, so that no other process renders it.

        The HTML is not stored. Clients that connect later get the renderer's output, so ``html``
        must match it.

        Args:
            fragment: The fragment's name.
            html: The HTML, the same for all viewers. ``Markup`` is sent as it is; a plain ``str``
                is escaped.
            template: Name of a template to render instead of ``html``. It is rendered as a shared
                fragment: outside the current request, without its session, user and ``g``.
            item: Key of the item of a list that the HTML is of; None for the whole fragment.
            context: Variables of the template.

        Raises:
            UnknownFragmentError: If the channel does not declare the fragment.
            FragmentError: If the fragment is personal, neither or both of ``html`` and ``template``
                are given, or the HTML contains a connect element, a personal fragment, or htmx's
                own tags in a script or style; or if it is a list, and its items do not carry what
                ``sse_item`` writes.
            RenderError: If the template cannot be rendered outside a request, or takes longer than
                ``QUART_SSE_RENDER_TIMEOUT``.
            BrokerUnavailable: If the broker cannot be reached. Pushing again is always safe.

        Example:
            ``await topic.push("count", html=Markup("<b>3</b>"))``
        """
        spec = self._declaration.find(fragment).spec
        fragment = spec.name
        if spec.personal:
            raise FragmentError(
                f"Fragment {fragment!r} of channel {self.channel.name!r} is personal: its HTML "
                f"differs between viewers. Use topic.refresh({fragment!r})."
            )
        if (html is None) == (template is None):
            raise FragmentError(
                "push() takes either html= or template=, and got neither or both. Pass one of them."
            )
        _, key = self._changed((fragment,), item)
        bound = self._binding
        if template is not None:
            text = await bound.serving.run(
                bound.pushes.render_template, self.name, fragment, template, context, key
            )
        else:
            given = html if html is None or hasattr(html, "__html__") else plain(html)
            text = bound.pushes.check(self.name, fragment, str(escape(given)), key)
        await bound.publisher.push(
            self.name, fragment, text, self._keep, root=bound.host.root(), item=key
        )

    def push_soon(
        self,
        fragment: str,
        html: str | None = None,
        *,
        template: str | None = None,
        item: str | int | None = None,
        **context: Any,
    ) -> Future[None]:
        """Publish a fragment's HTML without waiting for it, from any thread.

        What :meth:`publish_soon` says holds here, too.

        Args:
            fragment: As for :meth:`push`, like all others.
            html: The HTML.
            template: Name of a template to render instead.
            item: Key of the item of a list that the HTML is of.
            context: Variables of the template.

        Returns:
            A future that is done when the HTML is published, with any error of :meth:`push`.

        Example:
            ``topic.push_soon("count", html=Markup("<b>3</b>"))``
        """
        pushing = self.push(fragment, html, template=template, item=item, **context)
        return self._soon(pushing, f"push_soon() of {fragment!r} to {self.name!r}")

    async def presence(self) -> Presence:
        """Return the users and connections present on the topic, over all processes.

        Where the channel or a fragment of it is declared with ``presence=True``, the broker knows.
        Of other topics each live process is asked, and what has been answered within
        ``QUART_SSE_BROKER_TIMEOUT`` is counted; ``Presence.silent`` lists the processes that have
        not answered. So a channel of which pages show who is here is better declared with
        ``presence=True``.

        While the broker is unavailable only this process is counted, so that pages which show the
        number keep rendering.

        Raises:
            SetupError: If processes must be asked, and this one serves nothing, as a worker.

        Example:
            ``(await topic.presence()).people``
        """
        bound = self._binding
        return await bound.serving.run(bound.presence.look, self.name)

    async def close(self) -> None:
        """Take the topic off all open connections, in every process.

        Pages are sent no more of it, and other clients ``sse-refused`` with its name; a stream
        that has no topic left ends with ``sse-stop``. Clients that connect later are judged as
        ever, so refuse them by ``authorize`` if the topic is over for good.

        Raises:
            BrokerUnavailable: If the broker did not confirm the message; the topic may stay open.

        Example:
            ``await comments.topic(discussion_id=7).close()``
        """
        await self._binding.publisher.close(topic=self.name)
