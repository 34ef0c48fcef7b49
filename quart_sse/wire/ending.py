"""The one table of the ways in which a stream ends or is refused.

``docs/protocol.md`` has the same table for authors of clients; a test compares the two.
"""

import json
import random
from collections.abc import Iterable
from enum import Enum

from .event import Event

#: Id of ``sse-stop``. A client that reconnects all the same sends it as ``Last-Event-ID``.
STOPPED = "stop"
#: Id with which a stream of its own begins. A client that sends any id as ``Last-Event-ID`` has had
#: such a stream already.
STARTED = "started"
#: Reconnect delay, in milliseconds, of clients that do not know ``sse-stop``.
STOP_MS = 3_600_000


class Ending(Enum):
    """How a stream ends, when its client reconnects, and the HTTP status that corresponds.

    Args:
        reason: Data of the ``sse-holdoff`` or ``sse-stop`` message.
        seconds: Mean reconnect delay, in seconds; None if the client must not reconnect.
        status: HTTP status for a client that did not ask for an event stream.

    Example:
        ``Ending.EVICTED.encode()`` gives ``sse-holdoff`` with a delay of 2.5 to 7.5 s.
    """

    SHUTDOWN = "shutdown", 1.0, 503  #: the server stops
    MAX_AGE = "max-age", 1.0, 503  #: the client's access has to be judged again
    IDLE = "idle", 30.0, 503  #: no message of the stream's topics was sent for a while
    OVERFLOW = "overflow", 1.0, 503  #: more was pending than a connection may hold
    EVICTED = "evicted", 5.0, 503  #: a newer stream of the same identity or browser took its place
    PAUSED = "paused", 5.0, 503  #: the app has closed the connection for a time
    DISCONNECT = "disconnect", 0.5, 503  #: the app has ended the user's streams
    RECHECK = "recheck", 0.5, 503  #: the app or a nested fragment requires another judgement
    OVERLOADED = "overloaded", 10.0, 503  #: the process, a channel, a topic or an address is full
    BROKER_AWAY = "broker-away", 3.0, 503  #: the broker cannot be asked for the replay
    ERROR = "error", 5.0, 500  #: a function of the app has failed
    CLOSED = "closed", None, 403  #: the app has closed the connection, or its last topic
    REFUSED = "refused", None, 403  #: the client may not listen
    EXPIRED = "expired", None, 403  #: as REFUSED, because the page's signature is too old
    DONE = "done", None, 204  #: all that a view's source had to send was sent
    FAILED = "failed", None, 500  #: a view's source has failed
    CUT = "cut", None, 409  #: the stream was cut, and its source does not run again
    NO_TOKEN = "no-token", None, 400  #: the URL names neither a token nor a topic
    MALFORMED = "malformed", None, 400  #: the URL contradicts itself, or a parameter is malformed
    TOO_LONG = "too-long", None, 400  #: the URL asks for too much

    def __init__(self, reason: str, seconds: float | None, status: int) -> None:
        self.reason = reason
        self.seconds = seconds
        self.status = status

    @property
    def is_final(self) -> bool:
        """Whether the client must not reconnect."""
        return self.seconds is None

    def encode(self, retry_ms: int | None = None) -> bytes:
        """Return the last message of the stream, encoded.

        The delay of ``sse-holdoff`` is drawn from 0.5 to 1.5 times ``seconds``, so that clients
        of one server do not all reconnect at the same moment. ``retry:`` shares its block with
        an event that has data, because htmx 4 ignores a block of ``retry:`` alone.

        ``sse-stop`` has an id. A client that does not know the message reconnects once, after
        an hour, and its ``Last-Event-ID`` then shows that the stream had stopped for good.

        Args:
            retry_ms: Time after which the client reconnects, in milliseconds, as it stands; None
                for the random one.
        """
        if self.seconds is None:
            return Event(self.reason, name="sse-stop", id=STOPPED, retry_ms=STOP_MS).encode()
        if retry_ms is None:
            retry_ms = int(self.seconds * random.uniform(500, 1500))
        return Event(self.reason, name="sse-holdoff", retry_ms=retry_ms).encode()


def encode_failure() -> bytes:
    """Return the message that says that a view's source has failed, without what the error says."""
    return Event(Ending.FAILED.reason, name="sse-error").encode()


def encode_refused(
    *, tokens: Iterable[int] = (), topics: Iterable[str] = (), fragments: Iterable[str] = ()
) -> bytes:
    """Return the message that says what of a stream is refused, while the rest goes on.

    Args:
        tokens: Numbers of the refused tokens, by their place in the URL.
        topics: Names of the refused topics.
        fragments: Keys of the refused fragments.
    """
    refused = {"tokens": [*tokens], "topics": [*topics], "fragments": [*fragments]}
    return Event(json.dumps(refused), name="sse-refused").encode()


class Refusal(Exception):  # noqa: N818 - an answer, not an error
    """Raised when a request for a stream or a fragment is refused.

    A client that asked for an event stream gets the ending with status 200. Any other status
    makes htmx 2 lose its position, and htmx 4 swap the answer into the page.

    Args:
        ending: Reason, reconnect delay and status of the refusal.
        detail: What is wrong with the request and how to mend it, for the developer of a client
            that gets the status.
    """

    def __init__(self, ending: Ending, detail: str = "") -> None:
        super().__init__(ending.reason)
        self.ending = ending
        self.detail = detail

    def encode(self) -> bytes:
        """Return the stream that a refused client gets; the detail is a comment in it."""
        comment = f": {self.detail}\n" if self.detail else ""
        return comment.encode() + self.ending.encode()
