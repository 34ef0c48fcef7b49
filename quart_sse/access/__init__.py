"""Who may listen: tokens, the app's own rules, and their revocation."""

from .answers import check_identity
from .connect_element import ConnectElement, ConnectElements
from .gate import Admission, Gate, Grant, Judgement
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
    "is_foreign",
]
