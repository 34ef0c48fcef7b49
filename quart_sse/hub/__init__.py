"""Fan-out inside one process: turns the broker's messages into the bytes of each connection.

This package is private: it may change in any release.
"""

from .addresses import counted_as
from .batch import Batch, Part, Personal, chunk_of
from .changes import Changes
from .connection import Connection, Subscription
from .connections import Connections
from .durations import BOUNDS, Durations, quantile
from .hub import Hub
from .lasting import id_of
from .limits import ChannelLimits, max_shared
from .metadata import Metadata, metadata_of
from .outgoing import Outgoing
from .outlet import Outlet
from .own import OwnConnection
from .page import NO_LISTS, NO_NAMES, Listed, Page
from .rendered import FragmentSpec, Inside, ItemSpec, Rendered, renderer_of
from .slots import carry

__all__ = [
    "BOUNDS",
    "NO_LISTS",
    "NO_NAMES",
    "Batch",
    "Changes",
    "ChannelLimits",
    "Connection",
    "Connections",
    "Durations",
    "FragmentSpec",
    "Hub",
    "Inside",
    "ItemSpec",
    "Listed",
    "Metadata",
    "Outgoing",
    "Outlet",
    "OwnConnection",
    "Page",
    "Part",
    "Personal",
    "Rendered",
    "Subscription",
    "carry",
    "chunk_of",
    "counted_as",
    "id_of",
    "max_shared",
    "metadata_of",
    "quantile",
    "renderer_of",
]
