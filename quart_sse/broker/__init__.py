"""Carry messages between the processes of an app, and keep their history.

``MemoryBroker`` serves one process, ``RedisBroker`` many. Both keep the promises of
``docs/protocol.md``, and one test suite runs against both. ``RedisBroker`` is imported from
``quart_sse.broker.redis``, so that apps with one process do not load the Redis client.

This package is provisional: it may change in any release before 1.0.
"""

from .base import Broker, Receiver, State
from .control import Answers, Control
from .filter import Filter, Where
from .memory import MemoryBroker
from .messages import CONTROL_HISTORY, Keep, Kind, Message
from .processes import Process, Processes
from .replay import Budget, Past, Replay, Start, bound, judge
from .serving import ServingBroker
from .texts import Claim, Shelf, reference_of

__all__ = [
    "CONTROL_HISTORY",
    "Answers",
    "Broker",
    "Budget",
    "Claim",
    "Control",
    "Filter",
    "Keep",
    "Kind",
    "MemoryBroker",
    "Message",
    "Past",
    "Process",
    "Processes",
    "Receiver",
    "Replay",
    "ServingBroker",
    "Shelf",
    "Start",
    "State",
    "Where",
    "bound",
    "judge",
    "reference_of",
]
