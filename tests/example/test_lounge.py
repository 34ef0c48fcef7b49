"""The example's lounge: what moderators see and do, in one process and over two."""

import asyncio
import html
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from quart import Quart
from quart.testing import QuartClient

from example.app import create_app
from example.lounge import browser, seconds_until
from example.store import Store
from example.talk import MAX_LINES, Talk
from quart_sse.testing import LivePage, live
from tests.support.redis_server import running_redis
from tests.support.streams import Stream, connect_urls, open_stream

HTMX = {"HX-Request": "true"}
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@dataclass
class House:
    """The processes that serve the forum; there may be only one."""

    apps: list[Quart]
    store: Store

    async def browser(self, nickname: str | None, process: int = 0) -> QuartClient:
        """Return the browser of a user who came to a process; None for a guest."""
        client = QuartClient(self.apps[process % len(self.apps)])
        if nickname is not None:
            await client.post("/sign-in", form={"nickname": nickname})
        return client


@asynccontextmanager
async def process_of(broker_url: str, store: Store) -> AsyncIterator[Quart]:
    """Serve the forum as one process does, whose patience with others is short."""
    config = {"QUART_SSE_BROKER_URL": broker_url, "QUART_SSE_BROKER_TIMEOUT": 1.0}
    app = create_app(store.path, config)
    async with app.test_app():
        yield app


@asynccontextmanager
async def house_of(broker_url: str, store: Store, processes: int) -> AsyncIterator[House]:
    """Serve the forum by some processes."""
    async with AsyncExitStack() as stack:
        served = [process_of(broker_url, store) for _ in range(processes)]
        yield House([await stack.enter_async_context(app) for app in served], store)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The database that the processes share."""
    store = Store(tmp_path / "forum.sqlite3")
    store.prepare()
    return store


@pytest.fixture(params=["one", "two"])
async def house(
    request: pytest.FixtureRequest, store: Store, tmp_path: Path
) -> AsyncIterator[House]:
    """One process alone, or two with a Redis."""
    if request.param == "one":
        async with house_of("memory://", store, 1) as house:
            yield house
        return
    async with running_redis(tmp_path) as redis, house_of(redis.url, store, 2) as house:
        yield house


async def page_of(client: QuartClient) -> str:
    """Return the lounge as the server paints it."""
    return await (await client.get("/lounge")).get_data(as_text=True)


@asynccontextmanager
async def in_the_lounge(client: QuartClient, user_agent: str = FIREFOX) -> AsyncIterator[LivePage]:
    """Open the lounge."""
    async with live(client, "/lounge", timeout=20.0, headers={"User-Agent": user_agent}) as page:
        yield page


async def html_with(page: LivePage, fragment: str, *texts: str) -> str:
    """Return a fragment's HTML once it has all these texts."""
    html = page.current(fragment)
    while not all(text in html for text in texts):
        html = await page.fragment(fragment)
    return html


async def names_until(page: LivePage, text: str) -> list[str]:
    """Return the names of the events that a page was sent, once a line of the talk is there."""
    await html_with(page, "lounge.lines", text)
    return [event.name for event in page.events]


@asynccontextmanager
async def streaming(client: QuartClient) -> AsyncIterator[Stream]:
    """Read what is sent to the lounge's page, as it stands."""
    (url,) = connect_urls(await page_of(client))
    async with open_stream(client, url) as stream:
        await stream.next("sse-open")
        yield stream


async def until_answer(ask: Callable[[], Awaitable[str]], is_so: Callable[[str], object]) -> str:
    """Ask until the answer is as it should be."""
    async with asyncio.timeout(20):
        while not is_so(answer := await ask()):
            pass
    return answer


def streams_of(page: str, nickname: str) -> list[str]:
    """Return the ids of a user's connections, as the desk shows them, oldest first."""
    found = re.search(rf'id="connected-{nickname}".*?</li>', page, re.DOTALL)
    return re.findall(r'id="stream-([^"]+)"', found[0]) if found else []


async def connected(moderator: QuartClient, nickname: str, number: int = 1) -> list[str]:
    """Return the ids of a user's connections, once the desk shows so many."""
    page = await until_answer(
        lambda: page_of(moderator), lambda page: len(streams_of(page, nickname)) == number
    )
    return streams_of(page, nickname)


def text_of(page: str) -> str:
    """Return what a user reads."""
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", page).split()))


