"""Publish, refresh, close, send: events from a shell, and an exit code for a script."""

import json

import pytest

from quart_sse.testing import capture
from tests.support.redis_server import RedisServer
from tests.support.shell import Shell, run
from tests.support.shops import Shop
from tests.support.sites import Site, heard, serving


async def test_event_is_published_and_its_id_printed(site: Site, redis: RedisServer) -> None:
    """To any target; URL and prefix come from options or the environment."""
    async with site.view(3, who="mira") as (stream, _):
        code, id, complaints = await run(
            "--url", redis.url, "publish", "rooms?room=3", "said", '{"a": 1}'
        )
        assert (code, complaints) == (0, "")
        environ = {"QUART_SSE_BROKER_URL": redis.url}
        for arguments in (
            ["publish", "rooms?room=3", "said", "--text", "plain"],
            ["publish", "user?identity=mira", "saved"],
            ["publish", "everyone?channel=rooms", "closing", "--", "-7"],
            ["publish", "everyone", "maintenance", "[]", "--exclude", "x"],
            ["publish", "everyone", "hidden", "--where", '{"role": "admin"}'],
            ["refresh", "rooms?room=3", "list"],
        ):
            code, _, complaints = await run(*arguments, environ=environ)
            assert (code, complaints) == (0, "")
        assert await heard(stream, 5) == [
            ("rooms.said?room=3", '{"a": 1}'),
            ("rooms.said?room=3", "plain"),
            ("user.saved", "null"),
            ("rooms.closing", "-7"),
            ("everyone.maintenance", "[]"),
        ]
        assert (await run("close", "rooms?room=3", environ=environ)).code == 0
        assert (await stream.next("sse-stop")).data
    assert (await site.room(3).history())[0].id == id.strip()


async def test_people_are_notified(site: Site, redis: RedisServer, shell: Shell) -> None:
    """From both doors; what is printed is the notification's id, and errors are one line."""
    environ = {"QUART_SSE_BROKER_URL": redis.url}
    options = ["--level", "error", "--title", "Oh", "--data", '{"a": 1}', "--id", "report:1"]

    answer = await run("notify", "user?identity=mira", "Late", *options, environ=environ)
    beside = await shell.beside(
        Site(redis.url).app, "notify", "user?identity=mira", "Soon", "--json"
    )
    wrong = [
        await run("notify", "everyone", "x", *more, environ=environ)
        for more in (["--level", "loud"], ["--data", "{"], ["--id", "a b"])
    ]

    first, second = await site.sse.user("mira").notifications()
    assert answer == (0, "report:1\n", "")
    assert (first.message, first.level, first.title, first.data) == (
        "Late",
        "error",
        "Oh",
        {"a": 1},
    )
    assert json.loads(beside.out) == {"id": second.id}
    assert [each.code for each in wrong] == [2, 1, 1]
    assert await site.sse.everyone.notifications() == []


async def test_app_at_hand_gives_the_same(site: Site, shell: Shell, redis: RedisServer) -> None:
    """By its own broker and channels; it publishes what its own JSON writes."""
    beside = Site(redis.url)
    async with site.view(3) as (stream, _):
        for event, data in (("said", '{"a": 1}'), ("said", '"b"')):
            told = await shell.beside(beside.app, "publish", "rooms?room=3", event, data)
            assert (told.code, told.err) == (0, "")
        assert await heard(stream, 2) == [
            ("rooms.said?room=3", '{"a": 1}'),
            ("rooms.said?room=3", "b"),
        ]
        told = await shell.beside(beside.app, "publish", "rooms?room=3", "said", "--json")
        last = (await site.room(3).history())[-1]
        assert json.loads(told.out) == {"id": last.id}
        for command in ("refresh", "close"):
            told = await shell.beside(beside.app, command, "rooms?room=3", "--json")
            assert told == (0, "{}\n", "")
        assert (await stream.next("sse-stop")).data


async def test_item_of_a_list_is_refreshed(redis: RedisServer, shell: Shell) -> None:
    """One item of one list; what has no items is named."""
    beside = Site(redis.url)
    beside.rooms.fragment("list")(lambda room: "")
    beside.rooms.fragment("mine", personal=True)(lambda room: "")
    beside.rooms.item("list", place="end")(lambda room, key: None)
    with capture(beside.sse) as captured:
        told = await shell.beside(beside.app, "refresh", "rooms?room=3", "list", "--item", "a b")
        wrong = await shell.beside(beside.app, "refresh", "rooms?room=3", "mine", "--item", "1")

    assert told == (0, "", "")
    assert [(each.name, each.item) for each in captured.fragments] == [("list", "a b")]
    assert (wrong.code, wrong.out) == (1, "")
    assert "mine" in wrong.err


