"""The endpoints: ``sse.connect``, ``sse.static``, and a stream and fragments per channel."""

import logging
import mimetypes
from collections.abc import Awaitable, Mapping
from functools import partial
from typing import Any

from quart import Blueprint, Quart, Request, Response, abort, current_app, request
from quart.helpers import send_from_directory
from quart.wrappers.response import DataBody, ResponseBody
from werkzeug.exceptions import HTTPException

from ..access import Grant, Judgement, is_foreign
from ..channels import Channel, Topic
from ..error_log import OnceLog
from ..errors import BrokerUnavailable, ParameterError, SetupError
from ..hub import renderer_of
from ..logs import LogLine
from ..pages import ASSETS, COMPRESSED, STATIC
from ..streams import OwnBody, StreamAnswer, StreamBody
from ..wire import Ending, Refusal, declared_name
from ..wiring import Services
from .sessions import is_left
from .slim import slim

#: Lifetime in caches of a file whose URL has a hash of its content, in seconds (one year).
LONG = 31_536_000

# Quart streams only bodies that are registered as its own: a context manager that returns an
# iterator of bytes.
ResponseBody.register(StreamBody)
ResponseBody.register(OwnBody)


class EventStream(Response):
    """A response whose body is an event stream, without a time limit.

    Args:
        answer: Status, headers and body of the stream.
    """

    automatically_set_content_length: bool = False

    def __init__(self, answer: StreamAnswer) -> None:
        super().__init__(answer.body, answer.status, answer.headers)  # type: ignore[arg-type]
        # Quart cancels a response after RESPONSE_TIMEOUT; Quart 0.23 leaves it open and silent.
        self.timeout: Any = None

    def set_cookie(self, key: str, *args: Any, **options: Any) -> None:
        """Set a cookie, but for that of a session that nothing has changed."""
        if not is_left(key):
            super().set_cookie(key, *args, **options)

    async def get_data(self, as_text: bool = True) -> Any:
        """Refuse: the data have no end, so a caller would wait for ever.

        Raises:
            SetupError: Always; ``add_etag``, ``freeze`` and ``data`` come here, too.
        """
        raise _endless()

    def iter_encode(self) -> Any:
        """Refuse, as :meth:`get_data` does."""
        raise _endless()


def _endless() -> SetupError:
    return SetupError(
        "An after_request function reads the body of an event stream, which has no end. Return "
        "the response as it is if its mimetype is 'text/event-stream'."
    )


def itself() -> Request:
    """Return the current request: the proxy looks for it again at each use, dozens of times."""
    current: Request = request._get_current_object()  # type: ignore[attr-defined]
    return current


def respond(answer: StreamAnswer) -> Response:
    """Return the Quart response for the answer to a stream request."""
    if answer.status == 204:
        return Response(status=204, headers=answer.headers)
    if not isinstance(answer.body, bytes):
        answer.body.at_open = partial(slim, itself())
    return EventStream(answer)


FETCH_FAILED = LogLine(
    "pages",
    "fragment-failed",
    logging.ERROR,
    "Fragment %(fragment)r could not be rendered for %(path)s; the client keeps what it shows.",
    fragment=str,
    path=str,
)

COOKIE_PATH = LogLine(
    "pages",
    "cookie-path",
    logging.WARNING,
    "The session's cookie has the path %(cookie)s, and streams are at %(streams)s, so browsers "
    "open them without the session. Let the server pass the root path, or set "
    "SESSION_COOKIE_PATH='/'. This is logged once.",
    cookie=str,
    streams=str,
)