async def act(moderator: QuartClient, do: str, connection: str = "", **fields: str) -> str:
    """Send the desk's form by htmx; return what it says."""
    form = {"do": do, "connection": connection, **fields}
    answer = await moderator.post("/lounge/desk", form=form, headers=HTMX)
    assert answer.status_code == 200
    found = re.search(r'id="desk-note"[^>]*>(.*?)</p>', await answer.get_data(as_text=True))
    assert found is not None
    return html.unescape(found[1])


# -- the list ------------------------------------------------------------------------------------


async def test_desk_shows_who_is_connected_and_follows(house: House) -> None:
    """Connections of all processes are listed by user, and the list changes as they come and go."""
    tobi = await house.browser("tobi")
    mira, other_mira = await house.browser("mira", 0), await house.browser("mira", 1)
    async with in_the_lounge(tobi) as desk:
        async with in_the_lounge(mira):
            await html_with(desk, "desk.people", 'id="connected-mira"')
            async with in_the_lounge(other_mira, "curl/8.9"):
                sent = await html_with(desk, "desk.people", "2 streams")
                listed = text_of(sent)
                ids = streams_of(sent, "mira")
            await html_with(desk, "desk.people", 'id="connected-mira"', "1 stream<")
        assert await connected(tobi, "mira", 0) == []
        assert len(await connected(tobi, "tobi")) == 1

    assert re.search(r"mira 2 streams mira: Firefox, connected just now", listed)
    assert "mira: Another program, connected just now" in listed
    assert re.search(r"tobi moderator 1 stream", listed)
    assert len(set(ids)) == 2


async def test_tabs_of_other_pages_are_not_in_the_lounge(house: House) -> None:
    """Who reads the forum elsewhere is not listed."""
    tobi, kip = await house.browser("tobi"), await house.browser("kip", 1)
    async with live(kip, "/"):
        page = await page_of(tobi)

    assert "Nobody is here." in page


# -- notes ---------------------------------------------------------------------------------------


async def test_note_reaches_one_connection(house: House) -> None:
    """A note goes to the chosen connection, also of another process, and to no other one."""
    tobi = await house.browser("tobi")
    mira, other_mira = await house.browser("mira", 0), await house.browser("mira", 1)
    async with in_the_lounge(mira) as one, in_the_lounge(other_mira) as other:
        first, second = await connected(tobi, "mira", 2)

        said = await act(tobi, "note", second, text=" Be <kind>,\n please ")

        note = await other.event("connection.note")
        await tobi.post("/lounge/say", form={"text": "Good evening"})
        names = await names_until(one, "Good evening")
        assert not [name for name in names if "note" in name]
    assert said == "mira has your note."
    assert note == {"by": "tobi", "text": "Be <kind>, please"}
    assert first != second


async def test_note_to_a_connection_that_has_gone_says_so(house: House) -> None:
    """A page that is a little old does no harm."""
    tobi, mira = await house.browser("tobi"), await house.browser("mira", 1)
    async with in_the_lounge(mira):
        (gone,) = await connected(tobi, "mira")
    await connected(tobi, "mira", 0)

    for connection in (gone, "", "made.up"):
        said = await act(tobi, "note", connection, text="Hello?")
        assert said.startswith("Choose a connection above")


@pytest.mark.parametrize(
    ("text", "problem"), [(" ", "Write something"), ("x" * 301, "301 characters; 300 is the most")]
)
async def test_note_that_cannot_be_is_given_back(store: Store, text: str, problem: str) -> None:
    """A note that is empty or too long is not sent; without htmx the page says it."""
    async with house_of("memory://", store, 1) as house:
        tobi, mira = await house.browser("tobi"), await house.browser("mira")
        async with in_the_lounge(mira) as page_of_mira:
            (connection,) = await connected(tobi, "mira")
            form = {"do": "note", "connection": connection, "text": text}

            assert problem in await act(tobi, "note", connection, text=text)
            answer = await tobi.post("/lounge/desk", form=form)

            assert answer.status_code == 422
            page = await answer.get_data(as_text=True)
            assert problem in page
            assert f'value="{text.strip()}"' in page
            await tobi.post("/lounge/say", form={"text": "Good evening"})
            assert "connection.note" not in await names_until(page_of_mira, "Good evening")


