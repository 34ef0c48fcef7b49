"""What pages ask for by themselves leaves the cookie of the session as it is.

Quart sends the cookie of a permanent session with each answer, so that it expires later
(``SESSION_REFRESH_EACH_REQUEST``). An answer to a stream that began before the user has signed out,
and comes after, would sign the user in again. What changes the session is sent as ever.
"""

from collections.abc import Awaitable, Callable

from quart import Response, current_app, request, session


def is_left(cookie: str) -> bool:
    """Whether a cookie of an answer is that of the session, which the request has not changed."""
    name = current_app.session_interface.get_cookie_name(current_app)
    return cookie == name and not session.modified


def leave_session(is_ours: Callable[[str], bool]) -> Callable[[Response], Awaitable[Response]]:
    """Return an ``after_request`` function by which our endpoints refresh no session.

    Streams do not by themselves, also those of the app's own views; see ``EventStream``.

    Args:
        is_ours: Returns whether an endpoint is one of the extension's.
    """

    # A coroutine function: Quart would run another one in a thread, for each answer of the app.
    async def leave(response: Response) -> Response:
        if response.mimetype == "text/event-stream" or not is_ours(request.endpoint or ""):
            return response
        set_cookie = response.set_cookie

        def set_other(key: str, *args: object, **options: object) -> None:
            if not is_left(key):
                set_cookie(key, *args, **options)  # type: ignore[arg-type]

        response.set_cookie = set_other  # type: ignore[method-assign]
        return response

    return leave