class Endpoints:
    """The endpoints of one app.

    Args:
        services: The app's services.
    """

    def __init__(self, services: Services) -> None:
        self._config = services.config
        self._host = services.host
        self._errors = services.errors
        self._channels = services.channels
        self._gate = services.gate
        self._streams = services.streams
        self._hub = services.hub
        self._renderer = services.renderer
        self._pages = services.pages
        self._names: set[str] = set()  #: endpoints of channels
        self._once = OnceLog()

    def extension_blueprint(self) -> Blueprint:
        """Return the blueprint of the shared connection, the static files and the templates."""
        blueprint = Blueprint("sse", __name__, template_folder=str(ASSETS / "templates"))

        # A function, which an app may mark, as rate limiters do; a method takes no attributes.
        async def connect(**_: Any) -> Response:
            return await _stream(self._streams.connect(itself()))

        blueprint.add_url_rule("", "connect", connect, methods=["GET"])
        blueprint.add_url_rule("/~static/<path:filename>", "static", _static, methods=["GET"])
        return blueprint

    def add_channel(self, app: Quart, channel: Channel) -> None:
        """Register the endpoints of a channel: its stream, and its fragments below ``/~/``."""
        prefix, rule = self._config.url_prefix, channel.rule

        async def stream(**_: Any) -> Response:
            topic = self._topic(channel)
            declared = self._channels.known(topic.name)
            shown = request.args.get("fragments")
            names = declared.fragments if shown is None else shown.split(",")
            fragments = frozenset(names) & declared.known.keys()
            return await _stream(self._streams.channel(itself(), topic, fragments))

        async def fragment(**_: Any) -> Response:
            name = str(_said()["fragment"])
            if name not in self._channels.known(channel.name).known:
                abort(404)
            return await self._fragment(self._topic(channel), name)

        # On the app: each blueprint of it is compared with all others when it is registered, and
        # the fragments' endpoint may have the name of a blueprint of the app's own.
        for path, endpoint, view in (
            (rule, f"sse.{channel.name}.stream", stream),
            (f"/~/<fragment>{rule}", channel._declaration.url_rule.fragment_endpoint, fragment),
        ):
            app.add_url_rule(f"{prefix}{path}", endpoint, view, methods=["GET"])
            self._names.add(endpoint)

    def is_ours(self, endpoint: str) -> bool:
        """Whether an endpoint is one of the extension's."""
        return endpoint in self._names or endpoint.startswith("sse.")

    def _topic(self, channel: Channel) -> Topic:
        """Return the topic of the request's URL; 404 for values that no topic can have."""
        names = channel._declaration.url_rule.parameters
        said = _said() if names else {}
        try:
            return channel.topic(**{name: said[name] for name in names})
        except ParameterError:  # such as inf
            abort(404)

    async def _fragment(self, topic: Topic, name: str) -> Response:
        """Respond with a fragment's HTML; the gate judges the client as for a stream."""
        if is_foreign(request, self._host.sites(), self._config.origins):
            return _nothing(403)
        try:
            html = await self._html(topic, name)
        except Refusal as refusal:
            return _nothing(refusal.ending.status)
        except BrokerUnavailable:
            return _nothing(503)
        except HTTPException:
            raise  # a personal fragment's own response, such as abort(404)
        except Exception as error:
            self._errors.log(
                renderer_of(topic.name, name),
                error,
                FETCH_FAILED,
                fragment=declared_name(topic.name, name),
                path=request.path,
            )
            return _nothing(500)
        # The page that receives this HTML has connected the fragments in it.
        self._pages.current().shown.forget()
        return Response(html, headers={"Cache-Control": "private, no-store"})

    async def _html(self, topic: Topic, name: str) -> str:
        """Return a fragment's HTML for the client.

        Raises:
            Refusal: If the gate refuses the client, or ``@sse.identity`` or ``authorize`` failed.
        """
        gate, spec = self._gate, self._channels.known(topic.name).find(name).spec
        text = request.args.get("t")
        token = await gate.verify(text, await gate.identify()) if text else None
        judgement = Judgement(gate, [token], topic)
        signed = frozenset() if token is None else token.topics.get(topic.name, frozenset())
        grant = await judgement.judge(topic.name, token if name in signed else None)
        if grant is Grant.NO:
            raise Refusal(Ending.REFUSED)
        if spec.personal:
            return await self._renderer.call(topic.name, name, topic.params)
        rendered = await self._hub.render_now(
            topic.name, spec, root=self._host.root(), is_urgent=False
        )
        if not await judgement.may_contain(topic.name, spec, rendered.nested):
            raise Refusal(Ending.REFUSED)
        return rendered.html

    async def finish(self, response: Response) -> Response:
        """Make pages private that hold a token or what is for one viewer.

        An ``after_request`` function of the app.
        """
        exchange = self._host.exchange()
        if exchange.is_rendering:
            return response
        exchange.path = request.path
        is_page = response.mimetype == "text/html" and response.status_code == 200
        if not is_page and exchange.page is None:
            return response
        page = self._pages.current()
        if page.is_private and exchange.identity is not None:
            self._check_cookie_path()
        if response.status_code >= 500:
            page.shown.forget()  # a page that has failed is not shown: it lacks no connect element
        if is_page and not isinstance(response.response, DataBody):
            # A streamed template runs in another context, so ask for the identity now.
            is_user = await self._gate.identity() is not None and bool(self._host.keys())
            # The template runs after the headers are sent, so assume the worst of what it shows.
            page.is_private = is_user or self._channels.are_private
        elif is_page and self._host.is_debug and page.nonce is not None:
            self._pages.warn_unread(str(await response.get_data(as_text=False), errors="replace"))
        if page.is_private and "Cache-Control" not in response.headers:
            # A shared cache must not serve one user's token to others. no-store also keeps the
            # page out of the back-forward cache, where its stream would stay open.
            response.headers["Cache-Control"] = "private, no-store"
        return response

    def _check_cookie_path(self) -> None:
        """Say so if browsers do not send the session to the URLs of streams (RFC 6265, 5.1.4)."""
        app = current_app
        cookie = app.session_interface.get_cookie_path(app).rstrip("/")
        streams = f"{self._host.root()}{self._config.url_prefix}"
        if not f"{streams}/".startswith(f"{cookie}/"):
            self._once.warn("cookie path", COOKIE_PATH, cookie=cookie, streams=streams)


