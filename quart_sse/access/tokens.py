"""Signing: tokens that list the topics of a page, and cookies that tell browsers apart."""

import hashlib
import hmac
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from itsdangerous import BadSignature, URLSafeSerializer, URLSafeTimedSerializer

from ..errors import MissingSecretKeyError
from ..logs import LogLine

BAD_SIGNATURE = LogLine(
    "access",
    "bad-signature",
    logging.WARNING,
    "A page's token has a signature that does not verify; the token is refused. If app.secret_key "
    "differs between processes or restarts, give all of them the same key; otherwise a client has "
    "changed a URL. This is logged once.",
)

#: Prefix of a token without a signature.
UNSIGNED = "~"
#: Prefix of a reference to a list of topics that the broker keeps.
KEPT = "&"
#: Prefix of the last part of an unsigned list that a page of the app has written. No channel's name
#: begins with it, so other releases take that part for a topic that does not exist.
VOUCHED = "~"
#: Longest list of fragments that is kept for others that are equal, in characters.
SHORT = 64


def write_topics(topics: Mapping[str, Iterable[str]]) -> str:
    """Return topics and their fragments as the sorted text that a token carries.

    Args:
        topics: Topic -> names of fragments.

    Example:
        ``write_topics({"board": [], "comments?id=7": ["list", "count"]})`` returns
        ``"board comments?id=7:count,list"``.
    """
    return " ".join(
        f"{topic}:{','.join(sorted(names))}" if names else topic
        for topic, names in ((topic, set(topics[topic])) for topic in sorted(topics))
    )


def read_topics(text: str) -> dict[str, frozenset[str]]:
    """Return topic -> names of fragments, from a text in the form of :func:`write_topics`.

    Args:
        text: A list of topics, from an untrusted client; empty parts are skipped.
    """
    topics: dict[str, frozenset[str]] = {}
    for part in text.split(" "):
        topic, _, names = part.partition(":")
        if topic:
            topics[topic] = (_shared if len(names) <= SHORT else _names)(names)
    return topics


def _names(text: str) -> frozenset[str]:
    return frozenset(filter(None, text.split(",")))


#: The same set for the same text, because long lists name the same fragments of many topics.
_shared = lru_cache(1024)(_names)


class Token(NamedTuple):
    """A token as verified for one client: the topics that its page may listen to.

    Attributes:
        topics: Topic -> names of its fragments; empty while the broker keeps the list.
        page: Id of the page; ``""`` without a signature.
        issued: Time of signing, in seconds since 1970.
        is_signed: Whether the signature is the app's, for this client's identity.
        is_expired: Whether the token, or the first token that it renews, is too old.
        reference: Key of the list at the broker; ``""`` if ``topics`` has the list.
        is_bound: Whether the token is signed for one identity.
        first: Time at which the page's first token was signed, in seconds since 1970.
        is_vouched: Whether a page of the app has written the list, for any client. It then may be
            longer than one that a client could write, and grants nothing.
    """

    topics: Mapping[str, frozenset[str]]
    page: str
    issued: float
    is_signed: bool
    is_expired: bool
    reference: str = ""
    is_bound: bool = False
    first: float = 0.0
    is_vouched: bool = False

    @property
    def is_good(self) -> bool:
        """Whether the signature grants the topics now: it is the app's and has not expired."""
        return self.is_signed and not self.is_expired


