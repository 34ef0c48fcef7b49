"""Actions: what an operator does to one connection; each is logged with who did it."""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..errors import ParameterError
from ..logs import LogLine
from ..registry import Sending
from ..wire import LEVELS, make_notification
from .question import ID

INSPECTOR_ACTION = LogLine(
    "inspector",
    "inspector-action",
    # What a person does to others is to be found later, also where only warnings are kept.
    logging.WARNING,
    "Operator %(who)r has used the inspector: %(action)s connection %(connection)s: %(outcome)s.",
    who=str,
    action=str,
    connection=str,
    outcome=str,
)

#: Longest time after which a client may be asked to come back, in seconds: a day.
MAX_RETRY = 86_400.0

Form = Mapping[str, Any]
Action = Callable[[Sending, str, Form], Awaitable[bool]]


async def _disconnect(sending: Sending, id: str, form: Form) -> bool:
    text = str(form.get("retry") or "").strip()
    if not text:
        return await sending.close(id, None)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_RETRY:
        raise ParameterError(f"{text!r} is no number of seconds. Give one from 0 to 86,400.")
    return await sending.close(id, seconds)


async def _send(sending: Sending, id: str, form: Form) -> bool:
    text = str(form.get("data") or "")
    try:
        data = json.loads(text) if text.strip() else None
    except (ValueError, RecursionError):
        data = text
    return await sending.send(id, str(form.get("event") or "").strip(), data)


async def _notify(sending: Sending, id: str, form: Form) -> bool:
    level: Any = str(form.get("level") or LEVELS[0])
    title = str(form.get("title") or "").strip() or None
    return await sending.notify(id, make_notification(str(form.get("message") or ""), level, title))


#: Action, as a form names it -> what does it.
ACTIONS: Mapping[str, Action] = {"disconnect": _disconnect, "send": _send, "notify": _notify}


async def act(sending: Sending, who: str, form: Form) -> bool:
    """Do what a form asks for, and log it.

    Args:
        sending: Reaches connections.
        who: Who asks.
        form: ``action``, the connection's ``id``, and what belongs to the action.

    Returns:
        Whether the connection was open.

    Raises:
        ParameterError: If there is no such action, or the id can be none.
        SSEError: Any error of the action.
    """
    name, id = str(form.get("action")), str(form.get("id"))
    action = ACTIONS.get(name)
    if action is None or not ID.fullmatch(id):
        raise ParameterError(
            f"The form asks for the action {name!r} of connection {id!r}. Use the page again."
        )
    outcome = "failed"
    try:
        is_done = await action(sending, id, form)
        outcome = "done" if is_done else "it was not open"
        return is_done
    finally:
        INSPECTOR_ACTION.log(who=who, action=name, connection=id, outcome=outcome)
