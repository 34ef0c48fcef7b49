"""Fan-out inside one process: turns the broker's messages into the bytes of each connection.

This package is private: it may change in any release.
"""

from .batch import Batch, Part, Personal
from .connection import Connection, Subscription, id_of
from .connections import Connections
from .hub import Hub
from .limits import ChannelLimits, Limits
from .rendered import FragmentSpec, Inside, Rendered, renderer_of

__all__ = [
    "Batch",
    "ChannelLimits",
    "Connection",
    "Connections",
    "FragmentSpec",
    "Hub",
    "Inside",
    "Limits",
    "Part",
    "Personal",
    "Rendered",
    "Subscription",
    "id_of",
    "renderer_of",
]
