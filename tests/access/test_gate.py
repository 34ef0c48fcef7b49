"""The gate: which tokens are good, for which clients, and how long."""

import json
import logging
import time
from collections.abc import Callable

import pytest
from quart import Quart

from quart_sse import SSE
from tests.support.streams import client_of, open_stream
from tests.support.verdicts import signed, verdict

DAY = 86_400.0


@pytest.fixture
def sse(asking: SSE) -> SSE:
    """The extension of the app whose page signs what a test wants."""
    return asking


@pytest.mark.parametrize("own", [False, True], ids=["sse.connect", "own URL"])
@pytest.mark.parametrize(
    ("signer", "listener", "expected"),
    [
        ("ada", "ada", "open"),
        ("ada", "bob", "sse-stop refused"),
        ("ada", None, "sse-stop refused"),
        (None, None, "open"),
        (None, "bob", "open"),
        ("ada ", "ada", "sse-stop refused"),
    ],
    ids=lambda value: repr(value),
)
async def test_token_is_good_for_whom_it_was_signed(
    app: Quart, sse: SSE, own: bool, signer: str | None, listener: str | None, expected: str
) -> None:
    """A token with an identity is good for that identity; one without is good for every client."""
    sse.channel("inner", "/inner")
    app.config["WHO"] = signer
    url = await signed(client_of(app), "inner")
    app.config["WHO"] = listener

    if own:
        url = url.replace("/sse?", "/sse/inner?")
    result = await verdict(client_of(app), url)

    assert result == expected


def _swap(token: str) -> str:
    payload, *rest = token.split(".")
    return ".".join([payload[:-1] + ("A" if payload[-1] != "A" else "B"), *rest])


@pytest.mark.parametrize(
    "tamper",
    [
        lambda token: token[:-1],
        lambda token: token + "x",
        _swap,
        lambda token: token.partition(".")[0],
        lambda token: "." + token,
        lambda token: token.replace(".", ""),
        lambda token: "",
        lambda token: "~",
        lambda token: "~~inner",
        lambda token: "~inner%00",
        lambda token: "%ff",
        lambda token: "x" * 3000,
        lambda token: "~" + token,
        lambda token: "....",
    ],
)
async def test_tampered_token_admits_to_nothing(
    app: Quart, sse: SSE, caplog: pytest.LogCaptureFixture, tamper: Callable[[str], str]
) -> None:
    """A token that is not exactly what was signed is none."""
    sse.channel("inner", "/inner")
    client = client_of(app)
    url = await signed(client, "inner")
    token = url.partition("t=")[2].partition("&")[0]

    result = await verdict(client, url.replace(token, tamper(token)))

    assert result == "sse-stop refused"
    assert not [record for record in caplog.records if record.exc_info]


async def test_bad_signature_is_logged_once(
    app: Quart, sse: SSE, caplog: pytest.LogCaptureFixture
) -> None:
    """Keys that differ between processes are the usual cause, and the log says so once."""
    sse.channel("inner", "/inner")
    client = client_of(app)
    url = await signed(client, "inner")
    app.secret_key = "another process's"

    results = [await verdict(client, url) for _ in range(3)]

    assert results == ["sse-stop refused"] * 3
    (record,) = [record for record in caplog.records if record.name.startswith("quart_sse.")]
    assert record.levelno == logging.WARNING
    assert "secret_key" in record.getMessage()


async def test_token_of_a_former_key_is_still_good(app: Quart, sse: SSE) -> None:
    """``SECRET_KEY_FALLBACKS`` verify what is out there, also for whom it was signed."""
    sse.channel("inner", "/inner")
    ada, bob = client_of(app, "ada"), client_of(app, "bob")
    url = await signed(ada, "inner")
    app.config["SECRET_KEY_FALLBACKS"] = [app.secret_key]
    app.secret_key = "the new one"

    assert await verdict(ada, url) == "open"
    assert await verdict(bob, url) == "sse-stop refused"
    assert await verdict(ada, await signed(ada, "inner")) == "open"


@pytest.mark.parametrize(
    ("kind", "age", "expected"),
    [
        ("signed", 0.9 * DAY, "open"),
        ("signed", 1.1 * DAY, "sse-stop expired"),
        ("authorized", 1.1 * DAY, "open"),
        ("public", 1.1 * DAY, "open"),
        ("forbidden", 1.1 * DAY, "sse-stop refused"),
        ("forbidden", 0.9 * DAY, "sse-stop refused"),
    ],
)
@pytest.mark.parametrize("own", [False, True], ids=["sse.connect", "own URL"])
async def test_expired_token_admits_only_where_a_rule_agrees(
    app: Quart,
    sse: SSE,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    age: float,
    expected: str,
    own: bool,
) -> None:
    """A token is good for a day; after it ``authorize`` or ``public`` may still say yes."""
    inner = sse.channel("inner", "/inner", public=kind == "public")
    if kind in ("authorized", "forbidden"):
        inner.authorize(lambda: kind == "authorized")
    client = client_of(app, "ada")
    with monkeypatch.context() as past:
        then = time.time() - age
        past.setattr(time, "time", lambda: then)
        url = await signed(client, "inner")

    result = await verdict(client, url.replace("/sse?", "/sse/inner?") if own else url)

    assert result == expected


async def test_foreign_token_keeps_what_is_public_live(app: Quart, sse: SSE) -> None:
    """A user who signs out in another tab loses the page's private topics, and nothing else."""
    sse.channel("news", "/news", public=True)
    sse.channel("inner", "/inner")
    url = await signed(client_of(app, "ada"), "inner", "news")

    async with open_stream(client_of(app), url) as stream:
        refused = await stream.next()
        opened = await stream.next()
        await sse.topic("inner").publish("said", "x")
        await sse.topic("news").publish("said", "y")
        said = await stream.next()

    assert json.loads(refused.data) == {"tokens": [], "topics": ["inner"], "fragments": []}
    assert (opened.event, said.event) == ("sse-open", "news.said")
