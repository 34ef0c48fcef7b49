"""Signed topics and cookies: what a page was allowed to listen to, and for whom."""

import hashlib
import hmac
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from itsdangerous import BadSignature, URLSafeSerializer, URLSafeTimedSerializer

from ..errors import MissingSecretKeyError

logger = logging.getLogger("quart_sse")

#: Marks a list of topics that nobody signed, and one that is kept at the broker.
UNSIGNED = "~"
KEPT = "&"


def write_topics(topics: Mapping[str, Iterable[str]]) -> str:
    """Write topics and their fragments: ``comments?discussion_id=7:count,list board``."""
    return " ".join(
        f"{topic}:{','.join(sorted(names))}" if names else topic
        for topic, names in ((topic, set(topics[topic])) for topic in sorted(topics))
    )


def read_topics(text: str) -> dict[str, frozenset[str]]:
    """Read what :func:`write_topics` wrote; the text may come from anybody."""
    topics: dict[str, frozenset[str]] = {}
    for part in text.split(" "):
        topic, _, names = part.partition(":")
        if topic:
            topics[topic] = frozenset(filter(None, names.split(",")))
    return topics


class Token(NamedTuple):
    """What a page was allowed to listen to when it was made."""

    topics: Mapping[str, frozenset[str]]
    page: str  #: id of the page
    issued: float  #: seconds since 1970
    is_signed: bool
    is_expired: bool
    #: what the topics are kept under at the broker; "" if they are here
    reference: str = ""
    is_bound: bool = False  #: good for one identity alone
    first: float = 0.0  #: when the page was made whose token this one renews

    @property
    def is_good(self) -> bool:
        """Whether its signature speaks for its topics now."""
        return self.is_signed and not self.is_expired


class Signer:
    """Signs the topics of pages and the cookies that tell browsers apart.

    Args:
        keys: Returns the keys, the one that signs first; the others only verify.
        lifetime: Seconds that a token is good for.
        max_lifetime: Seconds that a token and all that renew it are good for.
        clock: Seconds since 1970; tests bring their own.
    """

    def __init__(
        self,
        keys: Callable[[], list[bytes]],
        lifetime: float,
        max_lifetime: float = math.inf,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._read_keys = keys
        self._lifetime = lifetime
        self._max_lifetime = max_lifetime
        self._clock = clock
        self._has_warned = False

    def _keys(self) -> list[bytes]:
        keys = self._read_keys()
        if not keys:
            raise MissingSecretKeyError
        # itsdangerous signs with the last key and verifies with all.
        return keys[::-1]

    def _serializer(self) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(
            self._keys(),
            salt="quart_sse.topics",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def _cookie_serializer(self) -> URLSafeSerializer:
        return URLSafeSerializer(
            self._keys(),
            salt="quart_sse.browser",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    @property
    def has_key(self) -> bool:
        """Whether anything can be signed."""
        return bool(self._read_keys())

    def sign(self, topics: str, identity: str | None, page: str, first: float | None = None) -> str:
        """Return a token that lets a page listen to topics.

        Args:
            topics: As :func:`write_topics` writes them, or ``KEPT`` and a reference to that.
            identity: Who it is for; nobody else can use it. None: anybody can, for it shows what
                an anonymous visitor saw.
            page: Id of the page.
            first: When the page was made, in seconds since 1970, if this token renews that of an
                earlier time; without it the token counts from now. A token that renews itself
                would otherwise be good for ever, for whatever hands it got into.

        Raises:
            MissingSecretKeyError: If the app has no secret key.
        """
        bound = None if identity is None else _digest(self._keys()[-1], "identity", identity)
        since = [] if first is None else [int(first)]
        return str(self._serializer().dumps([topics, bound, page, *since]))

    def verify(self, text: str, identity: str | None) -> Token | None:
        """Return what a token allows whoever asks; None if it is none of ours.

        A token that was signed for somebody else counts as a list that nobody signed: what is
        public in a page stays live when its viewer has signed out in another tab.

        Args:
            text: What stood in the URL; it may be anything.
            identity: Who asks.
        """
        if text.startswith(UNSIGNED):
            topics, reference = _read(text[1:])
            return Token(topics, "", self._clock(), False, False, reference)
        if not self.has_key:
            return None
        try:
            signed, at = self._serializer().loads(text, return_timestamp=True)
        except BadSignature:
            self._warn()
            return None
        topics, bound, page, *since = signed
        now, issued = self._clock(), at.timestamp()
        first = float(since[0]) if since else issued
        is_own = bound is None or self._is_bound(bound, identity)
        read, reference = _read(topics)
        is_expired = now - issued > self._lifetime or now - first > self._max_lifetime
        is_bound = bound is not None
        return Token(read, page, issued, is_own, is_expired, reference, is_bound, first)

    def age(self, token: Token) -> float:
        """Return the seconds since a token was signed."""
        return self._clock() - token.issued

    def left(self, token: Token) -> float:
        """Return the seconds until no renewal makes a token good any longer."""
        return token.first + self._max_lifetime - self._clock()

    def name(self, text: str) -> str:
        """Return a short name for a text, from which the text cannot be found.

        Without a secret key it is a plain hash, which a guess of the text would confirm.
        """
        if not self.has_key:
            return hashlib.sha256(text.encode()).hexdigest()[:12]
        return _digest(self._keys()[-1], "name", text)[:12]

    def _is_bound(self, bound: str, identity: str | None) -> bool:
        return identity is not None and any(
            hmac.compare_digest(bound, _digest(key, "identity", identity)) for key in self._keys()
        )

    def _warn(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "A page's topics carry a signature that this process did not make. If "
                "app.secret_key differs between processes or restarts, give all of them the same "
                "one; else somebody tampered with a URL. This is said once."
            )

    def sign_browser(self, browser: str) -> str:
        """Return the value of the cookie that holds a browser's random id."""
        return str(self._cookie_serializer().dumps(browser))

    def read_browser(self, cookie: str | None) -> str | None:
        """Return a browser's id if we signed it."""
        if not cookie or not self.has_key:
            return None
        try:
            return str(self._cookie_serializer().loads(cookie))
        except BadSignature:
            return None


def _read(topics: str) -> tuple[dict[str, frozenset[str]], str]:
    """Return the topics of a list, or the reference to one that is kept at the broker."""
    return ({}, topics[1:]) if topics.startswith(KEPT) else (read_topics(topics), "")


def _digest(key: bytes, use: str, text: str) -> str:
    """Return what stands for a text where anybody can read it; each use has digests of its own."""
    return hmac.new(key, f"quart_sse.{use}:{text}".encode(), "sha256").hexdigest()[:24]
