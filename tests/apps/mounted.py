"""The app, mounted below /live in Starlette, behind a middleware that calls it in a task."""

from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from tests.apps.packages import app as inner


async def hello(_: Request) -> Response:
    """Answer for the outer app."""
    return PlainTextResponse("outer")


class Timed(BaseHTTPMiddleware):
    """Add a header, as many do."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        """Call the app."""
        response = await call_next(request)
        response.headers["X-Outer"] = "yes"
        return response


mounted: Any = inner
app = Starlette(
    routes=[Route("/", hello), Mount("/live", app=mounted)], middleware=[Middleware(Timed)]
)
