"""The Quart host: what the other wings need of Quart."""

import asyncio
import contextvars
import inspect
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, cast
from urllib.parse import quote, urlsplit

from quart import (
    Quart,
    after_this_request,
    g,
    has_request_context,
    render_template,
    request,
)
from quart.wrappers.response import DataBody
from werkzeug.routing import Map

from ..config import Config
from ..error_log import OnceLog
from ..errors import RenderError
from ..host import KEY, Exchange, Sites
from ..logs import LogLine
from ..wire import Position

#: Address of the client of a shared fragment's request, which no client can have (RFC 5737). It is
#: not loopback, which apps may trust.
NO_ONE = "192.0.2.1"
#: Most threads in which sync hooks and renderers of shared fragments run.
RENDERS = 8

#: Whether the method takes the context as its first argument, as from Quart 0.23 on.
_IS_CONTEXT_FIRST = [*inspect.signature(Quart.process_response).parameters][1] != "response"


COMPRESSED = LogLine(
    "pages",
    "answer-compressed",
    logging.WARNING,
    "An answer to htmx with fragments is compressed before they could be connected, so they will "
    "not change. Put {{ sse_connect() }} after them. This is logged once.",
)
SESSION_CHANGED = LogLine(
    "pages",
    "session-changed",
    logging.WARNING,
    "The renderer of the shared fragment at %(path)s changes the session, as a CSRF token or a "
    "flashed message does. It is rendered for no user, so that is lost. Declare the fragment "
    "personal=True, or put it beside. This is logged once.",
    path=str,
)


