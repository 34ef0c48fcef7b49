"""The board: a channel whose cards all users move at once."""

from quart import Blueprint, abort, redirect, render_template, request, url_for
from quart.typing import ResponseReturnValue

from example.cards import MAX_CARDS, STAGES, Cards
from example.live import sse, telling
from example.people import signed_in_as
from example.store import store
from example.views import by_htmx, go, number

pages = Blueprint("board", __name__, url_prefix="/board")

MAX_CHARACTERS = 120  # of a card's title

board = sse.channel("board", "/board", public=True)


# One fragment for all columns, so that no page ever shows a card in two of them, or in none.
@board.fragment("columns")
async def columns() -> str:
    return await render_template("_columns.html", stages=STAGES, cards=await cards().by_stage())


@board.fragment("people", presence=True)
async def people_at_the_board() -> str:
    return await render_template("_board_people.html", here=await board.topic().presence())


@pages.get("")
async def page() -> str:
    return await board_page()


# Each form sends the result, not the change, so a form that is sent twice or from an old page does
# no harm. The response is empty: the refresh reaches this page as it reaches all others.


@pages.post("/add")
async def add() -> ResponseReturnValue:
    title = " ".join((await request.form).get("title", "").split())
    problem = None
    if not title:
        problem = "Say what there is to do."
    elif len(title) > MAX_CHARACTERS:
        problem = f"That is {len(title)} characters; {MAX_CHARACTERS} is the most."
    elif await cards().add(title) is None:
        problem = f"There are {MAX_CARDS} cards on the board. Finish something first."
    else:
        await columns_changed()
        if not by_htmx():
            return redirect(url_for(".page"), 303)
        title = ""  # the answer is an empty form again

    if by_htmx():
        return await render_template("_card_form.html", **form(title, problem), answer=True)
    return await board_page(title, problem), 422


@pages.post("/move")
async def move() -> ResponseReturnValue:
    """Move a card to what `to` says: "doing" is the end of that column, "doing:7" before card 7."""
    card_id, sent = await card_form()
    stage, _, before = sent.get("to", "").partition(":")
    if stage not in STAGES:
        abort(400)
    await cards().move(card_id, stage, number(before) if before else None)
    return await changed()


@pages.post("/take")
async def take() -> ResponseReturnValue:
    card_id, _ = await card_form()
    person = signed_in_as()
    if person is None:
        return go(url_for("pages.sign_in_page", next=url_for(".page")))
    await cards().take(card_id, person.nickname)
    return await changed()


@pages.post("/release")
async def release() -> ResponseReturnValue:
    """Release a card from the owner that the page shows; every user may do so."""
    card_id, sent = await card_form()
    await cards().release(card_id, sent.get("owner", ""))
    return await changed()


@pages.post("/remove")
async def remove() -> ResponseReturnValue:
    card_id, _ = await card_form()
    await cards().remove(card_id)
    return await changed()


def cards() -> Cards:
    return Cards(store())


async def board_page(title: str = "", problem: str | None = None) -> str:
    return await render_template("board.html", **form(title, problem))


def form(title: str, problem: str | None) -> dict[str, object]:
    return {"title": title, "problem": problem, "max_characters": MAX_CHARACTERS}


async def card_form() -> tuple[int, dict[str, str]]:
    """Return the card that a form is about, and the form."""
    sent = (await request.form).to_dict()
    return number(sent.get("card", "")), sent


async def changed() -> ResponseReturnValue:
    await columns_changed()
    return ("", 204) if by_htmx() else redirect(url_for(".page"), 303)


async def columns_changed() -> None:
    with telling():
        await board.topic().refresh("columns")
