"""Browsers of three engines, each as its users have it, behind one small face.

Chromium is driven by its own protocol, stock Firefox by WebDriver BiDi, and WebKit (that of GTK) by
classic WebDriver. All are Debian's. A check that is written for a `Tab` runs in each of them.
"""

from .face import Engine, Profile, Tab, TabError
from .running import in_all, running

__all__ = ["Engine", "Profile", "Tab", "TabError", "in_all", "running"]
