"""The endpoint to publish to: off by default, guarded, and clear about what is wrong."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from quart import Quart, abort, request
from quart.testing import QuartClient
from werkzeug.datastructures import Headers

from quart_sse import SSE, DeclarationError
from quart_sse.testing import capture
from tests.support.shops import Order, Shop
from tests.support.sites import Site, heard, serving

URL = "/sse/~publish"
KEY = {"Authorization": "Bearer secret"}


@pytest.fixture
def site() -> Site:
    """An app that others may publish to."""
    site = Site("memory://")
    site.rooms.fragment("list")(lambda room: "")
    site.rooms.fragment("mine", personal=True)(lambda room: "")

    @site.sse.authorize_publish
    def may_publish() -> bool:
        return request.headers.get("Authorization") == "Bearer secret"

    return site


async def post(
    app: Quart, told: object, headers: Mapping[str, str] = KEY, method: str = "POST"
) -> tuple[int, dict[str, Any], Headers]:
    """Send JSON, and return status, answer and headers."""
    data = told if isinstance(told, bytes) else json.dumps(told).encode()
    headers = {"Content-Type": "application/json", **headers}
    client = QuartClient(app)
    answer = await client.open(URL, method=method, data=data, headers=headers)
    return answer.status_code, json.loads(await answer.get_data()), answer.headers


async def test_event_is_published_as_by_the_app(site: Site) -> None:
    """To a topic with parameters as in its URL, a channel, a user, everyone, a connection."""
    async with serving(site), site.view(3, who="mira", meta={"role": "admin"}) as (stream, handle):
        told: list[dict[str, Any]] = [
            {"channel": "rooms", "params": {"room": 3}, "event": "said", "data": {"a": 1}},
            {"channel": "rooms", "params": {"room": "3"}, "event": "said", "where": {"role": "x"}},
            {"channel": "rooms", "params": {"room": 3}, "event": "said", "exclude": handle.id},
            {"channel": "rooms", "everyone": True, "event": "closing"},
            {"user": "mira", "event": "saved", "data": "text", "retry_ms": 5000},
            {"everyone": True, "event": "maintenance"},
        ]
        for each in told:
            status, answer, headers = await post(site.app, each)
            assert (status, [*answer]) == (200, ["id"])
            assert headers["Content-Type"] == "application/json"
            assert headers["Cache-Control"] == "no-store"
        note = {"connection": handle.id, "event": "note", "data": 7}
        assert (await post(site.app, note))[:2] == (200, {"is_open": True})
        assert (await post(site.app, {**note, "connection": "x"}))[:2] == (200, {"is_open": False})

        assert await heard(stream, 5) == [
            ("rooms.said?room=3", '{"a": 1}'),
            ("rooms.closing", "null"),
            ("user.saved", "text"),
            ("everyone.maintenance", "null"),
            ("connection.note", "7"),
        ]


async def test_topic_is_refreshed_pushed_to_and_closed(site: Site) -> None:
    """The answer has nothing in it."""
    room = {"channel": "rooms", "params": {"room": 3}}
    async with serving(site), site.view(3) as (stream, _):
        changes: list[dict[str, object]] = [
            {"refresh": []},
            {"refresh": ["list"]},
            {"push": "list", "html": "<b>3</b>"},
        ]
        for what in changes:
            assert (await post(site.app, {**room, **what}))[:2] == (200, {})
        assert (await post(site.app, {**room, "close": True}))[:2] == (200, {})
        assert (await stream.next("sse-stop")).data


async def test_item_of_a_list_is_refreshed_and_pushed(site: Site) -> None:
    """Its key is a text or a number, and the list has items."""
    site.rooms.item("list", place="end")(lambda room, key: None)
    room = {"channel": "rooms", "params": {"room": 3}}
    with capture(site.sse) as captured:
        changes: list[dict[str, object]] = [
            {"refresh": ["list"], "item": 7},
            {"push": "list", "item": "a b", "html": '<li data-sse-item="a%20b">x</li>'},
        ]
        for what in changes:
            assert (await post(site.app, {**room, **what}))[:2] == (200, {})
        status, answer, _ = await post(site.app, {**room, "refresh": ["mine"], "item": 7})

    assert [(each.name, each.item, bool(each.html)) for each in captured.fragments] == [
        ("list", "7", False),
        ("list", "a b", True),
    ]
    assert status in (404, 422)
    assert "mine" in str(answer)


async def test_there_is_no_url_before_the_app_allows_it(app: Quart, sse: SSE) -> None:
    """Whatever the method; afterwards one function decides."""
    assert (await app.test_client().post(URL)).status_code == 404
    assert (await app.test_client().get(URL)).status_code == 404
    sse.authorize_publish(lambda: True)

    assert (await post(app, {"everyone": True, "event": "x"}))[0] == 200
    with pytest.raises(DeclarationError, match="registered already"):
        sse.authorize_publish(lambda: True)


@pytest.mark.parametrize("answer", [False, None, "yes", (True, 200), 1, abort, int])
async def test_only_true_allows(
    app: Quart, sse: SSE, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused, by any other answer and by an error; the body is not read."""

    @sse.authorize_publish
    async def decide() -> Any:
        if answer is abort:
            abort(401)
        return int("no number") if answer is int else answer

    status, told, headers = await post(app, b"no JSON")

    assert (status, told["type"]) == (403, "urn:quart-sse:refused")
    assert headers["Content-Type"] == "application/problem+json"
    is_error = answer not in (False, None, abort)
    assert ("@sse.authorize_publish failed" in caplog.text) is is_error


