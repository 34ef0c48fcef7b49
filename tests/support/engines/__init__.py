"""Browsers of three engines, each as its users have it, behind one small face.

Chromium is driven by its own protocol, stock Firefox by WebDriver BiDi, and WebKit (that of GTK) by
classic WebDriver. All are Debian's. A check that is written for a `Tab` runs in each of them.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

from .chromium import start_chromium
from .face import Engine, Profile, Tab, TabError
from .firefox import start_firefox
from .webkit import start_webkit

ENGINES: Mapping[str, Callable[..., AbstractAsyncContextManager[Engine]]] = {
    "chromium": start_chromium,
    "firefox": start_firefox,
    "webkit": start_webkit,
}

__all__ = ["ENGINES", "Engine", "Profile", "Tab", "TabError"]
