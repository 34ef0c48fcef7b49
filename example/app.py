"""The application: configuration, headers and error pages."""

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from quart import Quart, Response, render_template
from werkzeug.exceptions import Forbidden, HTTPException, NotFound

from example import board, lounge, people, reports, status, views
from example.building import build_while_serving
from example.live import sse
from example.store import Store

DATABASE = Path(__file__).with_name("instance") / "forum.sqlite3"

# No inline script, no inline style, nothing from elsewhere: the extension needs no exception.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "connect-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)


def create_app(
    database: str | Path | None = None, config: Mapping[str, Any] | None = None
) -> Quart:
    """Return the forum.

    Args:
        database: The SQLite file; None takes `EXAMPLE_DATABASE` from the environment, else a file
            in `example/instance`.
        config: Goes into `app.config` and beats the environment. The extension reads its own keys,
            such as `QUART_SSE_BROKER_URL`, from there or from environment variables of that name.
    """
    app = Quart(__name__)
    app.config.update(
        # Lax keeps other sites' forms from posting in a visitor's name.
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=timedelta(days=30),
        EXAMPLE_STEP_SECONDS=float(os.environ.get("EXAMPLE_STEP_SECONDS", "1")),
        EXAMPLE_LEASE_SECONDS=float(os.environ.get("EXAMPLE_LEASE_SECONDS", "6")),
        EXAMPLE_PAUSE_SECONDS=float(os.environ.get("EXAMPLE_PAUSE_SECONDS", "60")),
    )
    store = Store(Path(database or os.environ.get("EXAMPLE_DATABASE") or DATABASE))
    app.secret_key = store.prepare()
    app.config.update(config or {})
    app.extensions["forum_store"] = store

    sse.init_app(app)
    for part in (views, board, reports, lounge, status):
        app.register_blueprint(part.pages)
    app.while_serving(build_while_serving)

    app.after_request(_guard)
    app.register_error_handler(NotFound, _error_page)
    app.register_error_handler(Forbidden, _error_page)
    app.context_processor(lambda: {"person": people.signed_in_as()})
    app.add_template_filter(ago)
    app.add_template_filter(iso)
    app.add_template_filter(hue)
    app.add_template_test(is_fresh, "fresh")
    return app


async def _guard(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    return response


async def _error_page(error: HTTPException) -> tuple[str, int]:
    code = error.code or 500
    return await render_template("error.html", code=code), code


def ago(then: float) -> str:
    """Say how long ago a moment was, in words."""
    seconds = time.time() - then
    if seconds < 60:
        return "just now"
    for size, limit, unit in ((60, 3600, "min"), (3600, 86400, "h")):
        if seconds < limit:
            return f"{seconds // size:.0f} {unit} ago"
    days = seconds // 86400
    return f"{days:.0f} day{'s' if days > 1 else ''} ago"


def iso(then: float) -> str:
    return datetime.fromtimestamp(then, UTC).isoformat(timespec="seconds")


def hue(nickname: str) -> int:
    person = people.ACCOUNTS.get(nickname)
    return person.hue if person else 0


def is_fresh(created: float) -> bool:
    """Whether something has just been written, so that it may be highlighted.

    A class on every comment would light up all of them when the page is made.
    """
    return time.time() - created < 3
