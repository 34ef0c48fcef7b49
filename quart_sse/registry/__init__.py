"""The registry: the open connections as an app handles them, in this process and in the others.

This package is private: it may change in any release.
"""

from .closing import Closing
from .desk import Desk
from .finding import ConnectionInfo, Counted, Found, conditions, count_by_channel, find
from .handle import ConnectionHandle
from .hooks import Hooks, StreamHooks
from .processes import ProcessList, live_processes
from .registry import Registry
from .remote import Remote
from .sending import Sending
from .statistics import Statistics
from .stats import CollectedStats, Stats, Took, written
from .survey import Survey, Surveyed
from .surveying import Surveying
from .watching import written_message

__all__ = [
    "Closing",
    "CollectedStats",
    "ConnectionHandle",
    "ConnectionInfo",
    "Counted",
    "Desk",
    "Found",
    "Hooks",
    "ProcessList",
    "Registry",
    "Remote",
    "Sending",
    "Statistics",
    "Stats",
    "StreamHooks",
    "Survey",
    "Surveyed",
    "Surveying",
    "Took",
    "conditions",
    "count_by_channel",
    "find",
    "live_processes",
    "written",
    "written_message",
]
