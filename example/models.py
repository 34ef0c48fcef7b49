"""What the pages are made of; the fields are the columns of `schema.sql`.

Times are seconds since the epoch.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Discussion:
    id: int
    title: str
    tag: str
    body: str
    author: str
    created: float
    moderators_only: bool


@dataclass(frozen=True, slots=True)
class Summary(Discussion):
    """A discussion as the front page lists it."""

    votes: int
    comments: int
    active: float  # when it was last written to


@dataclass(frozen=True, slots=True)
class Comment:
    id: int
    discussion_id: int
    author: str | None  # None: a guest
    text: str
    created: float


@dataclass(frozen=True, slots=True)
class Activity:
    """Something that happened, for the dashboard."""

    kind: Literal["comment", "vote"]
    author: str | None  # None: a guest, or a vote, which is nobody else's business
    text: str  # of a comment
    discussion_id: int
    title: str
    created: float


@dataclass(frozen=True, slots=True)
class Unread:
    """How many replies somebody has not seen, and where the newest of them is."""

    count: int
    discussion_id: int = 0
    comment_id: int = 0