class Signer:
    """Signs and verifies the tokens of pages, and the cookies that tell browsers apart.

    Signatures are itsdangerous' HMAC-SHA256, with a salt for each of the two uses.

    Args:
        keys: Returns the app's keys: the signing key first, then keys that only verify.
        lifetime: Lifetime of a token, in seconds.
        max_lifetime: Lifetime of a page's first token and all its renewals, in seconds.
        clock: Returns the time in seconds since 1970; tests replace it.

    Example:
        ::

            token = signer.sign(write_topics({"board": ["list"]}), "7", page="x1")
            signer.verify(token, "7").is_good  # True
            signer.verify(token, "8").is_good  # False: signed for another identity
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
        """Whether the app has a secret key, without which nothing can be signed."""
        return bool(self._read_keys())

    def sign(self, topics: str, identity: str | None, page: str, first: float | None = None) -> str:
        """Return a signed token that lets a page listen to topics.

        Args:
            topics: A list from :func:`write_topics`, or ``KEPT`` and the reference of one.
            identity: The only identity for which the token verifies. None for every client: the
                page shows what an anonymous visitor saw.
            page: Id of the page.
            first: Time at which the page's first token was signed, in seconds since 1970, if this
                token renews it; None for a first token. Without this time a stolen token could be
                renewed for ever.

        Returns:
            URL-safe text; itsdangerous compresses long lists.

        Raises:
            MissingSecretKeyError: If the app has no secret key.
        """
        bound = None if identity is None else _digest(self._keys()[-1], "identity", identity)
        since = [] if first is None else [int(first)]
        return str(self._serializer().dumps([topics, bound, page, *since]))

    def vouch(self, topics: str) -> str:
        """Return an unsigned token with a mark that a page of the app has written its list.

        It holds no time and no name of the page, so equal pages are equal and caches may keep them.
        Without a secret key it is an unsigned token like any other.

        Args:
            topics: A list from :func:`write_topics`, or ``KEPT`` and the reference of one.
        """
        if not self.has_key:
            return UNSIGNED + topics
        return f"{UNSIGNED}{topics} {VOUCHED}{_digest(self._keys()[-1], 'topics', topics)}"

    def _is_vouched(self, topics: str, signature: str) -> bool:
        return self.has_key and any(
            hmac.compare_digest(signature.encode(), _digest(key, "topics", topics).encode())
            for key in self._keys()
        )

    def verify(self, text: str, identity: str | None) -> Token | None:
        """Return a token as it counts for one client.

        A token that was signed for another identity counts as unsigned instead of being refused,
        so the public topics of a page stay live after its user has signed out in another tab.

        Args:
            text: The value of ``t=`` in the URL, from an untrusted client.
            identity: Identity of the client; None if it has none.

        Returns:
            The token, which may be unsigned or expired; None if its signature is not the app's.
        """
        if text.startswith(UNSIGNED):
            listed, _, signature = text[1:].rpartition(f" {VOUCHED}")
            is_vouched = bool(listed) and self._is_vouched(listed, signature)
            topics, reference = _read(listed if is_vouched else text[1:])
            now = self._clock()
            return Token(topics, "", now, False, False, reference, is_vouched=is_vouched)
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
        return Token(read, page, issued, is_own, is_expired, reference, is_bound, first, True)

    def age(self, token: Token) -> float:
        """Return the age of a token, in seconds since it was signed."""
        return self._clock() - token.issued

    def left(self, token: Token) -> float:
        """Return the time until a token can no longer be renewed, in seconds."""
        return token.first + self._max_lifetime - self._clock()

    def name(self, text: str) -> str:
        """Return a short name for a text, as a keyed hash that does not reveal the text.

        Without a secret key the hash has no key, so a guess of the text can be confirmed.

        Args:
            text: Any text.

        Returns:
            12 hexadecimal digits.
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
            BAD_SIGNATURE.log()

    def sign_browser(self, browser: str) -> str:
        """Return the signed value of the cookie that holds a browser's id.

        Args:
            browser: Random id of the browser.

        Raises:
            MissingSecretKeyError: If the app has no secret key.
        """
        return str(self._cookie_serializer().dumps(browser))

    def read_browser(self, cookie: str | None) -> str | None:
        """Return the browser's id from its cookie; None if the signature is not the app's.

        Args:
            cookie: Value of the cookie, from an untrusted client; None if it sent none.
        """
        if not cookie or not self.has_key:
            return None
        try:
            return str(self._cookie_serializer().loads(cookie))
        except BadSignature:
            return None


def _read(topics: str) -> tuple[dict[str, frozenset[str]], str]:
    """Return the topics of a list and ``""``, or no topics and the reference of a kept list."""
    return ({}, topics[1:]) if topics.startswith(KEPT) else (read_topics(topics), "")


def _digest(key: bytes, use: str, text: str) -> str:
    """Return the keyed hash of a text, to stand for it in URLs; each use has its own hashes."""
    return hmac.new(key, f"quart_sse.{use}:{text}".encode(), "sha256").hexdigest()[:24]
