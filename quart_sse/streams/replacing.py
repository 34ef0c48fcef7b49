"""Replacing: which open stream a new one of the same connection takes the place of.

Our script opens another stream when tabs come and go, and names the one before by its secret.
"""

import hmac

from werkzeug.sansio.request import Request

from ..hub import Connection, Connections, id_of
from .request import Viewer

#: Longest secret that is looked at, in characters.
MAX_SECRET = 64


class Replacing:
    """Finds the stream that a request names.

    Args:
        connections: The open connections of this process.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def find(self, request: Request, viewer: Viewer) -> Connection | None:
        """Return the stream whose place a new one takes; None if it is a connection of its own.

        The secret proves that the client has read that stream. It must be of the same user and
        browser all the same: a page that stays open while users change is another connection.

        Args:
            request: The request for the new stream.
            viewer: Its client.
        """
        secret = request.args.get("replaces", "")
        if not secret or len(secret) > MAX_SECRET:
            return None
        other = self._connections.get(id_of(secret))
        if other is None or other.is_ended or other.bare or not other.pages:
            return None
        # A browser that keeps no cookie is given a name for each stream.
        is_unnamed = viewer.browser is None and other.is_browser_new
        is_same_browser = is_unnamed or viewer.browser == other.browser
        is_same = (other.identity, other.root) == (viewer.identity, viewer.root)
        is_proven = hmac.compare_digest(other.secret.encode(), secret.encode())
        return other if is_proven and is_same and is_same_browser else None