class QuartHost:
    """One Quart app as a :class:`~quart_sse.host.Host`.

    Only the configuration decides where the app is. A client chooses the ``Host`` header of its
    request, and HTML that all viewers receive must not depend on one client. So shared fragments
    have relative URLs, unless ``QUART_SSE_BASE_URL`` or ``SERVER_NAME`` is set.

    Args:
        app: The app.
        config: The app's settings.
        known: Returns the newest position that the process knows of, or None.
    """

    def __init__(self, app: Quart, config: Config, known: Callable[[], Position | None]) -> None:
        self._app = app
        self._config = config
        self._known = known
        self._once = OnceLog()
        #: the process, which may have been forked since, and its threads
        self._executor: tuple[int, ThreadPoolExecutor] | None = None

    def run_renders_apart(self) -> None:
        """Run the sync functions of renders in threads of their own.

        A sync view holds a thread of the loop's executor while its page is rendered. If the hooks
        and renderers of its fragments needed one, too, enough pages at once would wait for ever.
        """
        usual = self._app.sync_to_async

        def sync_to_async(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
            run_as_usual = usual(function)

            async def run(*args: Any, **kwargs: Any) -> Any:
                if not (has_request_context() and self.exchange().is_rendering):
                    return await run_as_usual(*args, **kwargs)
                call = partial(contextvars.copy_context().run, function, *args, **kwargs)
                return await asyncio.get_running_loop().run_in_executor(self._threads(), call)

            return run

        self._app.sync_to_async = sync_to_async  # type: ignore[method-assign, assignment]

    def _threads(self) -> ThreadPoolExecutor:
        if self._executor is None or self._executor[0] != os.getpid():
            threads = ThreadPoolExecutor(RENDERS, thread_name_prefix="quart_sse-render")
            self._executor = os.getpid(), threads
        return self._executor[1]

    @property
    def url_map(self) -> Map:
        """The app's URL map."""
        return self._app.url_map

    @property
    def is_debug(self) -> bool:
        """Whether ``app.debug`` is set."""
        return bool(self._app.debug)

    def keys(self) -> list[bytes]:
        """Return ``SECRET_KEY``, then ``SECRET_KEY_FALLBACKS``; empty without a secret key."""
        if not self._app.secret_key:
            return []
        keys = [self._app.secret_key, *(self._app.config.get("SECRET_KEY_FALLBACKS") or ())]
        return [key.encode() if isinstance(key, str) else key for key in keys]

    def dumps(self, value: Any) -> str:
        """Return a value as JSON, written by ``app.json``."""
        return self._app.json.dumps(value)

    def exchange(self) -> Exchange:
        """Return the current exchange; make one if the middleware did not see the request."""
        is_request = has_request_context()
        kept = request.scope.get(KEY) if is_request else g.get(KEY)
        if isinstance(kept, Exchange):
            return kept
        exchange = Exchange(self._known(), is_identified=not is_request)
        if is_request:
            cast("dict[str, object]", request.scope)[KEY] = exchange
        else:
            setattr(g, KEY, exchange)
        return exchange

    def header(self, name: str) -> str:
        """Return a header of the current request, or ``""``."""
        return request.headers.get(name, "") if has_request_context() else ""

    def root(self) -> str:
        """Return the path of ``QUART_SSE_BASE_URL``, or the request's root path."""
        if self._config.base_url is not None:
            return urlsplit(self._config.base_url).path
        return request.root_path.rstrip("/") if has_request_context() else ""

    def here(self) -> str:
        """Return path and query of the current request as a link has them, or ``""``."""
        if not has_request_context():
            return ""
        path = quote(request.path.lstrip("/"), safe="/:@!$&'()*+,;=~")  # "//" would name a host
        query = request.query_string.decode("latin-1")
        return f"{self.root()}/{path}{query and '?'}{query}"

    def address(self) -> str:
        """Return the client's IP address; ``""`` if it is not known."""
        return request.remote_addr or "" if has_request_context() else ""

    def sites(self) -> Sites:
        """Return the sites of ``QUART_SSE_BASE_URL``, ``SERVER_NAME`` and ``TRUSTED_HOSTS``."""
        own = set()
        if name := self._app.config.get("SERVER_NAME"):
            own |= {(scheme, name) for scheme in ("http", "https")}
        if (site := self._site()) is not None:
            own.add(site)
        trusted = self._app.config.get("TRUSTED_HOSTS") or request.trusted_hosts
        if trusted is None and name and any(rule.subdomain for rule in self.url_map.iter_rules()):
            trusted = [f".{name}"]  # its subdomains as well
        return Sites(frozenset(own), None if trusted is None else list(trusted))

    def _site(self) -> tuple[str, str] | None:
        """Return scheme and host of the app's absolute URLs; None if they are not configured."""
        if self._config.base_url is not None:
            parts = urlsplit(self._config.base_url)
            return parts.scheme, parts.netloc
        if name := self._app.config.get("SERVER_NAME"):
            return self._app.config.get("PREFERRED_URL_SCHEME") or "http", name
        return None

    def complete_part(self, function: Callable[[], Awaitable[str]]) -> None:
        """Append what a function returns to the answer, if that is a part of a page for htmx.

        It runs before the app's ``after_request`` functions, one of which may compress the answer.
        """
        if not has_request_context() or not _is_htmx_part():
            return

        @after_this_request
        async def complete(response: Any) -> Any:
            is_part = response.mimetype == "text/html" and response.status_code == 200
            if is_part and isinstance(response.response, DataBody):
                if "Content-Encoding" in response.headers:
                    self._once.warn("encoding", COMPRESSED)
                    return response
                # Bytes: the view may have chosen another charset.
                more = (await function()).encode("ascii", "xmlcharrefreplace")
                response.set_data(await response.get_data(as_text=False) + more)
            return response

    async def call(self, function: Callable[..., Any], values: Mapping[str, Any]) -> Any:
        """Call a function of the app; Quart runs sync ones in a thread, in the current context."""
        answer = await self._app.ensure_async(function)(**values)
        while inspect.isawaitable(answer):
            answer = await answer
        return answer

    async def call_apart(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function of the app in an app context of its own."""
        async with self._app.app_context():
            answer = await self._app.ensure_async(function)(*args)
            while inspect.isawaitable(answer):
                answer = await answer
            return answer

    async def template(self, name: str, context: Mapping[str, Any]) -> str:
        """Render a template with the app's Jinja environment."""
        return await render_template(name, **context)

    async def render(
        self, path: str, root: str, exchange: Exchange, function: Callable[[], Awaitable[str]]
    ) -> str:
        """Call a function in an anonymous GET of a path, between the hooks of a request."""
        site = self._site()
        scheme, host = site or ("http", self._first_trusted_host())
        context = self._app.test_request_context(
            path,
            scheme=scheme,
            root_path=root,
            headers={"Host": host, "Remote-Addr": NO_ONE},
            scope_base={KEY: exchange, "client": (NO_ONE, 0), "server": (host, None)},
        )
        if site is None and context.url_adapter is not None:
            _forbid_absolute_urls(context.url_adapter)
        async with context as pushed:
            status = 500
            try:
                self._check_blueprint(pushed.request.blueprint)
                try:
                    answer = await self._app.preprocess_request(pushed)
                except Exception as error:
                    raise RenderError(
                        f"A before_request or url_value_preprocessor function raised "
                        f"{type(error).__name__} in the request for {path!r}: {error} Let it pass "
                        "where sse.is_rendering is true, or declare the fragment personal=True."
                    ) from error
                if answer is not None:
                    raise RenderError(
                        f"A before_request function answered the request for {path!r}. Return None "
                        "where sse.is_rendering is true, or declare the fragment personal=True."
                    )
                was_modified = _is_modified(pushed.session)
                html = await function()
                if _is_modified(pushed.session) and not was_modified:
                    self._warn_of_session(path)
                status = 200
            finally:
                # What a hook has opened before the request, another one closes after it.
                response = self._app.response_class("", status, mimetype="text/html")
                process: Any = self._app.process_response
                await (
                    process(pushed, response) if _IS_CONTEXT_FIRST else process(response, pushed)
                )
            return html

    def _check_blueprint(self, name: str | None) -> None:
        is_ours = name is None or name.startswith("sse.")  # of a channel without one
        if not is_ours and name not in self._app.blueprints:
            raise RenderError(
                f"The channel belongs to blueprint {name!r}, which the app does not have. Register "
                "it, or give sse.channel() the name under which it is registered."
            )

    def _warn_of_session(self, path: str) -> None:
        endpoint = request.endpoint
        self._once.warn(
            f"session of {endpoint} {(request.view_args or {}).get('fragment')}",
            SESSION_CHANGED,
            path=path,
        )

    def _first_trusted_host(self) -> str:
        trusted = self._app.config.get("TRUSTED_HOSTS") or ()
        return next((host for host in trusted if host[:1] != "."), "localhost")


def _is_modified(session: object) -> bool:
    return bool(getattr(session, "modified", False))


def _forbid_absolute_urls(adapter: Any) -> None:
    """Make ``url_for(..., _external=True)`` raise, for an app whose host is not configured.

    Args:
        adapter: The URL adapter of the request in which a shared fragment is rendered.
    """
    build = adapter.build

    def build_relative(*args: Any, force_external: bool = False, **options: Any) -> str:
        if force_external:
            raise RenderError(
                "A shared fragment builds an absolute URL (_external=True), but the app's host is "
                "not configured, and a client may choose that of a request. Set "
                "QUART_SSE_BASE_URL or SERVER_NAME, or build the URL without _external."
            )
        return str(build(*args, force_external=False, **options))

    adapter.build = build_relative


def _is_htmx_part() -> bool:
    """Whether htmx requests a part of a page, not a whole one.

    See https://htmx.org/reference/#request_headers; ``HX-Request-Type`` is htmx 4's.
    """
    headers = request.headers
    return (
        headers.get("HX-Request") == "true"
        and headers.get("HX-Boosted") != "true"
        and headers.get("HX-History-Restore-Request") != "true"
        and headers.get("HX-Request-Type") != "full"
    )
