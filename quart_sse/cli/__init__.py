"""The command line: ``quart sse`` beside an app, ``python -m quart_sse`` without one.

This package is private: it may change in any release. The commands and their exit codes are public.
"""

from .doors import main, sse

__all__ = ["main", "sse"]
