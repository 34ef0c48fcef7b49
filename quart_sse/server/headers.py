"""The headers that answers at our URLs have beside their own: a channel's, and those of CORS.

A page of another origin reads an answer only if the answer allows its origin
(https://fetch.spec.whatwg.org/#http-cors-protocol), whether it is a stream, a refusal or an error.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, NamedTuple

from ..channels import AppChannels
from ..config import Config
from ..host import Exchange

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
#: Name and value of each, as ASGI has them; names of ours are in lower case.
Headers = list[tuple[bytes, bytes]]

#: Request headers that a page of another origin may send: of ``EventSource`` and its polyfills, of
#: htmx, and of ``quart-sse.js``.
REQUEST_HEADERS = "Accept, Cache-Control, HX-Request, Last-Event-ID, X-SSE-Page"
#: Time for which browsers keep the answer to a preflight, in seconds; Chromium keeps none longer.
PREFLIGHT_AGE = 7200


class _Place(NamedTuple):
    """What answers at one URL have."""

    headers: Mapping[str, str]
    origins: tuple[str, ...]


class AnswerHeaders:
    """Completes the headers of all answers at the extension's URLs, whoever has answered.

    The channel's own URL allows the origins of the channel and of ``QUART_SSE_ORIGINS``; the shared
    URL and those of fragments allow the latter. No other origin is ever named in an answer.

    Args:
        channels: The app's channels.
        config: The app's settings.
    """

    def __init__(self, channels: AppChannels, config: Config) -> None:
        self._channels = channels
        self._config = config

    @property
    def are_used(self) -> bool:
        """Whether any URL has origins or headers; otherwise answers stay as they are."""
        return bool(self._config.origins) or self._channels.have_headers

    async def answer_preflight(
        self, send: Send, scope: Any, exchange: Exchange | None = None
    ) -> bool:
        """Allow a page of another origin to send its request, if this one asks for that.

        Args:
            send: The server's.
            scope: The request's scope.
            exchange: The request's exchange; None before the app has seen the request.

        Returns:
            Whether the request is answered; otherwise the app has to.
        """
        asked = scope["headers"]
        origin, method = header(asked, b"origin"), header(asked, b"access-control-request-method")
        if scope["method"] != "OPTIONS" or method not in ("GET", "HEAD"):
            return False
        if origin not in self._at(path_of(scope, exchange)).origins:
            return False
        allowed = {
            **_allowing(origin),
            b"access-control-allow-methods": b"GET, HEAD",
            b"access-control-allow-headers": REQUEST_HEADERS.encode(),
            b"access-control-max-age": str(PREFLIGHT_AGE).encode(),
            b"vary": b"Origin",
        }
        await send_empty(send, [*allowed.items()])
        return True

    def completing(self, send: Send, scope: Any, exchange: Exchange) -> Send:
        """Return a ``send`` that completes the headers of the answer, and sends each once.

        Args:
            send: The server's.
            scope: The request's scope.
            exchange: The request's exchange, which has the path that the framework saw.
        """
        is_replaced = False

        async def begin(message: Message) -> None:
            nonlocal is_replaced
            # The path may be known only now, if a middleware inside this one strips a prefix.
            is_replaced = await self.answer_preflight(send, scope, exchange)
            if not is_replaced:
                await send({**message, "headers": self._complete(message, scope, exchange)})

        # A plain function: it hands on the coroutine of send, without another one for each message.
        def sending(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                return begin(message)
            return drop() if is_replaced else send(message)

        return sending

    def _complete(self, message: Message, scope: Any, exchange: Exchange) -> Headers:
        answered = list(message.get("headers", ()))
        place = self._at(path_of(scope, exchange))
        own = {name.lower().encode(): value.encode() for name, value in place.headers.items()}
        origin = header(scope["headers"], b"origin")
        if origin in place.origins:
            own |= _allowing(origin)
        if place.origins:
            own[b"vary"] = _varying(answered)
        kept = [(name, value) for name, value in answered if name.lower() not in own]
        return [*kept, *own.items()]

    def _at(self, path: str) -> _Place:
        prefix, shared = self._config.url_prefix, self._config.origins
        if path == prefix or path.startswith(f"{prefix}/~/"):
            return _Place({}, shared)
        if not path.startswith(f"{prefix}/") or path.startswith(f"{prefix}/~"):
            return _Place({}, ())
        channel = self._channels.at(path)
        if channel is None:
            return _Place({}, shared)
        return _Place(channel.options.headers, channel.origins(self._config))


def _allowing(origin: str) -> dict[bytes, bytes]:
    return {
        b"access-control-allow-origin": origin.encode(),
        b"access-control-allow-credentials": b"true",
    }


def _varying(answered: Headers) -> bytes:
    """Return a ``Vary`` that names ``Origin`` in addition to what it names already."""
    named = [each.strip() for each in header(answered, b"vary").split(",") if each.strip()]
    is_named = "*" in named or "origin" in [each.lower() for each in named]
    return ", ".join(named if is_named else [*named, "Origin"]).encode("latin1")


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    """Return the value of a header, or of all of this name, joined by commas; ``""`` without one.

    Args:
        headers: The headers, as ASGI has them.
        name: The header's name, in lower case.
    """
    return ", ".join(value.decode("latin1") for key, value in headers if key.lower() == name)


def path_of(scope: Any, exchange: Exchange | None = None) -> str:
    """Return the path of a request, without the app's root path.

    Another middleware may strip a prefix from the path, so the path that the framework saw counts;
    if another middleware has answered, the path of the scope counts.
    """
    if exchange is not None and exchange.path is not None:
        return exchange.path
    return str(scope["path"]).removeprefix(scope.get("root_path", ""))


async def send_empty(send: Send, headers: Headers) -> None:
    """Answer with a 204 that has no body."""
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def drop() -> None:
    """Send nothing, because the answer is replaced."""