@pytest.mark.parametrize("is_beside", [False, True])
async def test_event_is_sent_to_one_connection(site: Site, shell: Shell, is_beside: bool) -> None:
    """The exit code says whether it is open."""
    app = Site(shell.url).app

    async def call(*arguments: str) -> tuple[int | None, str, str]:
        return await (shell.beside(app, *arguments) if is_beside else shell(*arguments))

    async with site.view(3) as (stream, handle):
        assert await call("send", handle.id, "hi", '{"n": 1}') == (0, "", "")
        assert await call("send", handle.id, "hi", "--text", "{}", "--json") == (
            0,
            '{"is_open": true}\n',
            "",
        )
        assert await heard(stream, 2) == [("connection.hi", '{"n": 1}'), ("connection.hi", "{}")]
        id = handle.id
    code, out, complaints = await call("send", id, "hi")
    assert (code, out) == (6, "")
    assert complaints.startswith(f"No connection {id!r} is open, so nothing was sent.")
    assert (await call("send", id, "hi", "--json"))[:2] == (6, '{"is_open": false}\n')


WRONG = [
    (["publish", "roms?room=3", "said"], 1, "Did you mean 'rooms'?"),
    (["publish", "rooms?room=x", "said"], 1, "no topic with room='x'"),
    (["publish", "rooms", "said"], 1, "takes room, not none"),
    (["publish", "news", "message"], 1, "reserved"),
    (["publish", "news", "said", "{"], 1, "--text"),
    (["publish", "news", "said", "--where", "x"], 1, "--where is no JSON"),
    (["publish", "user?identity=", "said"], 1, "identity is ''"),
    (["send", "x", "message"], 1, "reserved"),
    (["refresh", "rooms?room=3", "lst"], 1, "no fragment 'lst'"),
    (["refresh", "everyone"], 1, "is no topic"),
    (["close", "user?identity=7"], 1, "is no topic"),
    (["publish", "news", "said", "1", "--text", "x"], 2, "exclude each other"),
    (["publish", "news"], 2, "Missing argument 'EVENT'"),
    (["--prefix", "other", "publish", "news", "said"], 3, "No process of the app"),
    (["--prefix", "a b", "publish", "news", "said"], 2, "QUART_SSE_REDIS_PREFIX"),
    (["--url", "memory://", "publish", "news", "said"], 3, "QUART_SSE_BROKER_URL=redis://"),
    (["--url", "unix:///nowhere", "publish", "news", "said"], 4, "Nothing was published"),
]


@pytest.mark.parametrize(("arguments", "code", "text"), WRONG, ids=range(len(WRONG)))
async def test_error_is_one_line_and_an_exit_code(
    site: Site, shell: Shell, arguments: list[str], code: int, text: str
) -> None:
    """Without a traceback."""
    told = await shell(*arguments)

    assert told.code == code
    assert text in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""


async def test_full_redis_has_published_nothing(
    site: Site, redis: RedisServer, shell: Shell
) -> None:
    """A script may try again."""
    await redis.ask("CONFIG", "SET", "maxmemory", "1")
    told = await shell("--timeout", "1", "publish", "news", "said")
    await redis.ask("CONFIG", "SET", "maxmemory", "0")

    assert told.code == 4
    assert "maxmemory" in told.err


async def test_events_are_checked_by_what_the_app_declares(
    redis: RedisServer, shell: Shell
) -> None:
    """By both doors; what a function refreshes is left out only if that is asked for."""
    shop, beside = Shop(redis.url), Shop(redis.url).app
    order = '{"id": 1, "shop": 1, "note": null}'
    async with serving(shop):
        for wrong, text in (
            (["createx"], "Did you mean 'created'?"),
            (["gone", "{}"], "field 'id' is missing"),
            (["created", order], "@stats.refresh_on"),
        ):
            for told in (
                await shell("publish", "orders?shop=1", *wrong),
                await shell.beside(beside, "publish", "orders?shop=1", *wrong),
            ):
                assert told.code != 0
                assert text in told.err
        for event in (["gone", '{"id": 1}'], ["created", order, "--no-refresh"]):
            told = await shell("publish", "orders?shop=1", *event)
            assert (told.code, told.err) == (0, "")
        kept = await shop.orders.topic(shop=1).history()
    assert [each.name for each in kept] == ["gone", "created"]
