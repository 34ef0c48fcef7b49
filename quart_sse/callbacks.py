"""Take from an app's own functions only the answers that they may give."""

from collections.abc import Callable, Mapping
from typing import Any

from werkzeug.exceptions import HTTPException

from .errors import AnswerError
from .host import Host


async def decide(
    host: Host, function: Callable[..., Any], values: Mapping[str, Any], name: str
) -> bool:
    """Ask a function of the app for a yes or no.

    ``True`` is a yes, ``False`` and ``None`` are a no, and so are ``abort(4xx)`` and a redirect
    that is raised. All else is truthy by accident: a response, a row, a tuple with a status.

    Args:
        host: Calls the function.
        function: What is asked.
        values: Its keyword arguments.
        name: What the function is called in an error, such as ``"authorize of channel 'board'"``.

    Raises:
        AnswerError: If the answer is none of the three.
        Exception: Whatever the function raised, other than a refusal.
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
        f"The {name} returned {type(answer).__name__}. It must return True, False or None, such "
        "as bool(...) of what it returns now; abort(403) is a no, too."
    )


def is_refusal(error: HTTPException) -> bool:
    """Whether an HTTP error says no: ``abort(4xx)``, or a redirect, to a login page for example.

    ``abort(response)`` raises an error without a code, which has the response.
    """
    code = error.code
    if code is None and error.response is not None:
        code = error.response.status_code
    return code is not None and 300 <= code < 500


def check_identity(identity: object, source: str) -> str | None:
    """Return an identity if it can be one: a text that is not empty, or None.

    Args:
        identity: What was given.
        source: Who gave it, for the error: ``"The function of @sse.identity returned"``.

    Raises:
        AnswerError: If it is anything else. ``""`` is refused because it is what forgetful code
            has for *all* who are not signed in, and they would count as one person.
    """
    if identity is None or (isinstance(identity, str) and identity):
        return identity
    given = repr(identity) if identity == "" else type(identity).__name__
    raise AnswerError(
        f"{source} {given}. An identity is a str that is not empty, such as str(user.id), or None "
        "for a visitor who is not signed in."
    )
