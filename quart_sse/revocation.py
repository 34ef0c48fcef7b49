"""Orders to every process: whose streams end, so that whoever comes back is judged anew.

An order must reach every stream that it means: those that are open, those that are just being
opened by somebody who was judged before it came, and those of a process that could not hear it.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import Mapping

from quart import request

from .access import private
from .broker import CONTROL_HISTORY, Kind, Message
from .connection import Connection
from .ending import Ending
from .page_request import current_identity
from .position import ZERO
from .state import Order, State

logger = logging.getLogger("quart_sse")

#: Seconds within which the streams end that an order may have meant which this process lost.
SPREAD = 30.0


async def give(state: State, name: str, data: Mapping[str, str]) -> None:
    """Give an order to every process.

    Args:
        state: Of the app.
        name: ``"disconnect"`` with an ``identity``, ``"recheck"`` with a ``topic``, or
            ``"logout"`` with one or both of ``identity`` and ``browser``.
        data: Whom it means.

    Raises:
        BrokerUnavailable: If it was not, or may not have been, given.
    """
    await state.broker.publish(
        Message(Kind.CONTROL, ZERO, "", name, json.dumps(data)), CONTROL_HISTORY
    )


async def logout_order(state: State) -> dict[str, str] | None:
    """Return whom the current request signs out; None if nothing tells whose streams those are.

    The user may be forgotten already, but the browser's cookie is still here. It tells enough,
    for what a browser shows to visitors who are not signed in may go on.
    """
    identity = await current_identity()
    cookie = request.cookies.get(state.config.browser_cookie)
    browser = state.signer.read_browser(cookie)
    if identity is None and browser is None and not state.config.browser_cookie:
        logger.warning(
            "sse.logout() was called when the user was forgotten already, and no cookie tells "
            "whose streams to end. Call it before the session is cleared, or set "
            "QUART_SSE_BROWSER_COOKIE."
        )
    told = {"identity": identity, "browser": browser}
    return {key: value for key, value in told.items() if value is not None} or None


def carry_out(state: State, name: str, data: str) -> None:
    """End the streams of this process that an order means."""
    now = time.monotonic()
    try:
        told = json.loads(data)
        if name == "disconnect":
            order = Order(now, name, identity=told["identity"])
        elif name == "logout":
            order = Order(now, name, told.get("identity"), None, told.get("browser"))
        elif name == "recheck":
            order = Order(now, name, topic=told["topic"])
        else:
            logger.warning("Another release of the app sent the order %r, unknown here.", name)
            return
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        state.errors.log("reading of orders", error, "The order %r cannot be read; skipped.", name)
        return
    state.orders.append(order)
    for connection in _candidates(state, order):
        if _means(order, connection):
            _end(connection, _ending_of(order))


def _candidates(state: State, order: Order) -> list[Connection]:
    """Return the connections among which are those that an order means."""
    if order.topic is not None:
        return state.hub.listeners(order.topic)
    if order.browser is not None:
        return state.limits.of("browser", order.browser)
    return state.limits.of("identity", order.identity)


def obey(state: State, connection: Connection) -> None:
    """End a stream that is just opened, if an order came since its viewer was judged."""
    recent = state.orders
    if len(recent) == recent.maxlen and recent[0].at > connection.judged_at:
        _end(connection, Ending.RECHECK)  # there may have been more of them
    for order in recent:
        if order.at >= connection.judged_at and _means(order, connection):
            _end(connection, _ending_of(order))


def _end(connection: Connection, ending: Ending) -> None:
    connection.discard()  # it may be for those who may not read it any more
    connection.end(ending)


def _ending_of(order: Order) -> Ending:
    return Ending.RECHECK if order.name == "recheck" else Ending.DISCONNECT


def _means(order: Order, connection: Connection) -> bool:
    if order.topic is not None:
        return order.topic in connection.subscription
    if order.browser is not None and order.browser != connection.browser:
        return False
    # Signed out in a browser that no longer says of whom: of all whom it has streams of.
    return connection.identity is not None and order.identity in (None, connection.identity)


def lost(state: State) -> None:
    """End every stream that lost orders may have meant, spread over some time."""
    now = asyncio.get_running_loop().time()
    for connection in state.hub.connections.values():
        if connection.identity is not None or private(connection.subscription, state):
            ends_at = now + SPREAD * random.random()
            connection.ends_at = min(connection.ends_at, ends_at)
