"""The server process: the middleware, its start and stop, and its regular work.

This package is private: it may change in any release.
"""

from .headers import AnswerHeaders
from .housekeeping import Housekeeping
from .lifecycle import Lifecycle
from .middleware import Middleware
from .shutdown import Shutdown

__all__ = [
    "AnswerHeaders",
    "Housekeeping",
    "Lifecycle",
    "Middleware",
    "Shutdown",
]