# -- sending out ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("do", "ending", "length"),
    [("pause", "sse-holdoff", "for a minute"), ("end", "sse-stop", "for good")],
)
async def test_user_is_sent_out_of_all_processes(
    house: House, do: str, ending: str, length: str
) -> None:
    """All streams of the user in the lounge end, nobody else's, and no page or form lets in."""
    tobi, kip = await house.browser("tobi"), await house.browser("kip")
    mira, other_mira = await house.browser("mira", 0), await house.browser("mira", 1)
    async with in_the_lounge(kip) as stays:
        url = connect_urls(await page_of(mira))[0]
        async with streaming(mira) as one, streaming(other_mira) as other:
            first, _ = await connected(tobi, "mira", 2)

            said = await act(tobi, do, first)

            for stream in (one, other):
                events = await stream.rest()
                names = [event.event for event in events]
                # HTML of who is here may come between the two.
                assert [name for name in names if name != "message"][-2:] == [
                    "connection.sent-out",
                    ending,
                ]
                assert names[-1] == ending
                assert events[-1].retry == (60_000 if do == "pause" else 3_600_000)
        assert said == f"mira is out {length}."
        for client in (mira, other_mira):
            assert f"tobi has sent you out {length}" in text_of(await page_of(client))
            refused = await client.post("/lounge/say", form={"text": "Still here"})
            assert refused.location == "/lounge"
        # Other topics of the page go on; those of the lounge are refused.
        async with open_stream(mira, url) as again:
            opened = json.loads((await again.next("sse-open")).data)
            assert not [name for names in opened["names"] for name in names if "lounge" in name]
        await kip.post("/lounge/say", form={"text": "Good evening"})
        await names_until(stays, "Good evening")
        assert "Still here" not in await page_of(kip)


async def test_user_who_is_let_in_again_is_in(house: House) -> None:
    """A moderator at another process lets in whom the first has sent out."""
    tobi, hazel = await house.browser("tobi", 0), await house.browser("hazel", 1)
    mira = await house.browser("mira", 1)
    async with in_the_lounge(hazel) as desk:
        async with in_the_lounge(mira):
            await act(tobi, "end", (await connected(tobi, "mira"))[0])
            await html_with(desk, "desk.outside", 'id="outside-mira"', "for good, by tobi")

        answer = await hazel.post("/lounge/let-in", form={"nickname": "mira"})

        assert (answer.status_code, answer.location) == (303, "/lounge")
        async with in_the_lounge(mira):
            await html_with(desk, "desk.people", 'id="connected-mira"')
    assert "Let mira in again" not in await page_of(tobi)


async def test_minute_ends_by_itself(store: Store) -> None:
    """A user who was sent out for a time may enter when it is over."""
    async with house_of("memory://", store, 1) as house:
        house.apps[0].config["EXAMPLE_PAUSE_SECONDS"] = 0.05
        tobi, mira = await house.browser("tobi"), await house.browser("mira")
        async with in_the_lounge(mira):
            await act(tobi, "pause", (await connected(tobi, "mira"))[0])

        page = await until_answer(lambda: page_of(mira), lambda page: "chat-title" in page)

    assert "sent you out" not in page


async def test_moderators_cannot_be_sent_out(house: House) -> None:
    """Nobody is left outside with the key."""
    tobi, hazel = await house.browser("tobi"), await house.browser("hazel", 1)
    async with in_the_lounge(hazel) as page:
        (connection,) = await connected(tobi, "hazel")
        for do in ("pause", "end"):
            assert await act(tobi, do, connection) == "Moderators cannot be sent out."

        await act(tobi, "note", connection, text="Still here?")
        assert await page.event("connection.note") == {"by": "tobi", "text": "Still here?"}


async def test_desk_says_that_redis_is_away(store: Store, tmp_path: Path) -> None:
    """What could not be done is said, and nothing is an error of the server."""
    async with running_redis(tmp_path) as redis, house_of(redis.url, store, 2) as house:
        tobi, mira = await house.browser("tobi"), await house.browser("mira", 1)
        async with in_the_lounge(mira):
            (connection,) = await connected(tobi, "mira")
            await redis.kill()

            said = await act(tobi, "note", connection, text="Hello?")

    assert said == "Not every process has answered. Try again."