ROOM = {"channel": "rooms", "params": {"room": 3}}
WRONG: list[tuple[object, int, str, str]] = [
    (b"{", 400, "body", "no JSON"),
    (b"\xff", 400, "body", "no JSON"),
    (b"[" * 100_000, 400, "body", "no JSON"),
    ([], 422, "parameter", "must be an object"),
    ({"event": "x"}, 422, "parameter", "one of channel, user, everyone, connection"),
    (ROOM, 422, "parameter", "one of event, notify, refresh, push, close"),
    ({**ROOM, "event": "x", "close": True}, 422, "parameter", "one of event"),
    ({**ROOM, "user": "x", "event": "x"}, 422, "parameter", "one of channel"),
    ({**ROOM, "event": "x", "dta": 1}, 422, "parameter", "Did you mean 'data'?"),
    ({**ROOM, "event": 7}, 422, "parameter", "event is 7"),
    ({**ROOM, "event": "x", "where": []}, 422, "parameter", "where is []"),
    ({**ROOM, "event": "x", "where": {}}, 422, "filter", "where= is empty"),
    ({**ROOM, "event": "x", "exclude": 7}, 422, "parameter", "exclude= is 7"),
    ({**ROOM, "event": "x", "retry_ms": -1}, 422, "event", "retry_ms"),
    ({**ROOM, "event": "message"}, 422, "event", "reserved"),
    ({**ROOM, "event": "x", "data": "\ud800"}, 422, "event", "not valid UTF-8"),
    ({**ROOM, "event": "x", "data": "x" * 2**20}, 422, "event", "QUART_SSE_PENDING_BYTES"),
    ({**ROOM, "refresh": "list"}, 422, "parameter", "refresh must be a list"),
    ({**ROOM, "refresh": ["lst"]}, 404, "unknown-fragment", "'list', 'mine'"),
    ({**ROOM, "push": "mine", "html": "x"}, 422, "fragment", "personal"),
    ({**ROOM, "push": "list"}, 422, "parameter", "html is None"),
    ({**ROOM, "close": False}, 422, "parameter", "close is False"),
    ({"channel": "roms", "event": "x"}, 404, "unknown-channel", "Did you mean 'rooms'?"),
    ({"channel": "rooms", "event": "x"}, 422, "parameter", "takes room, not none"),
    ({**ROOM, "params": {"room": "x"}, "event": "x"}, 422, "parameter", "no topic with room='x'"),
    ({**ROOM, "params": {"room": "\ud800"}, "event": "x"}, 422, "parameter", "no topic with"),
    ({**ROOM, "params": {"room": True}, "event": "x"}, 422, "parameter", "room is True"),
    ({**ROOM, "params": [], "event": "x"}, 422, "parameter", "params is []"),
    ({"everyone": True, "close": True}, 422, "parameter", "Only a topic"),
    ({"everyone": 1, "event": "x"}, 422, "parameter", "everyone is 1"),
    ({"connection": "x", "close": True}, 422, "parameter", "A connection takes"),
    ({"connection": "x", "event": "x", "where": {"a": 1}}, 422, "parameter", "A connection takes"),
    ({"connection": "x", "event": "open"}, 422, "event", "reserved"),
]


