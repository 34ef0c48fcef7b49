"""The app of the server tests, as docs/deploy.md wraps it for servers that believe no proxy."""

from granian.utils.proxies import wrap_asgi_with_proxy_headers
from hypercorn.middleware import ProxyFixMiddleware
from quart import request

from tests.apps.server import app


@app.get("/seen")
async def seen() -> dict[str, str | None]:
    """Show what the app knows of its client."""
    return {"scheme": request.scheme, "address": request.remote_addr}


for_hypercorn = ProxyFixMiddleware(app, mode="legacy", trusted_hops=1)
for_granian = wrap_asgi_with_proxy_headers(app)
