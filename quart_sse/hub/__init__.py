"""Fan-out inside one process: from the broker's messages to the bytes of each connection."""

from .connection import Connection, Part, Personal, Subscription, Wave, id_of
from .connections import Connections
from .fragment import FragmentSpec, Inside, Rendered, renderer_of
from .hub import Hub

__all__ = [
    "Connection",
    "Connections",
    "FragmentSpec",
    "Hub",
    "Inside",
    "Part",
    "Personal",
    "Rendered",
    "Subscription",
    "Wave",
    "id_of",
    "renderer_of",
]
