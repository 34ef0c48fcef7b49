"""Access: which clients may listen to what, by tokens and by the app's own rules.

This package is private: it may change in any release.
"""

from .answers import check_identity, decide
from .connect_element import ConnectElement, ConnectElements
from .gate import Gate
from .judgement import Admission, Grant, Judgement
from .origins import is_foreign
from .revocation import Revocations
from .tokens import Signer, Token

__all__ = [
    "Admission",
    "ConnectElement",
    "ConnectElements",
    "Gate",
    "Grant",
    "Judgement",
    "Revocations",
    "Signer",
    "Token",
    "check_identity",
    "decide",
    "is_foreign",
]
