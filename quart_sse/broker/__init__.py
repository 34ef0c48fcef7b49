"""Carry messages between the processes of an app, and keep their history.

``MemoryBroker`` serves one process, ``RedisBroker`` many. Both keep the promises of
``docs/protocol.md``, and one test suite runs against both. ``RedisBroker`` is imported from
``quart_sse.broker.redis``, so that apps with one process do not load the Redis client.

This package is provisional: it may change in any release before 1.0.
"""

from .base import Broker, Receiver, State
from .changed import MOST_RESUMED, Changed
from .control import ANSWER, ASK, CLOSE, UNLISTED, Answers, Control
from .filter import Filter, Where
from .memory import MemoryBroker
from .messages import CONTROL_HISTORY, MOST_REFRESHES, Keep, Kind, Message
from .paging import Ask, ask_pages, unanswered
from .processes import Process, Processes, process_of, read_declared
from .replay import Budget, Past, Replay, Start, bound, judge
from .serving import ServingBroker
from .texts import Claim, Shelf, reference_of
from .who import Moves, Who, read_who

__all__ = [
    "ANSWER",
    "ASK",
    "CLOSE",
    "CONTROL_HISTORY",
    "MOST_REFRESHES",
    "MOST_RESUMED",
    "UNLISTED",
    "Answers",
    "Ask",
    "Broker",
    "Budget",
    "Changed",
    "Claim",
    "Control",
    "Filter",
    "Keep",
    "Kind",
    "MemoryBroker",
    "Message",
    "Moves",
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
    "Who",
    "ask_pages",
    "bound",
    "judge",
    "process_of",
    "read_declared",
    "read_who",
    "reference_of",
    "unanswered",
]
