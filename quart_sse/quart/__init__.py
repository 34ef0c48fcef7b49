"""The host of Quart, and its endpoints."""

from .endpoints import respond
from .installation import Installation

__all__ = ["Installation", "respond"]