@pytest.mark.parametrize(("told", "status", "kind", "detail"), WRONG, ids=range(len(WRONG)))
async def test_mistake_is_a_problem_of_its_own(
    site: Site, told: object, status: int, kind: str, detail: str
) -> None:
    """RFC 9457: a program reads the type, a person the detail; nothing is published."""
    async with serving(site), site.view(3) as (stream, _):
        got, answer, headers = await post(site.app, told)
        await site.room(3).publish("said", "next")
        assert await heard(stream, 1) == [("rooms.said?room=3", "next")]

    assert (got, answer["status"], answer["type"]) == (status, status, f"urn:quart-sse:{kind}")
    assert detail in answer["detail"]
    assert answer["title"]
    assert headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("headers", "method", "status", "kind"),
    [
        ({"Content-Type": "text/plain"}, "POST", 415, "media-type"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "POST", 415, "media-type"),
        ({"Origin": "https://evil.example"}, "POST", 403, "origin"),
        ({"Sec-Fetch-Site": "cross-site"}, "POST", 403, "origin"),
        ({"Origin": "https://friend.example"}, "POST", 403, "origin"),
        ({}, "PUT", 405, "method"),
        ({}, "GET", 405, "method"),
    ],
)
async def test_what_a_page_of_another_site_can_send_is_refused(
    headers: Mapping[str, str], method: str, status: int, kind: str
) -> None:
    """Also one whose pages may listen: a user's cookies publish nothing."""
    site = Site("memory://", origins=["https://friend.example"])
    site.sse.authorize_publish(lambda: True)
    told = {"everyone": True, "event": "x"}
    got, answer, sent = await post(site.app, told, headers, method)

    assert (got, answer["type"]) == (status, f"urn:quart-sse:{kind}")
    assert "Access-Control-Allow-Origin" not in sent
    assert (sent.get("Allow") == "POST") is (status == 405)


async def test_body_that_is_too_large_is_a_problem(site: Site) -> None:
    """The app's own limit counts."""
    site.app.config["MAX_CONTENT_LENGTH"] = 100
    status, answer, _ = await post(site.app, {"everyone": True, "event": "x", "data": "x" * 200})

    assert (status, answer["type"]) == (413, "urn:quart-sse:body")


async def test_broker_that_is_away_says_whether_it_may_have_published() -> None:
    """The client decides whether it tries again."""
    site = Site("unix:///nowhere/redis.sock")
    site.sse.authorize_publish(lambda: True)
    await site.app.startup()
    status, answer, _ = await post(site.app, {"everyone": True, "event": "x"})
    await site.app.shutdown()

    assert (status, answer["type"]) == (503, "urn:quart-sse:broker-unavailable")
    assert answer["maybe_published"] is False
    assert "Nothing was published" in answer["detail"]


async def test_events_are_checked_and_refresh_as_by_the_app() -> None:
    """It is the app that publishes, so functions of ``refresh_on`` are asked, too."""
    shop = Shop("memory://")
    shop.sse.authorize_publish(lambda: True)
    order = {"id": 1, "shop": 1, "note": None}
    told = {"channel": "orders", "params": {"shop": 1}, "event": "created", "data": order}
    async with serving(shop):
        with capture(shop.sse) as captured:
            assert (await post(shop.app, told))[0] == 200
            for wrong in ({"data": {"id": 1}}, {"event": "createx"}):
                status, answer, _ = await post(shop.app, {**told, **wrong})
                assert (status, answer["type"]) == (422, "urn:quart-sse:event")
    assert [each.name for each in captured.fragments] == ["list", "count", "sum"]
    assert shop.asked == [Order(1, shop=1)]
