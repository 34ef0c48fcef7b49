"""The example's board: cards that several people move at once."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect
from quart import Quart
from quart.testing import QuartClient

from example.app import create_app
from example.cards import MAX_CARDS, STAGES, Cards
from example.store import Store
from quart_sse.testing import live
from tests.support.browsers import serve_forum, sign_in, visit
from tests.support.servers import Server

HTMX = {"HX-Request": "true"}


@pytest.fixture
async def cards(tmp_path: Path) -> Cards:
    """A board with four cards to do, none of which has an owner."""
    store = Store(tmp_path / "board.sqlite3")
    store.prepare()
    await store.query("DELETE FROM card")
    cards = Cards(store)
    for title in ("a", "b", "c", "d"):
        await cards.add(title)
    return cards


@pytest.fixture
def app(tmp_path: Path) -> Quart:
    """The forum, with the cards that it has at its first start."""
    return create_app(tmp_path / "forum.sqlite3", {"QUART_SSE_BROKER_URL": "memory://"})


@pytest.fixture
async def client(app: Quart) -> AsyncIterator[QuartClient]:
    """The browser of a signed-in user."""
    async with app.test_app():
        client = QuartClient(app)
        await client.post("/sign-in", form={"nickname": "mira"})
        yield client


async def titles(cards: Cards) -> dict[str, str]:
    """Return the titles of each column, from the top."""
    return {
        stage: "".join(card.title for card in column)
        for stage, column in (await cards.by_stage()).items()
    }


async def numbers(cards: Cards) -> dict[str, int]:
    """Return title -> id."""
    return {card.title: card.id for column in (await cards.by_stage()).values() for card in column}


async def page_of(client: QuartClient) -> str:
    """Return the board as the server paints it."""
    return await (await client.get("/board")).get_data(as_text=True)


def column(page: str, stage: str) -> list[int]:
    """Return the cards of a column, as a page shows them."""
    found = re.search(rf'data-stage="{stage}".*?</section>', page, re.DOTALL)
    assert found is not None
    return [int(card) for card in re.findall(r'data-card="(\d+)"', found[0])]


# -- the store -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "stage", "before", "expected"),
    [
        ("d", "todo", "a", {"todo": "dabc", "doing": ""}),
        ("a", "todo", "d", {"todo": "bcad", "doing": ""}),
        ("b", "todo", None, {"todo": "acdb", "doing": ""}),
        ("b", "todo", "b", {"todo": "abcd", "doing": ""}),
        ("b", "doing", None, {"todo": "acd", "doing": "b"}),
        ("b", "doing", "c", {"todo": "acd", "doing": "b"}),
    ],
)
async def test_card_moves_before_another_one_or_to_the_end(
    cards: Cards, title: str, stage: str, before: str | None, expected: dict[str, str]
) -> None:
    """A move names the card that it goes before; one that is not in that column means the end."""
    ids = await numbers(cards)

    for _ in range(2):  # the second time changes nothing
        await cards.move(ids[title], stage, ids[before] if before else None)

        assert await titles(cards) == {**expected, "done": ""}


async def test_moves_at_the_same_time_lose_and_double_no_card(cards: Cards, tmp_path: Path) -> None:
    """However many move at once, every card is in one column, and places are 0, 1, 2 and so on."""
    ids = list((await numbers(cards)).values())
    # As many processes would: each has a store of its own over the same file.
    others = [Cards(Store(tmp_path / "board.sqlite3")) for _ in range(4)]
    turns = [
        others[turn % 4].move(ids[turn % 3], list(STAGES)[turn // 3 % 3], ids[(turn + 1) % 4])
        for turn in range(60)
    ]

    await asyncio.gather(*turns, cards.add("e"), cards.remove(ids[3]))

    board = await cards.by_stage()
    assert sorted(await numbers(cards)) == ["a", "b", "c", "e"]
    for column in board.values():
        assert [card.place for card in column] == list(range(len(column)))


async def test_card_that_two_take_at_once_is_taken_once(cards: Cards) -> None:
    """The second one who takes a card changes nothing, and cannot be robbed by an old page."""
    card_id = (await numbers(cards))["a"]
    await asyncio.gather(cards.take(card_id, "mira"), cards.take(card_id, "kip"))
    (owner,) = [card.owner for card in (await cards.by_stage())["todo"] if card.owner]
    other = "kip" if owner == "mira" else "mira"

    await cards.release(card_id, other)
    assert (await cards.by_stage())["todo"][0].owner == owner

    await cards.release(card_id, owner)
    assert (await cards.by_stage())["todo"][0].owner is None


async def test_moving_a_removed_card_does_nothing(cards: Cards) -> None:
    """A page that still shows a card which is gone does no harm."""
    ids = await numbers(cards)
    await cards.remove(ids["b"])

    await cards.move(ids["b"], "done")
    await cards.remove(ids["b"])
    await cards.move(ids["d"], "todo", before=ids["b"])

    assert await titles(cards) == {"todo": "acd", "doing": "", "done": ""}
    assert [card.place for card in (await cards.by_stage())["todo"]] == [0, 1, 2]


async def test_board_has_an_end(cards: Cards) -> None:
    """A full board takes no further card, and one again when another is removed."""
    while await cards.add("more"):
        pass
    assert len(await numbers(cards)) == 5
    assert sum(len(column) for column in (await cards.by_stage()).values()) == MAX_CARDS

    await cards.remove((await numbers(cards))["a"])

    assert await cards.add("one more") is not None


# -- the forms -----------------------------------------------------------------------------------


async def test_board_works_without_javascript(client: QuartClient) -> None:
    """Plain form posts add, move, take, release and remove a card, and lead back to the board."""
    answers = [await client.post("/board/add", form={"title": "  Mend the   roof "})]
    page = await page_of(client)
    card = column(page, "todo")[-1]
    assert "Mend the roof" in page

    first = column(page, "doing")[0]
    answers.append(await client.post("/board/move", form={"card": card, "to": f"doing:{first}"}))
    assert column(await page_of(client), "doing")[:2] == [card, first]

    answers.append(await client.post("/board/take", form={"card": card}))
    taken = re.search(rf'id="card-{card}".*?</li>', await page_of(client), re.DOTALL)
    assert taken is not None
    assert 'name="owner" value="mira"' in taken[0]

    answers.append(await client.post("/board/release", form={"card": card, "owner": "mira"}))
    assert 'aria-label="Take: Mend the roof"' in await page_of(client)

    answers.append(await client.post("/board/remove", form={"card": card}))
    assert "Mend the roof" not in await page_of(client)
    assert {(answer.status_code, answer.location) for answer in answers} == {(303, "/board")}


async def test_every_button_does_what_it_says(client: QuartClient) -> None:
    """The arrows of a card lead to its neighbours; those at an edge leave it where it is."""
    page = await page_of(client)
    a, b, c, d = column(page, "todo")

    def to(card: int, button: str) -> str:
        found = re.search(rf'id="card-{card}-{button}"[^>]*value="([^"]*)"', page)
        assert found is not None
        return found[1]

    for card, button, expected in (
        *((c, "higher", [a, c, b, d]), (b, "lower", [a, c, b, d]), (d, "higher", [a, b, d, c])),
        *((c, "lower", [a, b, d, c]), (a, "higher", [a, b, c, d]), (a, "left", [a, b, c, d])),
        *((d, "lower", [a, b, c, d]), (b, "right", [a, c, d])),
    ):
        await client.post("/board/move", form={"card": card, "to": to(card, button)})
        assert column(await page_of(client), "todo") == expected, (card, button)
        for back, before in ((d, None), (c, d), (b, c), (a, b)):
            target = f"todo:{before}" if before else "todo"
            await client.post("/board/move", form={"card": back, "to": target})


async def test_forms_by_htmx_are_answered_with_nothing(client: QuartClient) -> None:
    """What changed reaches the page by the refresh, and the form for a new card comes empty."""
    card = column(await page_of(client), "todo")[0]
    moved = await client.post("/board/move", form={"card": card, "to": "done"}, headers=HTMX)
    added = await client.post("/board/add", form={"title": "Mend the roof"}, headers=HTMX)

    assert (moved.status_code, await moved.get_data()) == (204, b"")
    assert 'value=""' in await added.get_data(as_text=True)
    assert "<html" not in await added.get_data(as_text=True)


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
@pytest.mark.parametrize(
    ("title", "problem"), [(" ", "Say what"), ("x" * 121, "121 characters; 120 is the most")]
)
async def test_title_that_cannot_be_is_given_back(
    client: QuartClient, title: str, problem: str, headers: dict[str, str]
) -> None:
    """A title that is empty or too long makes no card, and stays in the form to be put right."""
    before = column(await page_of(client), "todo")

    answer = await client.post("/board/add", form={"title": title}, headers=headers)

    text = await answer.get_data(as_text=True)
    assert problem in text
    assert f'value="{title.strip()}"' in text
    assert answer.status_code == (200 if headers else 422)
    assert column(await page_of(client), "todo") == before


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("move", {"card": "1", "to": "elsewhere"}),
        ("move", {"card": "1", "to": "doing:x"}),
        ("move", {"card": "-1", "to": "doing"}),
        ("move", {"card": "9" * 30, "to": "doing"}),
        ("move", {"to": "doing"}),
        ("take", {"card": "²"}),
        ("remove", {}),
    ],
)
async def test_forms_that_no_page_has_are_refused(
    client: QuartClient, path: str, form: dict[str, str]
) -> None:
    """A form that the board never shows is answered 400, and changes nothing."""
    before = await page_of(client)

    answer = await client.post(f"/board/{path}", form=form)

    assert answer.status_code == 400
    after = await page_of(client)
    assert [column(after, stage) for stage in STAGES] == [column(before, s) for s in STAGES]


async def test_guest_who_takes_a_card_is_asked_who_they_are(app: Quart) -> None:
    """Taking needs a name: a guest is led to the sign-in page, and from there back."""
    client = QuartClient(app)
    card = column(await page_of(client), "todo")[0]

    plain = await client.post("/board/take", form={"card": card})
    by_htmx = await client.post("/board/take", form={"card": card}, headers=HTMX)

    assert plain.location == by_htmx.headers["HX-Redirect"] == "/sign-in?next=/board"


async def test_title_is_escaped(client: QuartClient) -> None:
    """What a user writes on a card is text, in the page as in what open pages are sent."""
    async with live(client, "/board") as page:
        await client.post("/board/add", form={"title": '<b id="x">"bold"</b>'})

        sent = await page.fragment("board.columns")

    for html in (sent, await page_of(client)):
        assert "&lt;b id=&#34;x&#34;&gt;" in html
        assert "<b id=" not in html.replace('<b id="people">', "").replace('<b id="online">', "")


# -- in a browser --------------------------------------------------------------------------------


@pytest.mark.chromium  # the driver of Firefox drags nothing
@pytest.mark.browser
@pytest.mark.timeout(120)
async def test_card_is_dragged_while_somebody_else_writes(browser: Browser, forum: Server) -> None:
    """A dragged card lands where it was dropped, in every window; what is being typed stays."""
    async with visit(browser, forum, "/board") as mover, visit(browser, forum, "/board") as writer:
        await writer.fill("#card-title", "Half a thou")

        await mover.drag_and_drop(
            '.board-card:has-text("Write down who has")',
            '.board-card:has-text("Build a bench hook")',
            target_position={"x": 40, "y": 4},
        )

        for page in (mover, writer):
            await expect(page.locator("[data-stage=doing] .board-card-title")).to_have_text(
                [re.compile("Soldering"), re.compile("Write down"), re.compile("Build a bench")]
            )
        await expect(mover.locator(".is-before, .is-end, .is-dragged")).to_have_count(0)
        await expect(writer.locator("#card-title")).to_have_value("Half a thou")
        await expect(writer.locator("#card-title")).to_be_focused()
        await writer.keyboard.type("ght")
        await writer.keyboard.press("Enter")
        await expect(mover.locator("[data-stage=todo] li").last).to_contain_text("Half a thought")
        await expect(writer.locator("#card-title")).to_have_value("")


@pytest.mark.browser
@pytest.mark.timeout(120)
async def test_card_is_moved_with_the_keyboard_alone(browser: Browser, forum: Server) -> None:
    """The focus goes with the card from press to press, even where a button leads nowhere."""
    async with visit(browser, forum, "/board") as page:
        card = page.locator(".board-card", has_text="Write down who has")
        await card.get_by_role("button", name="Move to “Doing”").focus()

        for stage in ("doing", "done", "done"):
            await page.keyboard.press("Enter")
            moved = page.locator(f"[data-stage={stage}] .board-card", has_text="Write down who has")
            await expect(moved.locator("[id$=-right]")).to_be_focused()

        await expect(moved.locator("[id$=-right]")).to_have_attribute("aria-disabled", "true")


@pytest.mark.browser
@pytest.mark.timeout(120)
async def test_board_shows_who_is_there_and_who_has_what(browser: Browser, tmp_path: Path) -> None:
    """People at the board are seen by the others, and so is what they take."""
    async with (
        serve_forum(2, tmp_path) as forum,
        visit(browser, forum, "/board") as guest,
        visit(browser, forum) as mira,
    ):
        await sign_in(mira, forum, "mira", "/board")
        await expect(guest.locator("#people")).to_have_text("2")
        await expect(guest.locator(".avatars")).to_have_attribute("title", "mira")

        await mira.click('.board-card:has-text("Write down who has") >> text="Take it"')

        taken = guest.locator(".board-card", has_text="Write down who has")
        await expect(taken.locator(".owner")).to_contain_text("mira")
        await guest.click('.board-card:has-text("Varnish") >> text="Take it"')
        await expect(guest).to_have_url(re.compile(r"/sign-in\?next=/board$"))
