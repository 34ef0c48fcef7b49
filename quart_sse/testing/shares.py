"""What the connect elements of a page ask for, and what the server has granted them."""

import secrets
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from ..wire import Position, topic_of
from .stream import Block


class Share:
    """All connect elements of the page with one key, which need one token."""

    def __init__(self, key: str, token: str, since: str) -> None:
        self.key: str = key
        self.token: str = token
        self.since: list[str] = [since]  #: positions of the elements, until the stream says one
        #: names the page in initial events, the first time
        self.mark: str = secrets.token_hex(8)
        self.names: list[str] | None = None  #: what the page is sent; None before it is open
        self.is_stopped: bool = False


class Shares:
    """The shares of one page, and the URL of the stream that serves them.

    Args:
        urls: URLs of the page's connect elements.
    """

    def __init__(self, urls: Iterable[str]) -> None:
        self.path: str = ""
        self._all: dict[str, Share] = {}
        self.secret: str = ""
        self._masks: list[str] = []
        for url in urls:
            parts = urlsplit(url)
            given = {name: values[0] for name, values in parse_qs(parts.query).items()}
            self.path = self.path or parts.path
            if not {"k", "t"} <= given.keys() or parts.path != self.path:
                continue  # no element of ours, or one for another server
            key, since = given["k"], given.get("since", "0")
            share = self._all.setdefault(key, Share(key, given["t"], since))
            share.token = given["t"]
            share.since = [*dict.fromkeys([*share.since, since])]
        self._asked: list[Share] = self.open  #: those of the last stream, in the order of its URL

    @property
    def open(self) -> list[Share]:
        """The shares that the server has not refused, in the order of the URL."""
        return [share for share in self._all.values() if not share.is_stopped]

    @property
    def url(self) -> str:
        """URL of the next stream, as quart-sse.js asks for it."""
        query = [
            pair
            for share in self.open
            for pair in (
                ("t", share.token),
                ("since", ",".join(share.since)),
                ("first", share.mark if share.names is None else ""),
            )
        ]
        return f"{self.path}?{urlencode([*query, ('replaces', self.secret)])}"

    def opened(self, data: Any) -> str | None:
        """Take what ``sse-open`` says, and return why no share is open any more; None if one is.

        Args:
            data: The decoded data.
        """
        self.secret = data["secret"]
        self._asked = self.open
        self._masks = data.get("masks", [])
        reason = None
        for number, (share, names) in enumerate(zip(self.open, data["names"], strict=True)):
            share.names = names
            if not names:
                share.is_stopped = True
                reason = "expired" if number in data.get("expired", ()) else "refused"
        return None if self.open else reason

    def renew(self, token: str) -> None:
        """Take a new token, by which the next stream is asked for.

        Args:
            token: The field of the message: key, token, position, and which token of the stream's
                URL it replaces.
        """
        _, new, since, number = token.split(" ")
        if int(number) < len(self._asked):
            share = self._asked[int(number)]
            share.token, share.since = new, [since]

    def takes(self, block: Block) -> bool:
        """Whether the page gets a message; its id becomes the position from which it resumes.

        Args:
            block: The message's fields.
        """
        event, id = block.get("event", ""), block.get("id", "")
        key = event or block.get("key", "")
        topic = topic_of(key) if "." in key else ""
        is_taken = False
        for number, share in enumerate(self.open):
            position, known = Position.parse(id), Position.parse(",".join(share.since))
            is_old = _is_old(position, known)
            marks = block.get("for")
            is_for = (
                (marks is None or share.mark in marks.split(" "))
                and topic in (share.names or ())
                and not (event and is_old)
            )
            is_taken = is_taken or (is_for if topic else not event or event == "sse-reset")
            if position is not None and (known is None or not is_old or position == known):
                mask = self._masks[number] if number < len(self._masks) else ""
                share.since = [id + mask]
        return is_taken


def _is_old(position: Position | None, known: Position | None) -> bool:
    """Whether a message stands at or below a position that the page has already."""
    if position is None or known is None or position.epoch != known.epoch:
        return False
    return position.events <= known.events
