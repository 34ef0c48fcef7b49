"""What templates call, and how fragments are rendered."""

from .assets import ASSETS
from .macros import Macros
from .page_request import Pages
from .render import Renderer
from .scripts import STATIC, Scripts

__all__ = [
    "ASSETS",
    "STATIC",
    "Macros",
    "Pages",
    "Renderer",
    "Scripts",
]
