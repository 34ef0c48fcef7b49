"""The registry: the open connections as an app handles them, in this process and in the others.

This package is private: it may change in any release.
"""

from .closing import Closing
from .desk import Desk
from .handle import ConnectionHandle
from .hooks import Hooks, StreamHooks
from .processes import ConnectionInfo, Counted, Found, ProcessList
from .registry import Registry
from .remote import Remote
from .sending import Sending

__all__ = [
    "Closing",
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
    "StreamHooks",
]