def _said() -> Mapping[str, Any]:
    """Return the values in the request's URL.

    Those that the view was called with may lack some: a ``url_value_preprocessor`` of the app, such
    as one for languages, may have taken them out.
    """
    adapter = current_app.create_url_adapter(request)
    assert adapter is not None  # only without a request
    return adapter.match()[1]


async def _stream(answer: Awaitable[StreamAnswer]) -> Response:
    """Respond to a stream request; an error page names the reason of a refusal."""
    try:
        return respond(await answer)
    except Refusal as refusal:
        reason = f"The stream was refused: {refusal.ending.reason}. {refusal.detail}"
        abort(refusal.ending.status, reason.rstrip())


async def _static(filename: str, **_: Any) -> Response:
    """Respond with a static file, compressed if the client accepts that.

    The URL that a page writes has the hash of the content, so that caches may keep it for ever. In
    a deployment a process of another release may be asked for it, which has other content.
    """
    if filename not in STATIC:
        abort(404)
    version = request.args.get("v")
    if version not in (None, STATIC[filename][:12]):
        return Response("", 404, headers={"Cache-Control": "no-store"})
    response = await _file(filename)
    if version is not None:
        response.cache_control.max_age = LONG
        response.cache_control.public = True
        response.cache_control.immutable = True
        response.cache_control.no_cache = None
    response.headers.pop("Expires", None)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Access-Control-Allow-Origin"] = "*"  # for pages in frames that are sandboxed
    return response


async def _file(filename: str) -> Response:
    folder = ASSETS / "static"
    if not (folder / f"{filename}.gz").is_file():
        return await send_from_directory(folder, filename)
    accepted = request.accept_encodings
    coding = next((each for each in COMPRESSED if accepted[each] > 0), None)
    if coding is None:
        response = await send_from_directory(folder, filename)
    else:
        mimetype, _ = mimetypes.guess_type(filename)
        response = await send_from_directory(
            folder, f"{filename}{COMPRESSED[coding]}", mimetype=mimetype
        )
        response.headers["Content-Encoding"] = coding
    response.vary.add("Accept-Encoding")
    return response


def _nothing(status: int) -> Response:
    # htmx 4 swaps error responses in; HX-Reswap keeps the fragment that the page shows.
    return Response("", status, headers={"HX-Reswap": "none", "Cache-Control": "private, no-store"})
