"""The server process: the middleware, its start and stop, and its regular work."""

from .housekeeping import Housekeeping
from .lifecycle import Lifecycle
from .middleware import Middleware
from .shutdown import Shutdown

__all__ = [
    "Housekeeping",
    "Lifecycle",
    "Middleware",
    "Shutdown",
]
