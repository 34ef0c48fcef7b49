"""Rendering fragments: shared ones outside any viewer's request, personal ones inside it.

A shared fragment is rendered as **an anonymous GET of its own URL**: in a task of its own, with
an empty context, so that nothing of the request that happened to trigger it (``g``, the current
user, the session) can reach HTML that is sent to everybody.
"""

import asyncio
import contextvars
import re
from collections.abc import Awaitable, Callable, Mapping
from html import unescape
from typing import Any

from ..broker import Broker
from ..channels import AppChannels
from ..errors import FragmentError, RenderError
from ..host import Exchange, Host
from ..hub import Rendered
from ..wire import check_html, member_key
from .page_request import Pages

_CONNECT_ELEMENT = re.compile(r"""\s(?:hx-sse:|sse-)connect\s*=\s*["'][^"']*[?&;]t=""")
_SHOWN = re.compile(r"""\sdata-sse\s*=\s*["']([^"'?]+)""")


class Renderer:
    """Renders the fragments of one app.

    Args:
        host: Calls renderers.
        channels: The app's channels.
        broker: Knows the position that a render starts at.
        pages: Remember what a render shows.
        timeout: Seconds that a shared fragment's renderer may take.
    """

    def __init__(
        self, host: Host, channels: AppChannels, broker: Broker, pages: Pages, timeout: float
    ) -> None:
        self._host = host
        self._channels = channels
        self._broker = broker
        self._pages = pages
        self._timeout = timeout

    async def render(self, topic: str, fragment: str, root: str) -> Rendered:
        """Render a shared fragment of a known topic, for pages below a root path.

        Raises:
            RenderError: If a hook of the app answered instead of letting the request pass, or the
                renderer took longer than ``QUART_SSE_RENDER_TIMEOUT``.
            FragmentError: If what the renderer returned cannot be sent.
            Exception: What the renderer raised.
        """
        values = self._channels.known_values(topic)

        async def function() -> str:
            return await self.call(topic, fragment, values)

        return await self._render(topic, fragment, values, root, function)

    async def call(self, topic: str, fragment: str, values: Mapping[str, Any]) -> str:
        """Call a fragment's renderer in the current request, and check what it returns.

        Args:
            topic: The topic's name.
            fragment: The fragment's name.
            values: The topic's parameters.

        Raises:
            FragmentError: If it is no text, or HTML that a partial cannot carry.
            Exception: What the renderer raised.
        """
        renderer = self._channels.known(topic).find(fragment).renderer
        html = await self._host.call(renderer, values)
        return _check(member_key(topic, fragment), html)

    # -- what publishers push ----------------------------------------------------------------------

    async def render_template(
        self, topic: str, fragment: str, template: str, context: Mapping[str, Any]
    ) -> str:
        """Render a template as the fragment's renderer would: for all viewers.

        Raises:
            RenderError: As :meth:`render`.
            FragmentError: As :meth:`render`.
            Exception: What the template raised.
        """

        async def function() -> str:
            html = await self._host.template(template, context)
            return _check(member_key(topic, fragment), html)

        values, root = self._channels.known_values(topic), self._host.root()
        return (await self._render(topic, fragment, values, root, function)).html

    def check(self, topic: str, fragment: str, html: str) -> str:
        """Return HTML that a publisher made if it may go to all viewers.

        The publisher rendered it in its own request, where nothing keeps what is for one viewer
        apart.

        Args:
            topic: The topic's name.
            fragment: The fragment's name.
            html: The HTML.

        Raises:
            FragmentError: If it holds a connect element, which would hand the publisher's own
                token to all viewers, or a personal fragment, or cannot be sent.
        """
        key = member_key(topic, fragment)
        if _CONNECT_ELEMENT.search(html):
            raise FragmentError(
                f"The HTML that was pushed for fragment {key!r} contains a connect element, whose "
                "token is for one viewer alone. Push the fragment's own HTML, without "
                "sse_connect() or sse_live(); an answer to htmx is no such HTML."
            )
        for name in map(unescape, _SHOWN.findall(html)):
            channel, _, inner = name.partition(".")
            spec = self._channels.spec(channel, inner)
            if spec is not None and spec.personal:
                raise FragmentError(
                    f"The HTML that was pushed for fragment {key!r} contains the personal "
                    f"fragment {name!r} as the publisher sees it. Put it beside, not inside."
                )
        return check_html(key, html)

    # -- inner -------------------------------------------------------------------------------------

    async def _render(
        self,
        topic: str,
        fragment: str,
        values: Mapping[str, Any],
        root: str,
        function: Callable[[], Awaitable[str]],
    ) -> Rendered:
        """Call a function as an anonymous GET of a fragment's own URL."""
        exchange = Exchange(self._broker.known, is_identified=True)
        page = self._pages.start(exchange, (topic, fragment))
        path = self._channels.fragment_path(topic, values, fragment)
        work = self._host.render(path, root, exchange, function)
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
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
                "(QUART_SSE_RENDER_TIMEOUT)."
            ) from None
        finally:
            task.cancel()
        return Rendered(html, page.shown.rendered, tuple(page.inside))


def _check(key: str, html: object) -> str:
    if not isinstance(html, str):
        raise FragmentError(
            f"The renderer of fragment {key!r} returned {type(html).__name__}. It must return "
            "HTML as str or Markup, such as 'return await render_template(...)'."
        )
    # Markup would escape what is put into it later.
    return str(check_html(key, html))
