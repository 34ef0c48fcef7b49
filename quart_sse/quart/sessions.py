"""What pages ask for by themselves leaves the cookie of the session as it is."""

from collections.abc import Callable

from quart import Response, current_app, request, session


def leave_session(is_ours: Callable[[str], bool]) -> Callable[[Response], Response]:
    """Return an ``after_request`` function by which streams and our endpoints refresh no session.

    Quart sends the cookie of a permanent session with each answer, so that it expires later
    (``SESSION_REFRESH_EACH_REQUEST``). An answer to a stream that began before the user has signed
    out, and comes after, would sign the user in again. What changes the session is sent as ever.

    Args:
        is_ours: Returns whether an endpoint is one of the extension's.
    """

    def leave(response: Response) -> Response:
        if not (response.mimetype == "text/event-stream" or is_ours(request.endpoint or "")):
            return response
        name = current_app.session_interface.get_cookie_name(current_app)
        set_cookie = response.set_cookie

        def set_unless_unchanged(key: str, *args: object, **options: object) -> None:
            if key != name or session.modified:
                set_cookie(key, *args, **options)  # type: ignore[arg-type]

        response.set_cookie = set_unless_unchanged  # type: ignore[method-assign]
        return response

    return leave
