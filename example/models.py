"""The records that pages show; the fields are the columns of `schema.sql`.

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
    author: str | None  # None: a guest, or a vote, which is secret
    text: str  # of a comment
    discussion_id: int
    title: str
    created: float


@dataclass(frozen=True, slots=True)
class Unread:
    """The number of a user's unread replies, and the newest of them."""

    count: int
    discussion_id: int = 0
    comment_id: int = 0


@dataclass(frozen=True, slots=True)
class CommentAdded:
    """The data of the event `comment-added`."""

    id: int
    author: str | None  # None: a guest
    text: str


@dataclass(frozen=True, slots=True)
class Card:
    """Something to do, on the board."""

    id: int
    title: str
    stage: Literal["todo", "doing", "done"]  # the column it stands in
    place: int  # 0 is the top
    owner: str | None  # nickname of the user who has taken it
    changed: float


@dataclass(frozen=True, slots=True)
class Line:
    """Something said in the lounge."""

    id: int
    author: str
    text: str
    created: float
    reported_by: str | None  # None: not reported, or settled by a moderator


@dataclass(frozen=True, slots=True)
class SentOut:
    """A user who may not enter the lounge."""

    nickname: str
    moderator: str
    until: float | None  # None: for good


@dataclass(frozen=True, slots=True)
class Job:
    """A requested report."""

    id: int
    asked_by: str | None  # None: a guest
    asked: float
    worker: str | None
    lease: float | None  # until when it is that worker's
    ended: float | None
    problem: str | None
    findings: tuple[str, ...] = ()  # one for each step that is done

    def state(self, now: float) -> Literal["waiting", "running", "interrupted", "done", "failed"]:
        """Return the job's state; a worker that does not renew its lease has gone."""
        if self.ended is not None:
            return "failed" if self.problem else "done"
        if self.lease is not None and self.lease > now:
            return "running"
        return "interrupted" if self.worker or self.findings else "waiting"
