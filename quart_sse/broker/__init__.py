"""Carry messages between the processes of an app, and keep their history.

``memory`` serves one process, ``redis`` many. Both make the promises of ``docs/protocol.md``;
one suite of tests runs against both. ``RedisBroker`` is imported from ``quart_sse.broker.redis``,
so that apps of one process do not load its client.
"""

from ..errors import BrokerUnavailable
from .base import (
    CONTROL_HISTORY,
    Broker,
    Keep,
    Kind,
    Message,
    Past,
    Receiver,
    Replay,
    Start,
    State,
    bound,
    judge,
    reference_of,
)
from .control import Answers, Control
from .memory import MemoryBroker
from .processes import PROCESSES, Process, Processes

__all__ = [
    "CONTROL_HISTORY",
    "PROCESSES",
    "Answers",
    "Broker",
    "BrokerUnavailable",
    "Control",
    "Keep",
    "Kind",
    "MemoryBroker",
    "Message",
    "Past",
    "Process",
    "Processes",
    "Receiver",
    "Replay",
    "Start",
    "State",
    "bound",
    "judge",
    "reference_of",
]
