"""Signed topics and cookies: what they carry, and everything that makes them good for nothing."""

import base64
import logging
import time
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quart_sse.access.tokens import KEPT, UNSIGNED, Signer, Token, read_topics, write_topics
from quart_sse.errors import MissingSecretKeyError
from quart_sse.wire.naming import topic_name

TOPICS = {"comments?discussion_id=7": frozenset({"list", "count"}), "board": frozenset[str]()}
WRITTEN = "board comments?discussion_id=7:count,list"

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True)
SUBSCRIPTIONS = st.dictionaries(
    st.builds(topic_name, NAMES, st.dictionaries(NAMES, st.text(max_size=8), max_size=2)),
    st.frozensets(NAMES, max_size=3),
    max_size=4,
)


class Clock:
    """Seconds since 1970, which a test can move on (tokens are stamped by the real clock)."""

    ahead = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return time.time() + self.ahead


def signer(*keys: bytes, clock: Clock | None = None) -> Signer:
    """Return a signer of these keys whose tokens live for an hour."""
    return Signer(lambda: list(keys), 3600.0, clock=clock or Clock())


def allowed(signer: Signer, text: str, identity: str | None) -> bool:
    """Whether a token is as good as on the day that it was signed, for the given identity."""
    token = signer.verify(text, identity)
    return token is not None and token.is_signed and not token.is_expired


@pytest.mark.parametrize("identity", [None, "7", "", "anna@example.org"])
def test_token_carries_topics_and_page(identity: str | None) -> None:
    """The identity of a token gets the page's topics with their fragments."""
    one = signer(b"key")
    before = time.time()

    token = one.verify(one.sign(WRITTEN, identity, "page-1"), identity)

    assert token is not None
    assert token == Token(
        TOPICS,
        "page-1",
        token.issued,
        is_signed=True,
        is_expired=False,
        is_bound=identity is not None,
        first=token.issued,
        is_vouched=True,
    )
    assert before - 1 <= token.issued <= time.time()  # stamped with whole seconds


@settings(deadline=None)
@given(topics=SUBSCRIPTIONS, identity=st.none() | st.text(max_size=10))
def test_any_topics_are_read_back(topics: dict[str, frozenset[str]], identity: str | None) -> None:
    """Every topic that can be named comes back from a token, and from an unsigned list."""
    one = signer(b"key")

    signed = one.verify(one.sign(write_topics(topics), identity, "p"), identity)
    unsigned = one.verify(UNSIGNED + write_topics(topics), identity)

    assert signed is not None
    assert signed.topics == topics
    assert unsigned is not None
    assert unsigned.topics == topics


@settings(deadline=None)
@given(topics=SUBSCRIPTIONS.filter(bool), more=st.text(max_size=40))
def test_list_that_a_page_has_written_is_told_from_others(
    topics: dict[str, frozenset[str]], more: str
) -> None:
    """By any key of the app, and as long as nothing of it is changed; it grants nothing."""
    one, renewed, other = signer(b"key"), signer(b"new", b"key"), signer(b"other")
    text = one.vouch(write_topics(topics))

    for each, is_vouched in ((one, True), (renewed, True), (other, False), (signer(), False)):
        token = each.verify(text, "7")
        assert token is not None
        assert (token.is_vouched, token.is_signed, token.is_good) == (is_vouched, False, False)
        assert (token.topics == topics) is is_vouched
        assert token.topics.items() >= topics.items()
    for changed in (f"{text}{more}x", f"~x {text[1:]}", text.replace(" ~", f"{more}! ~")):
        token = one.verify(changed, None)
        assert token is not None
        assert not token.is_vouched
    assert one.vouch(write_topics(topics)) == text
    assert signer().vouch(write_topics(topics)) == UNSIGNED + write_topics(topics)


