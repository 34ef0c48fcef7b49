"""What clients read: events, positions, names and the endings of streams, encoded for SSE.

This package is private: it may change in any release.
"""

from .audience import (
    CONNECTION,
    EVERYONE,
    RESERVED,
    USER,
    channel_of,
    channel_topic,
    event_key,
    identity_of,
    is_audience,
    public_name,
    user_topic,
)
from .ending import STARTED, STOPPED, Ending, Refusal, encode_failure, encode_refused
from .event import (
    Event,
    EventBodies,
    check_event,
    decode_data,
    encode_body,
    encode_id,
    encode_preamble,
    is_like_json,
)
from .naming import (
    check_event_name,
    check_name,
    declared_name,
    has_fragments,
    member_key,
    parse_topic,
    plain,
    topic_of,
)
from .partial import check_html, check_pushed, encode_fragment, encode_loader, encode_renewal
from .position import LAST, MAX_AHEAD_MS, ZERO, Id, Position, encode_mask, new_epoch
from .url_rule import UrlRule, converters_of, make_map, own_converters

__all__ = [
    "CONNECTION",
    "EVERYONE",
    "LAST",
    "MAX_AHEAD_MS",
    "RESERVED",
    "STARTED",
    "STOPPED",
    "USER",
    "ZERO",
    "Ending",
    "Event",
    "EventBodies",
    "Id",
    "Position",
    "Refusal",
    "UrlRule",
    "channel_of",
    "channel_topic",
    "check_event",
    "check_event_name",
    "check_html",
    "check_name",
    "check_pushed",
    "converters_of",
    "declared_name",
    "decode_data",
    "encode_body",
    "encode_failure",
    "encode_fragment",
    "encode_id",
    "encode_loader",
    "encode_mask",
    "encode_preamble",
    "encode_refused",
    "encode_renewal",
    "event_key",
    "has_fragments",
    "identity_of",
    "is_audience",
    "is_like_json",
    "make_map",
    "member_key",
    "new_epoch",
    "own_converters",
    "parse_topic",
    "plain",
    "public_name",
    "topic_of",
    "user_topic",
]
