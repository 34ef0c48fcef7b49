"""Check the answers of an app's own functions before access is decided by them."""

from collections.abc import Callable, Mapping
from typing import Any

from werkzeug.exceptions import HTTPException

from ..errors import AnswerError
from ..host import Host
from ..wire import plain


async def decide(
    host: Host, function: Callable[..., Any], values: Mapping[str, Any], name: str
) -> bool:
    """Call a function of the app and return whether it grants access.

    ``True`` grants. ``False``, ``None``, ``abort(4xx)`` and a raised redirect refuse. Any other
    answer, such as a response, a row or a tuple with a status, is truthy by accident and must not
    grant anything.

    Args:
        host: Calls the function, sync or async.
        function: The app's function, such as a channel's ``authorize``.
        values: Its keyword arguments: parameter -> value.
        name: The function's name for the error, such as ``"authorize of channel 'board'"``.

    Returns:
        True if the function returned ``True``; False if it refused.

    Raises:
        AnswerError: If the answer is not ``True``, ``False`` or ``None``.
        Exception: Any error that the function raised and that is no refusal.

    Example:
        ``await decide(host, may_read, {"board_id": 7}, "authorize of channel 'board'")``
    """
    try:
        answer = await host.call(function, values)
    except HTTPException as error:
        if is_refusal(error):
            return False
        raise
    if answer is None or isinstance(answer, bool):
        return answer is True
    raise AnswerError(
        f"The {name} returned {type(answer).__name__}. It must return True, False or None: "
        "wrap the value in bool(...), or refuse by abort(403)."
    )


def is_refusal(error: HTTPException) -> bool:
    """Whether an HTTP error refuses a client: ``abort(4xx)``, or a redirect to a login page.

    Statuses of 500 and above are failures. Werkzeug's ``abort(response)`` raises an error whose
    ``code`` is None, so the status of its response counts.
    """
    code = error.code
    if code is None and error.response is not None:
        code = error.response.status_code
    return code is not None and 300 <= code < 500


def check_identity(identity: object, source: str) -> str | None:
    """Return an identity as a plain str, after a check that it is a non-empty str or None.

    The empty text is an error, because careless code yields it for *every* visitor who is not
    signed in, and all of them would count as one user.

    Args:
        identity: The value to check.
        source: Begins the error: ``"The function of @sse.identity returned"``.

    Returns:
        The identity; None for a visitor who is not signed in.

    Raises:
        AnswerError: If the value is neither a non-empty str nor None.
    """
    if identity is None or (isinstance(identity, str) and identity):
        return None if identity is None else plain(identity)
    given = repr(identity) if identity == "" else type(identity).__name__
    raise AnswerError(
        f"{source} {given}. An identity is a str that is not empty, such as str(user.id), or None "
        "for a visitor who is not signed in."
    )
