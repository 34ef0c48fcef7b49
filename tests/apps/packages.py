"""An app among the packages that apps of Quart use, and one that is mounted in another framework.

``PACKAGES`` names the ones that are used, in order: ``compress,auth,limiter,sentry,telemetry``.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from quart import Quart, Response, redirect, render_template_string, request
from quart.typing import ResponseReturnValue
from quart_auth import AuthUser, QuartAuth, Unauthorized, current_user, login_user
from quart_compress import Compress  # type: ignore[import-untyped]
from quart_rate_limiter import RateLimit, RateLimiter

from quart_sse import SSE
from tests.apps.server import sockets

#: Seconds between two messages of a source.
TICK = 0.1
LETS_RENDERS_PASS = "NO_PASS" not in os.environ
USED = [name for name in os.environ.get("PACKAGES", "").split(",") if name]
TEMPLATE = (
    '{% from "quart_sse/macros.html" import sse_scripts, sse_fragment, sse_connect %}'
    "<!doctype html><head>{{ sse_scripts() }}</head>"
    '{{ sse_fragment("board.list") }}{{ sse_connect() }}'
    "<p hidden>" + "x" * 500 + "</p>"  # enough to be worth compressing
)
PART = '{% from "quart_sse/macros.html" import sse_fragment %}{{ sse_fragment("board.list") }}'

if "sentry" in USED:
    import sentry_sdk

    # Nothing listens there.
    sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", traces_sample_rate=1.0)

app = Quart(__name__)
app.secret_key = "for tests only, and long enough to sign with"
app.config["QUART_AUTH_COOKIE_SECURE"] = False
sse = SSE(app)
board = sse.channel("board", "/board", public=True)
numbers = {"changes": 0}


@board.fragment("list")
async def show_list() -> str:
    """Show how often it has changed."""
    return f"<b id=list>{numbers['changes']} changes</b>"


@app.get("/")
async def page() -> str:
    """Show the fragment."""
    return await render_template_string(TEMPLATE)


@app.get("/part")
async def part() -> str:
    """Answer htmx with the fragment."""
    return await render_template_string(PART + "<p hidden>" + "x" * 500 + "</p>")


@app.post("/change")
def change() -> Response:
    """Change the fragment, in a thread."""
    numbers["changes"] += 1
    asyncio.run(board.topic().refresh("list"))
    return Response(status=204)


@app.post("/publish/<int:size>")
async def publish(size: int) -> Response:
    """Publish an event of so many bytes."""
    await board.topic().publish("said", "x" * size)
    return Response(status=204)


@app.get("/own")
async def own() -> Response:
    """Send who is signed in, and go on until the client has gone."""

    async def who() -> AsyncIterator[tuple[str, object]]:
        numbers["begun"] = numbers.get("begun", 0) + 1
        try:
            while True:
                yield "user", current_user.auth_id if "auth" in USED else None
                await asyncio.sleep(TICK)
        finally:
            numbers["ended"] = numbers.get("ended", 0) + 1

    return await sse.stream(who())


@app.get("/state")
async def state() -> dict[str, object]:
    """Tell what the process holds for its streams."""
    services = app.extensions["quart_sse"]
    epoch = str(services.broker.known).partition(".")[0]
    streams = len(services.connections)
    return {
        **numbers,
        **{"pid": os.getpid(), "epoch": epoch, "streams": streams, "sockets": sockets()},
    }


if "auth" in USED:
    auth = QuartAuth(app)

    @app.post("/sign-in/<user>")
    async def sign_in(user: str) -> Response:
        """Sign a user in."""
        login_user(AuthUser(user))
        return Response(status=204)

    @app.before_request
    async def gate() -> None:
        """Let in who is signed in, and the renders of shared fragments."""
        passes = sse.is_rendering and LETS_RENDERS_PASS
        is_open = passes or request.path.startswith(("/sign-in", "/state"))
        if not is_open and not await current_user.is_authenticated:
            raise Unauthorized

    @app.errorhandler(Unauthorized)
    async def ask(_: Unauthorized) -> ResponseReturnValue:
        """Send visitors away."""
        return redirect("/sign-in")


if "limiter" in USED:

    async def is_exempt() -> bool:
        """Let renders of shared fragments pass."""
        return sse.is_rendering and LETS_RENDERS_PASS

    limits = [RateLimit(12, timedelta(minutes=1))]
    RateLimiter(app, default_limits=limits, skip_function=is_exempt)

if "compress" in USED:
    Compress(app)

if "telemetry" in USED:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    traced: Any = OpenTelemetryMiddleware(app.asgi_app)
    app.asgi_app = traced  # type: ignore[method-assign]