async def test_desk_says_that_a_process_is_silent(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list may lack someone, and streams of a user who was sent out may be open."""
    async with running_redis(tmp_path) as redis, house_of(redis.url, store, 2) as house:
        tobi, mira = await house.browser("tobi"), await house.browser("mira")
        async with in_the_lounge(mira):
            (connection,) = await connected(tobi, "mira")
            control = house.apps[1].extensions["quart_sse"].control
            monkeypatch.setattr(control, "take", lambda name, text: None)

            async with in_the_lounge(await house.browser("kip")):  # the list is rendered anew
                missing = "1 process has not answered, so someone may be missing."
                page = await until_answer(lambda: page_of(tobi), lambda page: missing in page)
            said = await act(tobi, "end", connection)

    assert streams_of(page, "mira") == [connection]
    assert said == "mira is out, but for streams of processes that have not answered."


# -- reports -------------------------------------------------------------------------------------


async def test_report_is_sent_to_moderators_alone(house: House) -> None:
    """Others who listen to the same topic are sent nothing of it."""
    tobi, mira = await house.browser("tobi", 0), await house.browser("mira", 0)
    kip = await house.browser("kip", 1)
    (line,) = [line for line in await Talk(house.store).lines() if line.author == "wren"]
    async with in_the_lounge(tobi) as moderator, in_the_lounge(mira) as member:
        answer = await kip.post("/lounge/report", form={"line": line.id}, headers=HTMX)
        await moderator.event("lounge.reports-changed")
        await tobi.post("/lounge/say", form={"text": "Good evening"})

        names = await names_until(member, "Good evening")

    assert await answer.get_data(as_text=True) == "Reported to the moderators."
    assert not [name for name in names if "report" in name]
    reports = await (await tobi.get("/lounge/reports")).get_data(as_text=True)
    assert "<b>wren</b>: <q>Kettle is on." in reports
    assert "Reported by kip" in reports


async def test_reported_line_is_kept_or_removed(house: House) -> None:
    """Other moderators' pages hear of it, and all pages lose the line that is removed."""
    tobi, hazel = await house.browser("tobi", 0), await house.browser("hazel", 1)
    one, two, _ = await Talk(house.store).lines()
    for line in (one, two):
        await tobi.post("/lounge/report", form={"line": line.id})
    async with in_the_lounge(hazel) as open_page:
        kept = await tobi.post("/lounge/reports", form={"line": one.id, "do": "keep"})
        await open_page.event("lounge.reports-changed")
        await tobi.post("/lounge/reports", form={"line": two.id, "do": "remove"}, headers=HTMX)
        await open_page.event("lounge.reports-changed")

        page = await page_of(hazel)

    assert (kept.status_code, kept.location) == (303, "/lounge")
    assert "Nothing is reported." in page
    assert f'id="line-{one.id}"' in page
    assert f'id="line-{two.id}"' not in page


async def test_first_report_of_a_line_counts(store: Store) -> None:
    """A line that is gone, or reported already, can be reported without harm."""
    talk = Talk(store)
    line = (await talk.lines())[0]
    for nickname in ("mira", "kip"):
        await talk.report(line.id, nickname)
        await talk.report(10**9, nickname)

    assert [(each.id, each.reported_by) for each in await talk.reported()] == [(line.id, "mira")]


# -- who may what --------------------------------------------------------------------------------


@pytest.mark.parametrize("nickname", ["mira", None], ids=["member", "guest"])
@pytest.mark.parametrize(
    ("method", "path", "form"),
    [
        ("GET", "/lounge/reports", {}),
        ("POST", "/lounge/reports", {"line": "1", "do": "remove"}),
        ("POST", "/lounge/let-in", {"nickname": "kip"}),
        ("POST", "/lounge/desk", {"do": "note", "text": "Hello"}),
        ("POST", "/lounge/desk", {"do": "end"}),
    ],
)
async def test_only_moderators_see_and_act(
    store: Store, nickname: str | None, method: str, path: str, form: dict[str, str]
) -> None:
    """Every view of the desk asks for the role, and nothing changes without it."""
    await Talk(store).send_out("kip", "tobi", None)
    async with house_of("memory://", store, 1) as house:
        tobi, client = await house.browser("tobi"), await house.browser(nickname)
        async with in_the_lounge(tobi):
            (connection,) = await connected(tobi, "tobi")
            sent: dict[str, Any] = {"form": {**form, "connection": connection}} if form else {}

            answer = await client.open(path, method=method, **sent)

    assert answer.status_code == 403
    assert len(await Talk(store).lines()) == 3
    assert [out.nickname for out in await Talk(store).outside()] == ["kip"]


@pytest.mark.parametrize("nickname", ["mira", None], ids=["member", "guest"])
async def test_list_is_for_moderators_alone(store: Store, nickname: str | None) -> None:
    """No page, stream or fragment shows it to anybody else, however the URL was found."""
    async with house_of("memory://", store, 1) as house:
        tobi, client = await house.browser("tobi"), await house.browser(nickname)
        (stolen,) = connect_urls(await page_of(tobi))
        async with in_the_lounge(tobi):
            assert "Connected now" not in await page_of(client)
            async with open_stream(client, "/sse/lounge/desk") as stream:
                assert [(told.event, told.data) for told in await stream.rest()] == [
                    ("sse-stop", "refused")
                ]
            async with open_stream(client, stolen) as stream:
                opened = await stream.next("sse-open")
                told = json.loads(opened.data)
                assert not any("desk" in topic for topics in told["topics"] for topic in topics)
            for url in ("people", "outside"):
                fragment = await client.get(f"/sse/lounge/desk/{url}")
                assert fragment.status_code in (403, 404)


async def test_guest_is_asked_who_they_are(store: Store) -> None:
    """The lounge is for members: a guest is led to the sign-in page, and from there back."""
    async with house_of("memory://", store, 1) as house:
        guest = await house.browser(None)
        plain = await guest.get("/lounge")
        by_htmx = await guest.get("/lounge", headers=HTMX)
        said = await guest.post("/lounge/say", form={"text": "Hello"})
        reported = await guest.post("/lounge/report", form={"line": "1"})

    assert plain.location == by_htmx.headers["HX-Redirect"] == "/sign-in?next=/lounge"
    assert said.location == reported.location == "/lounge"
    assert len(await Talk(store).lines()) == 3
    assert await Talk(store).reported() == []


# -- the talk ------------------------------------------------------------------------------------


async def test_lounge_works_without_javascript(store: Store) -> None:
    """Plain forms say, report, send out and let in, and lead back to a page that shows it."""
    async with house_of("memory://", store, 1) as house:
        tobi, mira = await house.browser("tobi"), await house.browser("mira")
        said = await mira.post("/lounge/say", form={"text": "  Hello   <b>all</b> "})
        assert "Hello &lt;b&gt;all&lt;/b&gt;" in await page_of(tobi)
        line = (await Talk(store).lines())[-1]
        reported = await tobi.post("/lounge/report", form={"line": line.id})
        assert "Reported by tobi" in await page_of(tobi)
        async with in_the_lounge(mira):
            (connection,) = await connected(tobi, "mira")
            answer = await tobi.post("/lounge/desk", form={"do": "end", "connection": connection})

        page = await answer.get_data(as_text=True)

    assert {(each.status_code, each.location) for each in (said, reported)} == {(303, "/lounge")}
    assert answer.status_code == 200
    assert "mira is out for good." in page
    assert "Let mira in again" in page


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
@pytest.mark.parametrize(
    ("text", "problem"), [(" ", "Write something"), ("x" * 301, "301 characters; 300 is the most")]
)
async def test_line_that_cannot_be_is_given_back(
    store: Store, text: str, problem: str, headers: dict[str, str]
) -> None:
    """A text that is empty or too long is not said, and stays in the form to be put right."""
    async with house_of("memory://", store, 1) as house:
        mira = await house.browser("mira")
        answer = await mira.post("/lounge/say", form={"text": text}, headers=headers)

    page = await answer.get_data(as_text=True)
    assert problem in page
    assert f'value="{text.strip()}"' in page
    assert answer.status_code == (200 if headers else 422)
    assert len(await Talk(store).lines()) == 3


@pytest.mark.parametrize(
    ("path", "form"),
    [("desk", {"do": "dance"}), ("desk", {}), ("reports", {"line": "x"}), ("report", {})],
)
async def test_forms_that_no_page_has_are_refused(
    store: Store, path: str, form: dict[str, str]
) -> None:
    """A form that the lounge never shows is answered 400."""
    async with house_of("memory://", store, 1) as house:
        tobi = await house.browser("tobi")
        answer = await tobi.post(f"/lounge/{path}", form=form)

    assert answer.status_code == 400


async def test_oldest_lines_are_dropped(store: Store) -> None:
    """The talk has an end, and no line gets the id of one that was removed."""
    talk = Talk(store)
    for number in range(MAX_LINES + 2):
        await talk.say("mira", str(number))

    lines = await talk.lines()
    assert [line.text for line in lines] == [str(number) for number in range(2, MAX_LINES + 2)]
    await talk.remove(lines[-1].id)
    await talk.say("mira", "again")
    assert (await talk.lines())[-1].id > lines[-1].id


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (FIREFOX, "Firefox"),
        ("Mozilla/5.0 AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36", "Chrome"),
        ("Mozilla/5.0 AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0", "Edge"),
        ("Mozilla/5.0 AppleWebKit/605.1.15 Version/18.0 Safari/605.1.15", "Safari"),
        ("curl/8.9", "Another program"),
        ("", "Another program"),
    ],
)
def test_browser_is_named(user_agent: str, name: str) -> None:
    """Most browsers name others, too."""
    assert browser(user_agent) == name


def test_page_asks_again_when_the_time_is_past(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a moment before, or it would have to ask twice."""
    monkeypatch.setattr("time.time", lambda: 100.0)

    assert [seconds_until(then) for then in (160.0, 159.5, 100.0, 3.0)] == [61, 60, 1, 1]