def test_token_to_which_a_newer_release_has_added_is_read() -> None:
    """What follows the items that are known here is left out."""
    one = signer(b"key")
    signed = one._serializer().dumps([WRITTEN, None, "page-1", 1_795_302_000, "more", {}])

    token = one.verify(str(signed), "7")

    assert token is not None
    assert (token.topics, token.page, token.first) == (TOPICS, "page-1", 1_795_302_000)


def test_token_can_stand_in_a_url() -> None:
    """A token has only characters that a query needs not escape."""
    text = signer(b"key").sign("a?x=%C3%A9%26:b", "ü", "page")

    assert not set(text) - set(map(chr, range(128)))
    assert text.replace("-", "").replace("_", "").replace(".", "").isalnum()


def test_changed_token_allows_nothing() -> None:
    """A token with any one character changed, left out or added is refused."""
    one = signer(b"key")
    text = one.sign(WRITTEN, None, "page")
    changed = [text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :] for at in range(5)]
    changed += [text[:at] + text[at + 1 :] for at in range(0, len(text), 7)]
    changed += [text + "A", "." + text, text.replace(".", "", 1), text[::-1]]

    read = [one.verify(other, None) for other in changed]

    assert read == [None] * len(changed)
    assert allowed(one, text, None)


def test_payload_of_another_token_is_refused() -> None:
    """The signature of one token is not good for the topics of another."""
    one = signer(b"key")
    mine, other = (one.sign(topic, None, "page").split(".") for topic in ("mine", "other"))

    forged = ".".join([other[0], *mine[1:]])

    assert mine[0] != other[0]
    assert one.verify(forged, None) is None


@pytest.mark.parametrize("asking", [None, "", "8", "77", "7 "])
def test_token_of_an_identity_is_no_signature_for_others(asking: str | None) -> None:
    """For all identities but its own, a token counts as an unsigned list."""
    one = signer(b"key")
    text = one.sign(WRITTEN, "7", "page")

    token = one.verify(text, asking)

    assert token is not None
    assert token.topics == TOPICS
    assert not token.is_signed
    assert allowed(one, text, "7")


@pytest.mark.parametrize("asking", [None, "", "8"])
def test_token_without_an_identity_is_good_for_all(asking: str | None) -> None:
    """A token of an anonymous page grants what every client may see."""
    one = signer(b"key")

    assert allowed(one, one.sign(WRITTEN, None, "page"), asking)


def test_token_of_the_empty_identity_is_bound() -> None:
    """An identity that is an empty text is an identity."""
    one = signer(b"key")
    text = one.sign(WRITTEN, "", "page")

    assert allowed(one, text, "")
    assert not allowed(one, text, "8")
    assert not allowed(one, text, None)


def test_token_does_not_show_for_whom_it_is() -> None:
    """A token, which every client can read, contains no identity."""
    text = signer(b"key").sign("board", "anna@example.org", "page")
    payload = text.split(".")[0]

    plain = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))

    assert b"board" in plain
    assert b"anna" not in plain


def test_token_expires_after_its_lifetime() -> None:
    """An expired token differs from a forged one: its topics are known, and that it has expired."""
    clock = Clock()
    one = signer(b"key", clock=clock)
    text = one.sign(WRITTEN, "7", "page")

    clock.ahead = 3590.0
    young = one.verify(text, "7")
    clock.ahead = 3601.0
    old = one.verify(text, "7")

    assert young is not None
    assert not young.is_expired
    assert old == young._replace(is_expired=True)


def test_age_of_a_token_is_known() -> None:
    """The signer's own clock gives the age of a token, so that pages renew it in time."""
    clock = Clock()
    one = signer(b"key", clock=clock)
    token = one.verify(one.sign(WRITTEN, None, "page"), None)
    assert token is not None

    clock.ahead = 3000.0

    assert 3000 <= one.age(token) < 3030


