"""The endpoint ``sse.publish``, to which programs in any language publish, if the app allows it.

Errors are problem details (RFC 9457), made for programs: each has a type of its own.
"""

import json
import logging
import re
from collections.abc import Callable
from typing import Any

from quart import Quart, Response, abort, request
from werkzeug.exceptions import HTTPException

from ..access import decide, is_foreign
from ..channels import AppFunctions
from ..errors import BrokerUnavailable, SSEError, UnknownChannelError, UnknownFragmentError
from ..host import Host
from ..logs import LogLine
from ..wiring import Services

#: Methods that are answered, so that their errors are problem details, too.
METHODS = ("POST", "GET", "PUT", "PATCH", "DELETE")
_NOT_FOUND = (UnknownChannelError, UnknownFragmentError)


class ProblemError(Exception):
    """An error of the endpoint, as its answer says it.

    Args:
        status: The HTTP status.
        kind: The last part of the problem's type.
        detail: What is wrong, and the remedy.
        more: Further members of the answer.
    """

    def __init__(self, status: int, kind: str, detail: str, **more: object) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.more = more

    def response(self) -> Response:
        """Return the answer."""
        told = {
            "type": f"urn:quart-sse:{self.kind}",
            "title": self.kind.replace("-", " ").capitalize(),
            "status": self.status,
            "detail": str(self),
            **self.more,
        }
        headers = {"Allow": "POST"} if self.status == 405 else {}
        return _answer(self.status, told, "application/problem+json", headers)


async def check_sender(
    host: Host,
    function: Callable[..., Any] | None,
    name: str,
    failed: Callable[[Exception], None],
) -> None:
    """Refuse requests of pages of other origins, and those that the app does not allow.

    Args:
        host: The app's framework.
        function: The app's, which judges the request; None allows nothing.
        name: What asks for the sender's credentials, as answers and errors call it.
        failed: Logs an error of the function.

    Raises:
        ProblemError: If the request is refused.
    """
    if is_foreign(request, host.sites(), ()):
        raise ProblemError(
            403, "origin", "The request comes from a page of another origin. Use a server."
        )
    is_allowed = False
    if function is not None:
        try:
            is_allowed = await decide(host, function, {}, name)
        except Exception as error:
            failed(error)
    if not is_allowed:
        asks = name.removesuffix(" function")
        raise ProblemError(403, "refused", f"The app does not allow it. Send what {asks} asks for.")


PUBLISH_FAILED = LogLine(
    "access",
    "authorize-publish-failed",
    logging.ERROR,
    "@sse.authorize_publish failed; the request is refused.",
)


class PublishEndpoint:
    """The endpoint of one app.

    Args:
        services: The app's services.
        functions: Those of the app, which may be registered later.
    """

    def __init__(self, services: Services, functions: AppFunctions) -> None:
        self._host = services.host
        self._errors = services.errors
        self._remote = services.remote
        self._functions = functions

    def install(self, app: Quart, prefix: str) -> None:
        """Register the URL, which is not found as long as the app allows nothing.

        Args:
            app: The app.
            prefix: ``QUART_SSE_URL_PREFIX``.
        """
        methods = list(METHODS)
        app.add_url_rule(f"{prefix}/~publish", "sse.publish", self._respond, methods=methods)

    async def _respond(self, **_: Any) -> Response:
        if self._functions.publishing is None:
            abort(404)
        try:
            await self._check()
            told = await self._remote.publish(await _body())
        except ProblemError as problem:
            return problem.response()
        except SSEError as error:
            return _problem_of(error).response()
        return _answer(200, told, "application/json", {})

    async def _check(self) -> None:
        """Refuse who may not publish, before anything of the body is read."""
        if request.method != "POST":
            raise ProblemError(405, "method", f"{request.method} is not allowed. Use POST.")
        await check_sender(
            self._host,
            self._functions.publishing,
            "@sse.authorize_publish function",
            lambda error: self._errors.log("publishing by HTTP", error, PUBLISH_FAILED),
        )


async def _body() -> object:
    """Return what the request's JSON holds.

    Raises:
        ProblemError: If the body is no JSON, or too large.
    """
    if request.mimetype != "application/json":
        raise ProblemError(
            415,
            "media-type",
            f"The Content-Type is {request.mimetype or 'missing'}. Send application/json.",
        )
    try:
        read: object = json.loads(await request.get_data())
    except HTTPException as error:  # MAX_CONTENT_LENGTH, or a client that does not end its body
        status = error.code or 400
        raise ProblemError(
            status, "body", error.description or "The body cannot be read."
        ) from None
    except (ValueError, RecursionError) as error:
        raise ProblemError(400, "body", f"The body is no JSON: {error}.") from None
    return read


def _problem_of(error: SSEError) -> ProblemError:
    """Return the answer for an error that an app would get."""
    if isinstance(error, BrokerUnavailable):
        return ProblemError(
            503, "broker-unavailable", str(error), maybe_published=error.maybe_published
        )
    name = type(error).__name__.removesuffix("Error")
    kind = re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
    return ProblemError(404 if isinstance(error, _NOT_FOUND) else 422, kind, str(error))


def _answer(status: int, told: Any, mimetype: str, headers: dict[str, str]) -> Response:
    headers = {"Cache-Control": "no-store", **headers}
    return Response(json.dumps(told), status, headers, mimetype=mimetype)
