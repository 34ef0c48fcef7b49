"""Pages: the macros that templates call, and the rendering of fragments.

This wing and ``quart/`` alone may import Jinja.

This package is private: it may change in any release.
"""

from .assets import ASSETS
from .macros import Macros
from .notifications import Notifications
from .page_request import Pages
from .render import Renderer
from .scripts import COMPRESSED, STATIC, Scripts

__all__ = [
    "ASSETS",
    "COMPRESSED",
    "STATIC",
    "Macros",
    "Notifications",
    "Pages",
    "Renderer",
    "Scripts",
]
