"""The Quart host: rendering, endpoints and installation in a Quart app."""

from .endpoints import respond
from .installation import Installation

__all__ = ["Installation", "respond"]
