"""Render fragments: shared ones outside any viewer's request, personal ones inside it.

A shared fragment is rendered as **an anonymous GET of its own URL**, in a task with an empty
context. So no data of the request that triggered the render (``g``, user, session) can reach HTML
that all viewers receive.
"""

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from werkzeug.exceptions import Gone, NotFound

from ..broker import Broker
from ..channels import AppChannels
from ..error_log import OnceLog
from ..errors import FragmentError, RenderError, SSEError
from ..host import Exchange, Host
from ..hub import Rendered, carry
from ..logs import LogLine
from ..tracing import carry_span
from ..wire import check_html, check_list, check_one, check_pushed, declared_name, member_key
from .page_request import Pages

RENDER_SLOW = LogLine(
    "pages",
    "render-slow",
    logging.WARNING,
    "A page waits for fragment %(fragment)r, whose render takes long. If views hold database "
    "connections while their templates render, and the renderer needs one, too, all may wait for "
    "each other: end the view's session before the template. This is logged once.",
    fragment=str,
)

#: Time after which a render that has not ended is logged, in seconds.
SLOW = 5.0


class Renderer:
    """Renders the fragments of one app.

    Args:
        host: The framework, which calls renderers and templates.
        channels: The app's channels.
        broker: Gives the position at which a render starts.
        pages: The page of each render, with the fragments inside it.
        timeout: Time limit of a shared fragment's render, in seconds.
    """

    def __init__(
        self, host: Host, channels: AppChannels, broker: Broker, pages: Pages, timeout: float
    ) -> None:
        self._host = host
        self._channels = channels
        self._broker = broker
        self._pages = pages
        self._timeout = timeout
        self._once = OnceLog()

    async def render(self, topic: str, fragment: str, root: str) -> Rendered:
        """Render a shared fragment.

        Args:
            topic: Name of a topic that is known to exist.
            fragment: The fragment's name.
            root: Root path that begins the URLs in the HTML.

        Returns:
            The HTML, with the fragments inside it.

        Raises:
            RenderError: If the renderer or a hook of the app raised an error, a ``before_request``
                function answered the request, or the renderer took longer than
                ``QUART_SSE_RENDER_TIMEOUT``.
            FragmentError: If the renderer returned no text, or HTML that cannot be sent.
            NotFound, Gone: If the renderer raised it, by ``abort(404)`` or ``abort(410)``.
        """
        values = self._channels.known_values(topic)

        async def function() -> str:
            return await self.call(topic, fragment, values)

        return await self._render(topic, fragment, values, root, function)

    async def render_item(self, topic: str, fragment: str, root: str, item: str) -> Rendered:
        """Render one item of a list.

        Args:
            topic: Name of a topic that is known to exist.
            fragment: Name of the list.
            root: Root path that begins the URLs in the HTML.
            item: Key of the item, percent-encoded.

        Returns:
            The HTML, with the fragments inside it; "" for an item that has gone.

        Raises:
            RenderError: As for :meth:`render`.
            FragmentError: As for :meth:`render`; or if the HTML is not one element that carries
                what ``sse_item`` writes.
        """
        values = self._channels.known_values(topic)
        renderer = self._channels.known(topic).items[fragment]

        async def function() -> str:
            html = await self._host.call(renderer, {**values, "key": unquote(item)})
            return "" if html is None else _check(member_key(topic, fragment), html)

        return await self._render(topic, fragment, values, root, function, item)

    async def call(self, topic: str, fragment: str, values: Mapping[str, Any]) -> str:
        """Call a fragment's renderer in the current request, and check the HTML.

        Args:
            topic: The topic's name.
            fragment: The fragment's name.
            values: The topic's parameters.

        Raises:
            FragmentError: If the renderer returned no text, or HTML that cannot be sent.
            Exception: Any error of the renderer.
        """
        renderer = self._channels.known(topic).find(fragment).renderer
        html = await self._host.call(renderer, values)
        return _check(member_key(topic, fragment), html)

    # -- pushed HTML ------------------------------------------------------------------------------

    async def render_template(
        self,
        topic: str,
        fragment: str,
        template: str,
        context: Mapping[str, Any],
        item: str = "",
    ) -> str:
        """Render a template as a shared fragment.

        Args:
            topic: The topic's name.
            fragment: The fragment's name.
            template: Name of the template.
            context: Its variables.
            item: Key of the item of a list that it is of; "" for the whole fragment.

        Raises:
            RenderError: As for :meth:`render`.
            FragmentError: As for :meth:`render`.
        """

        async def function() -> str:
            html = await self._host.template(template, context)
            return _check(member_key(topic, fragment), html)

        values, root = self._channels.known_values(topic), self._host.root()
        return (await self._render(topic, fragment, values, root, function, item or None)).html

    def check(self, topic: str, fragment: str, html: str, item: str = "") -> str:
        """Return pushed HTML if it may go to all viewers.

        The publisher rendered it in its own request, so it may contain what is for one viewer only.

        Args:
            topic: The topic's name.
            fragment: The fragment's name.
            html: The HTML.
            item: Key of the item of a list that it is of; "" for the whole fragment.

        Raises:
            FragmentError: If the HTML contains a connect element (which would send the publisher's
                token to all viewers) or a personal fragment, or cannot be sent; or if items do not
                carry what ``sse_item`` writes.
        """

        def is_personal(channel: str, inner: str) -> bool:
            spec = self._channels.spec(channel, inner)
            return spec is not None and spec.personal

        text = check_pushed(member_key(topic, fragment), html, is_personal)
        self._with_items(topic, fragment, item or None, Rendered(text))
        return text

    # -- inner -------------------------------------------------------------------------------------

    async def _render(
        self,
        topic: str,
        fragment: str,
        values: Mapping[str, Any],
        root: str,
        function: Callable[[], Awaitable[str]],
        item: str | None = None,
    ) -> Rendered:
        """Call a function in an anonymous GET of the fragment's URL."""
        exchange = Exchange(self._broker.known, is_identified=True, is_rendering=True)
        page = self._pages.start(exchange, (topic, fragment))
        path = self._channels.fragment_path(topic, values, fragment)
        work = self._host.render(path, root, exchange, function)
        loop = asyncio.get_running_loop()
        context = contextvars.Context()
        carry(context)
        carry_span(context)
        task = loop.create_task(work, context=context)
        slow = loop.call_later(min(SLOW, self._timeout / 2), self._say_slow, topic, fragment)
        try:
            async with asyncio.timeout(self._timeout):
                html = await task
        except RenderError as error:
            raise RenderError(
                f"Fragment {fragment!r} of topic {topic!r} cannot be rendered: {error}"
            ) from error
        except TimeoutError:
            raise RenderError(
                f"Fragment {fragment!r} of topic {topic!r} took longer than {self._timeout:g} s "
                "(QUART_SSE_RENDER_TIMEOUT). Make its renderer faster, or raise that limit. If it "
                "waits for a database connection that the view holds, release that one before "
                "the template."
            ) from None
        except (SSEError, NotFound, Gone):
            raise  # what is not there is not there for anybody
        except Exception as error:
            # Not as it is: a 401 of the anonymous request would be taken for the viewer's own.
            raise RenderError(
                f"Fragment {fragment!r} of topic {topic!r} raised {type(error).__name__}: {error} "
                "(It is rendered once for all viewers, in an anonymous request. If a gate refuses "
                "that, let it pass where sse.is_rendering is true; if the HTML depends on who "
                "looks, declare the fragment personal=True.)"
            ) from error
        finally:
            slow.cancel()
            task.cancel()
        rendered = Rendered(html, page.shown.rendered, tuple(page.inside))
        return self._with_items(topic, fragment, item, rendered)

    def _with_items(
        self, topic: str, fragment: str, item: str | None, rendered: Rendered
    ) -> Rendered:
        """Return what was rendered of a list with the keys of its items.

        Raises:
            FragmentError: If items do not carry what ``sse_item`` writes, or are too many.
        """
        spec = self._channels.spec(topic, fragment)
        if spec is None or spec.item is None or (item is not None and not rendered.html):
            return rendered
        html, key = rendered.html, member_key(topic, fragment)
        for inside in rendered.inside:  # which may be lists, too
            html = html.replace(inside.element, "")
        roots = (
            check_list(key, html, spec.item.keep) if item is None else check_one(key, item, html)
        )
        return replace(rendered, items=roots.keys, is_ordered=roots.is_ordered)

    def _say_slow(self, topic: str, fragment: str) -> None:
        name = declared_name(topic, fragment)
        self._once.warn(
            name,
            RENDER_SLOW,
            fragment=name,
        )


def _check(key: str, html: object) -> str:
    if not isinstance(html, str):
        raise FragmentError(
            f"The renderer of fragment {key!r} returned {type(html).__name__}. It must return "
            "HTML as str or Markup, such as 'return await render_template(...)'."
        )
    # A Markup would escape any str that is added to it later.
    return str(check_html(key, html))
