"""An app with a channel that pages of other origins may open: ``ORIGINS``, separated by spaces."""

import os

from tests.support.settings import make_app

origins = os.environ.get("ORIGINS", "")
app, sse = make_app(
    {"origins": origins, "headers": {"Access-Control-Expose-Headers": "X-Name", "X-Name": "rooms"}}
)
sse.channel("closed", "/closed", origins=origins)


@app.get("/")
async def page() -> str:
    """Return a page without a script."""
    return "<!doctype html><title>A page</title>"