@pytest.mark.parametrize(("asking", "is_signed"), [("7", True), ("8", False), (None, False)])
def test_token_may_carry_a_reference(asking: str | None, is_signed: bool) -> None:
    """A list that is kept at the broker is known by its reference, and bound as any other."""
    one = signer(b"key")

    token = one.verify(one.sign(KEPT + "r4nd0m", "7", "page"), asking)

    assert token is not None
    assert (token.reference, token.topics, token.page) == ("r4nd0m", {}, "page")
    assert token.is_signed is is_signed


def test_unsigned_reference_gives_no_right() -> None:
    """A kept list without a signature is judged topic by topic, as any unsigned list."""
    token = signer(b"key").verify(UNSIGNED + KEPT + "r4nd0m", None)

    assert token is not None
    assert (token.reference, token.is_signed) == ("r4nd0m", False)


def test_clock_that_was_set_back_does_not_expire_a_token() -> None:
    """A token from another machine whose clock is ahead of ours is good."""
    clock = Clock()
    one = signer(b"key", clock=clock)
    text = one.sign(WRITTEN, None, "page")

    clock.ahead = -600.0

    assert allowed(one, text, None)


@pytest.mark.parametrize("identity", [None, "7"])
def test_token_of_a_former_key_is_good_while_that_key_is_kept(identity: str | None) -> None:
    """After a rotation the old key verifies, the new one signs, and a dropped one is foreign."""
    before, during, after = signer(b"old"), signer(b"new", b"old"), signer(b"new")
    old, new = before.sign(WRITTEN, identity, "page"), during.sign(WRITTEN, identity, "page")

    assert allowed(during, old, identity)
    assert allowed(during, new, identity)
    assert allowed(after, new, identity)
    assert after.verify(old, identity) is None
    assert before.verify(new, identity) is None


def test_token_of_a_former_key_is_still_bound() -> None:
    """A fallback key does not open a token for other identities."""
    old = signer(b"old").sign(WRITTEN, "7", "page")

    assert not allowed(signer(b"new", b"old"), old, "8")


def test_keys_are_read_at_every_use() -> None:
    """A secret key that an app sets after init_app is used."""
    keys: list[bytes] = []
    one = Signer(lambda: keys, 3600.0)
    assert not one.has_key

    keys.append(b"key")

    assert one.has_key
    assert allowed(one, one.sign(WRITTEN, None, "page"), None)


@pytest.mark.parametrize("identity", [None, "7"])
def test_signing_without_a_key_raises(identity: str | None) -> None:
    """Nothing can be signed without a key, and the error says what to do."""
    with pytest.raises(MissingSecretKeyError, match=r"app\.secret_key"):
        signer().sign(WRITTEN, identity, "page")
    with pytest.raises(MissingSecretKeyError):
        signer().sign_browser("b")


def test_verifying_without_a_key_allows_only_what_needs_none() -> None:
    """Without a key nothing is signed, and unsigned lists are read all the same."""
    none = signer()
    text = signer(b"key").sign(WRITTEN, None, "page")

    assert none.verify(text, None) is None
    assert none.read_browser(signer(b"key").sign_browser("b")) is None
    unsigned = none.verify("~board", None)
    assert unsigned is not None
    assert unsigned.topics == {"board": frozenset()}


def test_unsigned_list_is_no_signature() -> None:
    """Unsigned topics are read, never expire, and say that they are not signed."""
    one = signer(b"key")

    token = one.verify("~comments?discussion_id=7:count,list board", "7")

    assert token is not None
    assert (token.topics, token.page) == (TOPICS, "")
    assert (token.is_signed, token.is_expired) == (False, False)


@settings(deadline=None)
@given(text=st.text(max_size=60) | st.text("~:, a?=&%.", max_size=30))
def test_anything_can_stand_in_the_url(text: str) -> None:
    """Any text as a token is read as unsigned topics, or as nothing."""
    token = signer(b"key").verify(text, "7")

    assert (token is not None) == text.startswith(UNSIGNED)
    if token is not None:
        assert not token.is_signed
        assert "" not in token.topics
        assert all("" not in fragments for fragments in token.topics.values())


