"""What the extension does inside a server process: start, stop, and regular work."""

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
