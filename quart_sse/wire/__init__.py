"""What clients read: events, positions, names and the endings of streams, encoded for SSE.

This package is private: it may change in any release.
"""

from .ending import STOPPED, Ending, Refusal
from .event import (
    Event,
    EventBodies,
    check_event,
    encode_body,
    encode_id,
    encode_preamble,
    is_like_json,
)
from .naming import check_event_name, check_name, declared_name, has_fragments, member_key, plain
from .partial import check_html, encode_fragment, encode_loader, encode_renewal
from .position import LAST, MAX_AHEAD_MS, ZERO, Id, Position, new_epoch
from .url_rule import UrlRule

__all__ = [
    "LAST",
    "MAX_AHEAD_MS",
    "STOPPED",
    "ZERO",
    "Ending",
    "Event",
    "EventBodies",
    "Id",
    "Position",
    "Refusal",
    "UrlRule",
    "check_event",
    "check_event_name",
    "check_html",
    "check_name",
    "declared_name",
    "encode_body",
    "encode_fragment",
    "encode_id",
    "encode_loader",
    "encode_preamble",
    "encode_renewal",
    "has_fragments",
    "is_like_json",
    "member_key",
    "new_epoch",
    "plain",
]
