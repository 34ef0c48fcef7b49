"""The guard: who may look into the app, and which requests may change something."""

import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable
from typing import Any

from quart import Response, abort, request
from werkzeug.sansio.utils import host_is_trusted

from ..access import decide, is_foreign
from ..errors import SetupError
from ..logs import LogLine
from ..wiring import Services

INSPECTOR_FAILED = LogLine(
    "inspector",
    "authorize-inspector-failed",
    logging.ERROR,
    "The function authorize of sse.inspector() failed; the request is refused.",
)
INSPECTOR_REFUSED = LogLine(
    "inspector",
    "inspector-refused",
    logging.WARNING,
    "An action in the inspector was refused: %(why)s. %(who)r has asked for it, from %(address)s.",
    why=str,
    who=str,
    address=str,
)

#: The cookie to which the tokens of forms are bound.
COOKIE = "sse_inspector"
#: What the tokens are made for, beside the cookie.
_PURPOSE = b"quart_sse.inspector.form"
#: The Content-Security-Policy of the pages: files of the app itself, and nothing else.
POLICY = "; ".join(
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


class Guard:
    """Judges each request for the pages, streams and actions of the inspector.

    Args:
        services: The app's services.
        authorize: The app's function, which judges the request; None allows nothing.
    """

    def __init__(self, services: Services, authorize: Callable[..., Any] | None) -> None:
        self._services = services
        self._authorize = authorize

    async def decide(self) -> bool:
        """Whether the app allows the request.

        Raises:
            Exception: Any error of the function.
        """
        if self._authorize is None or self._is_outside():
            return False
        name = "authorize of sse.inspector()"
        return await decide(self._services.host, self._authorize, {}, name)

    async def admit(self) -> None:
        """Refuse a request that the app does not allow, by 403."""
        try:
            is_allowed = await self.decide()
        except Exception as error:
            self._services.errors.log("authorize of sse.inspector()", error, INSPECTOR_FAILED)
            is_allowed = False
        if not is_allowed:
            abort(403)

    def _is_outside(self) -> bool:
        """Whether a page of another origin asks, other than by a link that leads here."""
        sites = self._services.host.sites()
        if not is_foreign(request, sites, ()):
            return False
        # A page that is opened by a link of another site is shown to the user alone.
        is_opened = request.method == "GET" and (
            request.headers.get("Sec-Fetch-Mode"),
            request.headers.get("Sec-Fetch-Dest"),
        ) == ("navigate", "document")
        host = request.headers.get("Host", "")
        is_known = sites.trusted is None or host_is_trusted(host, sites.trusted)
        return not (is_opened and is_known)

    # -- forms -------------------------------------------------------------------------------------

    async def who(self) -> str:
        """Return who asks, for the log: the identity, or else where the request comes from."""
        identity = await self._services.gate.identity()
        return f"a visitor at {request.remote_addr}" if identity is None else identity

    async def token(self) -> tuple[str, str]:
        """Return the token that the forms of a page carry, and the cookie that it is bound to."""
        cookie = request.cookies.get(COOKIE, "")
        cookie = cookie if 32 <= len(cookie) <= 64 else secrets.token_urlsafe(32)
        return (await self._tokens_for(cookie))[0], cookie

    async def _tokens_for(self, cookie: str) -> list[str]:
        """Return the token by each of the app's keys; that of the signing key comes first."""
        keys = self._services.host.keys()
        if not keys:
            raise SetupError(
                "The inspector needs app.secret_key, by which it knows the forms of its own pages. "
                "Set it, the same in every process."
            )
        identity = await self._services.gate.identity()
        told = "\0".join((cookie, "0" if identity is None else f"1{identity}")).encode()
        derived = (hmac.digest(key, _PURPOSE, hashlib.sha256) for key in keys)
        return [hmac.new(key, told, hashlib.sha256).hexdigest() for key in derived]

    async def check_form(self, given: str) -> None:
        """Refuse an action whose form is not of a page that this browser was shown, by 403."""
        cookie = request.cookies.get(COOKIE, "")
        why = ""
        if not cookie:
            why = "it came without the cookie of the page"
        elif not any(
            hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())
            for token in await self._tokens_for(cookie)
        ):
            why = "its token is not that of the page"
        if why:
            address = request.remote_addr or "?"
            INSPECTOR_REFUSED.log(why=why, who=await self.who(), address=address)
            abort(403)

    def dress(self, response: Response, cookie: str | None = None) -> Response:
        """Give an answer its headers, and the browser its cookie."""
        headers = response.headers
        headers.setdefault("Content-Security-Policy", POLICY)
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("X-Frame-Options", "DENY")
        headers.setdefault("Referrer-Policy", "same-origin")
        headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        headers["Cache-Control"] = "private, no-store"
        if cookie is not None:
            path = f"{self._services.host.root()}{self._services.config.url_prefix}/~inspector"
            is_secure = request.scheme == "https"
            response.set_cookie(
                COOKIE, cookie, path=path, httponly=True, samesite="Lax", secure=is_secure
            )
        return response
