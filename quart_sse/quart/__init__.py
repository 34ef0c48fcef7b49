"""The host of Quart, and its endpoints."""

from .endpoints import Endpoints, respond
from .host import QuartHost

__all__ = [
    "Endpoints",
    "QuartHost",
    "respond",
]
