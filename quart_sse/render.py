"""Rendering fragments: shared ones outside any viewer's request, personal ones inside it.

A shared fragment is rendered as **an anonymous GET of its own URL**: in a task of its own, with
an empty context, so that nothing of the request that happened to trigger it (``g``, the current
user, the session) can reach HTML that is sent to everybody.
"""

import asyncio
import contextvars
import re
from collections.abc import Callable, Mapping
from html import unescape
from typing import Any

from .addresses import forbid_absolute_urls, host_for_rendering, site_of
from .callbacks import call
from .errors import FragmentError, RenderError
from .event import check_html
from .fragment import Rendered
from .naming import member_key
from .page_request import PageRequest
from .state import KEY, State

_CONNECT_ELEMENT = re.compile(r"""\s(?:hx-sse:|sse-)connect\s*=\s*["'][^"']*[?&;]t=""")
_SHOWN = re.compile(r"""\sdata-sse\s*=\s*["']([^"'?]+)""")


async def render_shared(
    state: State,
    topic: str,
    fragment: str,
    renderer: Callable[..., Any],
    values: Mapping[str, Any],
    path: str,
    root: str,
) -> Rendered:
    """Render a fragment that everybody sees, as an anonymous GET of ``path``.

    Args:
        state: Of the app.
        topic: The topic's name.
        fragment: The fragment's name.
        renderer: What returns the HTML.
        values: Its keyword arguments.
        path: Of the fragment's URL, below the root path.
        root: The root path, which begins the URLs in the HTML.

    Raises:
        RenderError: If a ``before_request`` function answered instead of letting it pass, or
            the renderer took longer than ``QUART_SSE_RENDER_TIMEOUT``.
        FragmentError: If what it returned cannot be sent.
        Exception: Whatever the renderer raised.
    """
    page = PageRequest(state.hub.position, is_identified=True, rendering=(topic, fragment))

    async def work() -> str:
        app, config = state.app, state.config
        scheme, host = host_for_rendering(app, config)
        context = app.test_request_context(
            path,
            scheme=scheme,
            root_path=root,
            headers={"Host": host},
            scope_base={KEY: page},
        )
        if site_of(app, config) is None and context.url_adapter is not None:
            forbid_absolute_urls(context.url_adapter)
        async with context as pushed:
            answer = await app.preprocess_request(pushed)
            if answer is not None:
                raise RenderError(
                    f"A before_request function answered instead of letting fragment "
                    f"{fragment!r} of topic {topic!r} be rendered. Shared fragments are rendered "
                    f"as an anonymous GET of {path!r}: let requests pass whose "
                    "request.endpoint begins with 'sse.', or declare the fragment personal=True."
                )
            return await call_renderer(state, topic, fragment, renderer, values)

    task = asyncio.get_running_loop().create_task(work(), context=contextvars.Context())
    try:
        async with asyncio.timeout(state.config.render_timeout):
            html = await task
    except TimeoutError:
        raise RenderError(
            f"Fragment {fragment!r} of topic {topic!r} took longer than "
            f"{state.config.render_timeout:g} s (QUART_SSE_RENDER_TIMEOUT)."
        ) from None
    finally:
        task.cancel()
    return Rendered(html, page.shown.rendered, tuple(page.inside))


def check_pushed(state: State, key: str, html: str) -> str:
    """Return HTML that a publisher made if it may go to all viewers.

    The publisher rendered it in its own request, where nothing keeps what is for one viewer apart.

    Args:
        state: Of the app.
        key: The fragment's.
        html: The HTML.

    Raises:
        FragmentError: If it holds a connect element, which would hand the publisher's own token
            to all viewers, or a personal fragment, or cannot be sent.
    """
    if _CONNECT_ELEMENT.search(html):
        raise FragmentError(
            f"The HTML that was pushed for fragment {key!r} contains a connect element, whose "
            "token is for one viewer alone. Push the fragment's own HTML, without sse_connect() "
            "or sse_live(); an answer to htmx is no such HTML."
        )
    for name in map(unescape, _SHOWN.findall(html)):
        channel, _, fragment = name.partition(".")
        declared = state.channels.get(channel)
        spec = declared.specs.get(fragment) if declared is not None else None
        if spec is not None and spec.personal:
            raise FragmentError(
                f"The HTML that was pushed for fragment {key!r} contains the personal fragment "
                f"{name!r} as the publisher sees it. Put it beside, not inside."
            )
    return check_html(key, html)


async def call_renderer(
    state: State,
    topic: str,
    fragment: str,
    renderer: Callable[..., Any],
    values: Mapping[str, Any],
) -> str:
    """Call an application's renderer in the current context and check what it returns.

    Raises:
        FragmentError: If it is no text, or HTML that a partial cannot carry.
    """
    html = await call(state.app, renderer, values)
    key = member_key(topic, fragment)
    if not isinstance(html, str):
        raise FragmentError(
            f"The renderer of fragment {key!r} returned {type(html).__name__}. It must return "
            "HTML as str or Markup, such as 'return await render_template(...)'."
        )
    # Markup would escape what is put into it later.
    return str(check_html(key, html))
