"""What several tests of access use."""

import pytest
from quart import Quart, render_template_string, request

from quart_sse import SSE
from quart_sse.channels.channel import Channel

PAGE = (
    '{% from "quart_sse/macros.html" import sse_connect %}'
    "{{ sse_connect(topics=request.args.getlist('topic')) }}"
)


@pytest.fixture
def asking(app: Quart) -> SSE:
    """An extension that takes identities from a cookie, and a page that signs what a test wants."""
    sse = SSE(app)

    @sse.identity
    async def who() -> str | None:
        asked = app.config.setdefault("ASKED", [])
        asked.append("identity")
        return app.config.get("WHO", request.cookies.get("who"))

    @app.get("/page")
    async def page() -> str:
        return await render_template_string(PAGE)

    return sse


@pytest.fixture
def secrets(asking: SSE) -> Channel:
    """A channel that is not public and has no authorize: only pages admit to it."""
    return asking.channel("secrets", "/secrets/<int:number>")
