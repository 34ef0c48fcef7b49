"""Rendering fragments: shared ones outside any viewer's request, personal ones inside it.

A shared fragment is rendered as **an anonymous GET of its own URL**: in a task of its own, with
an empty context, so that nothing of the request that happened to trigger it (``g``, the current
user, the session) can reach HTML that is sent to everybody.
"""

import asyncio
import contextvars
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from .errors import FragmentError, RenderError
from .event import check_html
from .fragment import Rendered
from .naming import member_key
from .state import KEY, State, Visit

#: What a render outside any request is made for, if no request was ever seen.
LOCAL = ("http", "localhost", "")


def base_of(state: State) -> tuple[str, str, str]:
    """Return scheme, host and root path of the URLs in shared fragments."""
    if state.config.base_url is not None:
        parts = urlsplit(state.config.base_url)
        return parts.scheme, parts.netloc, parts.path
    return state.base or LOCAL


async def render_shared(
    state: State,
    topic: str,
    fragment: str,
    renderer: Callable[..., Any],
    values: Mapping[str, Any],
    path: str,
) -> Rendered:
    """Render a fragment that everybody sees, as an anonymous GET of ``path``.

    Raises:
        RenderError: If a ``before_request`` function answered instead of letting it pass, or
            the renderer took longer than ``QUART_SSE_RENDER_TIMEOUT``.
        FragmentError: If what it returned cannot be sent.
        Exception: Whatever the renderer raised.
    """
    visit = Visit(state.hub.position, is_identified=True, rendering=(topic, fragment))

    async def work() -> str:
        scheme, host, root = base_of(state)
        context = state.app.test_request_context(
            path,
            scheme=scheme,
            root_path=root,
            headers={"Host": host},
            scope_base={KEY: visit},
        )
        async with context as pushed:
            answer = await state.app.preprocess_request(pushed)
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
    return Rendered(html, frozenset(visit.rendered))


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
    html = await state.app.ensure_async(renderer)(**values)
    key = member_key(topic, fragment)
    if not isinstance(html, str):
        raise FragmentError(
            f"The renderer of fragment {key!r} returned {type(html).__name__}. It must return "
            "HTML as str or Markup, such as 'return await render_template(...)'."
        )
    return check_html(key, html)
