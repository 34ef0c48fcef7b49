"""Every way in which a stream ends, or is refused: the one table of them.

``docs/protocol.md`` has the same table for the authors of clients; a test compares the two.
"""

import random
from enum import Enum

from .event import Event

#: The id of the message that tells a client to stop, by which it is known if it comes back.
STOPPED = "stop"
#: Milliseconds after which a client comes back that knows only what the standard says.
STOP_MS = 3_600_000


class Ending(Enum):
    """What a client is sent at the end, when it comes back, and the HTTP status that says so.

    Args:
        reason: The data of ``sse-holdoff`` or ``sse-stop``.
        seconds: After about so many the client comes back; None if it never does.
        status: Of the answer to a client that did not ask for an event stream.
    """

    SHUTDOWN = "shutdown", 1.0, 503  #: the server stops
    MAX_AGE = "max-age", 1.0, 503  #: the client is to be judged again
    OVERFLOW = "overflow", 1.0, 503  #: more was pending than a connection may hold
    EVICTED = "evicted", 5.0, 503  #: a newer stream of the same identity or browser
    DISCONNECT = "disconnect", 0.5, 503  #: the app has ended the user's streams
    RECHECK = "recheck", 0.5, 503  #: the app has ended the topic's streams
    OVERLOADED = "overloaded", 10.0, 503  #: the process, a topic or an address is full
    BROKER_AWAY = "broker-away", 3.0, 503
    ERROR = "error", 5.0, 500  #: a function of the app has failed
    REFUSED = "refused", None, 403
    EXPIRED = "expired", None, 403  #: as REFUSED, because the page's signature is too old
    TOO_LONG = "too-long", None, 400  #: the URL asks for too much

    def __init__(self, reason: str, seconds: float | None, status: int) -> None:
        self.reason = reason
        self.seconds = seconds
        self.status = status

    @property
    def is_final(self) -> bool:
        """Whether the client must not come back."""
        return self.seconds is None

    def encode(self) -> bytes:
        """Return the message with which the stream ends.

        The delay of ``sse-holdoff`` is random between half and one and a half of ``seconds``, so
        that clients that were sent away together do not return together. It stands in the same
        block as an event with data: htmx 4 ignores a lone ``retry:``.

        ``sse-stop`` has an id. A client that does not know the message comes back once, an hour
        later, and says by its ``Last-Event-ID`` that it was told to stop.
        """
        if self.seconds is None:
            return Event(self.reason, "sse-stop", id=STOPPED, retry_ms=STOP_MS).encode()
        retry_ms = int(self.seconds * random.uniform(500, 1500))
        return Event(self.reason, "sse-holdoff", retry_ms=retry_ms).encode()


class Refusal(Exception):  # noqa: N818 - an answer, not an error
    """Raised instead of giving a client a stream or a fragment.

    Args:
        ending: What the client is sent, with status 200 if it asked for an event stream: any
            other status makes htmx 2 lose its position, and htmx 4 show the answer in the page.
    """

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.reason)
        self.ending = ending
