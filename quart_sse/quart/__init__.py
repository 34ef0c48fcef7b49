"""The Quart host: rendering, endpoints and installation in a Quart app.

This package is private: it may change in any release.
"""

from .endpoints import itself, respond
from .installation import Installation

__all__ = ["Installation", "itself", "respond"]
