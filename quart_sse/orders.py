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

from .access import private
from .broker import ORDERS, Kind, Message
from .connection import Connection, holdoff
from .position import ZERO
from .state import Order, State

logger = logging.getLogger("quart_sse")

#: Seconds within which the streams end that an order may have meant which this process lost.
SPREAD = 30.0


async def give(state: State, name: str, data: Mapping[str, str]) -> None:
    """Give an order to every process.

    Args:
        state: Of the app.
        name: ``"disconnect"`` with an ``identity``, or ``"recheck"`` with a ``topic``.
        data: Whom it means.

    Raises:
        BrokerUnavailable: If it was not, or may not have been, given.
    """
    await state.broker.publish(Message(Kind.CONTROL, ZERO, "", name, json.dumps(data)), ORDERS)


def carry_out(state: State, name: str, data: str) -> None:
    """End the streams of this process that an order means."""
    told = json.loads(data)
    if name == "disconnect":
        order = Order(time.monotonic(), name, identity=told["identity"])
        meant = state.limits.of("identity", order.identity)
    elif name == "recheck":
        order = Order(time.monotonic(), name, topic=told["topic"])
        meant = state.hub.listeners(told["topic"])
    else:
        logger.warning("Another release of the app sent the order %r, unknown here.", name)
        return
    state.orders.append(order)
    for connection in meant:
        _end(connection, name)


def obey(state: State, connection: Connection) -> None:
    """End a stream that is just opened, if an order came since its viewer was judged."""
    recent = state.orders
    if len(recent) == recent.maxlen and recent[0].at > connection.judged_at:
        _end(connection, "recheck")  # there may have been more of them
    for order in recent:
        if order.at >= connection.judged_at and _means(order, connection):
            _end(connection, order.name)


def _end(connection: Connection, reason: str) -> None:
    connection.discard()  # it may be for those who may not read it any more
    connection.end(holdoff(reason, 0.5))


def _means(order: Order, connection: Connection) -> bool:
    is_identity = order.identity is not None and order.identity == connection.identity
    return is_identity or order.topic in connection.subscription


def lost(state: State) -> None:
    """End every stream that lost orders may have meant, spread over some time."""
    now = asyncio.get_running_loop().time()
    for connection in state.hub.connections.values():
        if connection.identity is not None or private(connection.subscription, state):
            ends_at = now + SPREAD * random.random()
            connection.ends_at = min(connection.ends_at, ends_at)
