"""What lasts of a connection while its streams take the place of each other."""

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from ..wire import Ending, Position

#: Number of characters of a process's id, with which the ids of its connections begin.
PROCESS = 16


@dataclass(slots=True, eq=False)
class Lasting:
    """What all streams of one connection share: who it is, and what the app has changed of it.

    Attributes:
        secret: By which the client proves that the connection is its own.
        id: The connection's id, made of the secret, or one that the app has given.
        connected_at: Time at which the first stream opened, in seconds since 1970.
        made: Topics that the app has subscribed the connection to, each with the broker's position
            at that time.
        removed: Topics that were taken off it, until a page that lists them is loaded.
        sent: The last events for the connection alone, with their loop times; see
            ``Changes.send``.
        end: How the app has closed the connection, and the ``retry`` of its client in milliseconds;
            None while it is open.
    """

    secret: str
    id: str
    connected_at: float = field(default_factory=time.time)
    made: dict[str, Position] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    sent: tuple[Any, ...] = ()
    end: tuple[Ending, int | None] | None = None

    @classmethod
    def of(cls, process: str) -> "Lasting":
        """Return that of a new connection.

        Args:
            process: Id of the process that serves it.
        """
        secret = f"{process:0>{PROCESS}.{PROCESS}}{secrets.token_urlsafe(18)}"
        return cls(secret, id_of(secret))


def id_of(secret: str) -> str:
    """Return the id of the connection whose client holds a secret.

    It begins with the id of the connection's process, as the secret does. Events show it to other
    clients as their ``origin``; the hash keeps the secret from them.
    """
    digest = base64.urlsafe_b64encode(hashlib.sha256(secret.encode()).digest())[:16].decode()
    return f"{secret[:PROCESS]}.{digest}"


def process_of(id: str) -> str | None:
    """Return the id of the process that a connection's id names; None for an id of the app's."""
    process, dot, _ = id.partition(".")
    return process if dot else None
