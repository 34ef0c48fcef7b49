"""The inspector: pages for operators, on which they see and steer everything that is live.

This package is private: it may change in any release.
"""

from .inspector import MAX_AGE, RULE, Inspector
from .question import CHANNEL

__all__ = ["CHANNEL", "MAX_AGE", "RULE", "Inspector"]
