"""Replacing: which open stream a new one of the same connection takes the place of.

Our script opens another stream when tabs come and go, and names the one before by its secret.
"""

import hmac
from collections.abc import Mapping

from werkzeug.sansio.request import Request

from ..broker import Keep, Start
from ..channels import AppChannels
from ..hub import Connection, Connections, id_of
from ..wire import EVERYONE, Position, channel_of, channel_topic
from .request import Viewer
from .starts import oldest

#: Longest secret that is looked at, in characters.
MAX_SECRET = 64


class Replacing:
    """Finds the stream that a request names.

    Args:
        connections: The open connections of this process.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def id_in(self, request: Request) -> str | None:
        """Return the id of the connection whose secret a request has, open or not; None for none.

        Args:
            request: The request for the new stream.
        """
        secret = request.args.get("replaces", "")
        return id_of(secret) if secret and len(secret) <= MAX_SECRET else None

    def find(self, request: Request, viewer: Viewer) -> Connection | None:
        """Return the stream whose place a new one takes; None if it is a connection of its own.

        The secret proves that the client has read that stream. It must be of the same user and
        browser all the same: a page that stays open while users change is another connection.

        Args:
            request: The request for the new stream.
            viewer: Its client.
        """
        id, secret = self.id_in(request), request.args.get("replaces", "")
        other = None if id is None else self._connections.get(id)
        if other is None or other.is_ended or other.bare or not other.pages:
            return None
        # A browser that keeps no cookie is given a name for each stream.
        is_unnamed = viewer.browser is None and other.is_browser_new
        is_same_browser = is_unnamed or viewer.browser == other.browser
        is_same = (other.identity, other.root) == (viewer.identity, viewer.root)
        is_proven = hmac.compare_digest(other.lasting.secret.encode(), secret.encode())
        return other if is_proven and is_same and is_same_browser else None


def start_with_changes(
    connection: Connection, starts: Mapping[str, Start], channels: AppChannels
) -> Mapping[str, Start]:
    """Let a stream begin with what the app has changed of its connection.

    Args:
        connection: The stream, before it joins; its topics and audiences are changed.
        starts: Topic or audience -> where it starts.
        channels: The app's channels, for the history that each topic keeps.

    Returns:
        The starts of all that it listens to.
    """
    if not connection.lasting.made and not connection.lasting.removed:
        return starts
    connection.subscription = connection.wanted
    connection.follow()
    of_channels = {channel_topic(topic.partition("?")[0]) for topic in connection.subscription}
    others = [name for name in connection.audiences if channel_of(name) is None]
    connection.audiences = (*others, *sorted(of_channels))
    added: dict[str, list[Position]] = {}
    for topic, since in connection.lasting.made.items():
        for name in (topic, channel_topic(topic.partition("?")[0])):
            added.setdefault(name, []).append(since)
    return {
        name: _start(starts.get(name), starts[EVERYONE], added[name], channels.keep(name))
        if name in added
        else starts[name]
        for name in connection.topics
    }


def _start(own: Start | None, pages: Start, added: list[Position], keep: Keep) -> Start:
    """Return where a topic or audience starts that the app has added.

    The pages that do not list it go on where they are, but not before it was added. A page that
    lists it has a start of its own, which other pages may not have reached.

    Args:
        own: The start of the pages that list it; None if none does.
        pages: The start of all pages.
        added: Positions at which the app has added it.
        keep: How its history is kept.
    """
    given, first = pages.position, oldest(added)
    if given is not None and first is not None and given.epoch == first.epoch:
        given = max(given, first, key=lambda position: position.events)
    if own is None:
        return pages._replace(position=given, keep=keep)
    return own._replace(position=oldest((own.position, given)), now=own.now and pages.now)