@settings(deadline=None, derandomize=True, max_examples=300)
@given(data=st.data())
def test_what_was_changed_of_a_token_is_no_token_of_ours(data: st.DataObject) -> None:
    """Cut, joined, or with other characters anywhere: it is read as it was, or grants nothing.

    In a signature there may be characters that base64 does not have; they change nothing.
    """
    one = signer(b"key")
    tokens = [one.sign(WRITTEN, "7", "page"), one.vouch(WRITTEN), one.sign_browser("browser")]
    token = data.draw(st.sampled_from(tokens))
    begin, end = sorted(data.draw(st.tuples(*[st.integers(0, len(token))] * 2)))
    changed = (
        token[:begin] + data.draw(st.text(max_size=20) | st.sampled_from(tokens)) + token[end:]
    )

    verified, browser = one.verify(changed, "7"), one.read_browser(changed)

    assert browser in (None, "browser")
    if verified is not None:
        assert all(verified.topics)
        is_ours = verified.is_signed or verified.is_vouched
        assert not is_ours or write_topics(verified.topics) == WRITTEN


@pytest.mark.parametrize(
    ("topics", "text"),
    [
        ({}, ""),
        ({"board": ()}, "board"),
        ({"board": ["b", "a", "b"]}, "board:a,b"),
        ({"b": (), "a?x=1": ["list"]}, "a?x=1:list b"),
    ],
)
def test_topics_are_written_in_one_way(topics: dict[str, Iterable[str]], text: str) -> None:
    """The same topics make the same text, so that pages and connections can be compared."""
    assert write_topics(topics) == text
    assert read_topics(text) == {topic: frozenset(names) for topic, names in topics.items()}


def test_foreign_signature_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Keys that differ between processes are noticed: one warning, however many tokens come."""
    one = signer(b"key")
    text = signer(b"another").sign(WRITTEN, None, "page")

    for _ in range(3):
        assert one.verify(text, None) is None

    (record,) = caplog.records
    assert (record.name, record.levelno) == ("quart_sse.access", logging.WARNING)
    assert "app.secret_key differs between processes" in record.getMessage()


def test_good_and_expired_tokens_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Tokens of ours cause no warning, even if expired, of another identity or unsigned."""
    clock = Clock()
    one = signer(b"key", clock=clock)
    text = one.sign(WRITTEN, "7", "page")
    clock.ahead = 7200.0

    one.verify(text, "7")
    one.verify(text, "8")
    one.verify("~board", None)

    assert caplog.records == []


def test_browser_cookie_is_read_back() -> None:
    """A browser is known by the id in the cookie that we signed."""
    one = signer(b"key")

    assert one.read_browser(one.sign_browser("browser-1")) == "browser-1"
    assert signer(b"new", b"key").read_browser(one.sign_browser("browser-1")) == "browser-1"


@pytest.mark.parametrize("cookie", [None, "", "browser-1", "a.b", "a.b.c", "ü", "."])
def test_cookie_that_is_not_ours_names_no_browser(cookie: str | None) -> None:
    """A browser cannot choose its own id."""
    assert signer(b"key").read_browser(cookie) is None


def test_changed_or_foreign_cookie_names_no_browser() -> None:
    """A cookie that was changed, or signed with another key, tells nothing."""
    one = signer(b"key")
    mine, other = one.sign_browser("mine").split("."), one.sign_browser("other").split(".")

    assert one.read_browser(f"{other[0]}.{mine[1]}") is None
    assert one.read_browser(signer(b"another").sign_browser("mine")) is None


def test_cookie_and_token_are_not_taken_for_each_other() -> None:
    """What was signed for one purpose is worth nothing for another."""
    one = signer(b"key")

    assert one.verify(one.sign_browser("~board"), None) is None
    assert one.read_browser(one.sign(WRITTEN, None, "page")) is None
