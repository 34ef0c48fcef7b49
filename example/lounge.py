"""The lounge: a chat whose moderators see every connection, send notes to one, and end them.

The list works over all processes, and so do notes and endings: connections are data of the process
that has them (`sse.processes`), and are reached by their ids (`sse.send`, `sse.close`).
"""

import math
import time
from collections.abc import Iterable, Mapping
from itertools import groupby

from quart import Blueprint, abort, current_app, render_template, request, url_for
from quart.typing import ResponseReturnValue

from example.live import sse, telling
from example.people import ACCOUNTS, Person, signed_in_as
from example.store import store
from example.talk import MAX_LINES, Talk
from example.views import by_htmx, go, number
from quart_sse import BrokerUnavailable, ConnectionHandle, ConnectionInfo, Ending, Topic

pages = Blueprint("lounge", __name__, url_prefix="/lounge")

MAX_CHARACTERS = 300  # of a line, and of a note

#: What a User-Agent contains -> the browser's name; the first match counts.
BROWSERS = {
    "Edg/": "Edge",
    "OPR/": "Opera",
    "Firefox/": "Firefox",
    "Chrome/": "Chrome",
    "Safari/": "Safari",
}

lounge = sse.channel("lounge", "/lounge")


@lounge.authorize
async def may_enter() -> bool:
    person = signed_in_as()
    return person is not None and await talk().find_outside(person.nickname) is None


@lounge.fragment("lines", every=60.0)
async def lines() -> str:
    return await render_template("_lines.html", lines=await talk().lines())


@lounge.item("lines", keep=MAX_LINES)
async def one_line(key: str) -> str | None:
    line = await talk().find(int(key))
    return await render_template("_line.html", line=line) if line else None


@lounge.fragment("people", presence=True)
async def people_in_the_lounge() -> str:
    return await render_template("_board_people.html", here=await lounge.topic().presence())


# The moderators' desk is a channel of its own, because `authorize` is for a whole channel.

desk = sse.channel("desk", "/lounge/desk")


@desk.authorize
def may_moderate() -> bool:
    person = signed_in_as()
    return person is not None and person.is_moderator


# Each render asks all processes, hence `debounce`. `every` is for those that were killed, whose
# connections end without a hook.
@desk.fragment("people", every=30.0, debounce=0.3)
async def connected_people() -> str:
    found = await sse.processes.connections(channel=lounge)
    return await render_template(
        "_desk_people.html",
        people=by_person(found),
        processes=len({info.process for info in found}),
        silent=len(found.silent),
    )


@desk.fragment("outside", every=30.0)
async def people_outside() -> str:
    return await render_template("_desk_outside.html", outside=await talk().outside())


@lounge.on_connect
async def entered(connection: ConnectionHandle, topic: Topic) -> None:
    await desk_changed()


@lounge.on_disconnect
async def left(connection: ConnectionHandle, topic: Topic, ending: Ending | None) -> None:
    await desk_changed()


async def desk_changed() -> None:
    with telling():
        await desk.topic().refresh()


async def line_changed(line_id: int) -> None:
    with telling():
        await lounge.topic().refresh("lines", item=line_id)


async def reports_changed() -> None:
    # All in the lounge listen to this topic, and moderators alone are sent the event.
    with telling():
        await lounge.topic().publish("reports-changed", where={"role": "moderator"})


@pages.get("")
async def page() -> ResponseReturnValue:
    if signed_in_as() is None:
        return go(url_for("pages.sign_in_page", next=url_for(".page")))
    return await lounge_page()


@pages.post("/say")
async def say() -> ResponseReturnValue:
    person = signed_in_as()
    if person is None or not await may_enter():
        return go(url_for(".page"))  # which says why
    text, problem = await read_text()
    if problem is None:
        await line_changed(await talk().say(person.nickname, text))
        if not by_htmx():
            return go(url_for(".page"))
        text = ""  # the answer is an empty form again

    if by_htmx():
        return await render_template("_say_form.html", **form(text, problem), answer=True)
    return await lounge_page(text, problem), 422


@pages.post("/report")
async def report() -> ResponseReturnValue:
    person = signed_in_as()
    if person is None or not await may_enter():
        return go(url_for(".page"))
    await talk().report(number((await request.form).get("line", "")), person.nickname)
    await reports_changed()
    return "Reported to the moderators." if by_htmx() else go(url_for(".page"))


# What only moderators may see or do; each view asks.


@pages.get("/reports")
async def reports() -> str:
    moderator()
    return await render_template("_reports.html", reported=await talk().reported())


@pages.post("/reports")
async def settle() -> ResponseReturnValue:
    moderator()
    sent = await request.form
    line_id = number(sent.get("line", ""))
    if sent.get("do") == "remove":
        await talk().remove(line_id)
        await line_changed(line_id)
    else:
        await talk().keep(line_id)
    await reports_changed()
    return ("", 204) if by_htmx() else go(url_for(".page"))


@pages.post("/let-in")
async def let_in() -> ResponseReturnValue:
    moderator()
    await talk().let_in((await request.form).get("nickname", ""))
    await desk_changed()
    return ("", 204) if by_htmx() else go(url_for(".page"))


@pages.post("/desk")
async def act() -> ResponseReturnValue:
    """Send a note to the chosen connection, or send its user out."""
    by = moderator()
    sent = await request.form
    do = sent.get("do", "")
    if do not in ("note", "pause", "end"):
        abort(400)
    text, note_problem = await read_text() if do == "note" else ("", None)
    problem = done = None
    try:
        chosen = await find_connection(sent.get("connection", ""))
        if chosen is None:
            problem = "Choose a connection above; one that you chose may have ended."
        elif note_problem is not None:
            problem = note_problem
        elif do == "note":
            done = await send_note(chosen, by, text)
        elif ACCOUNTS[str(chosen.identity)].is_moderator:
            problem = "Moderators cannot be sent out."
        else:
            pause = current_app.config["EXAMPLE_PAUSE_SECONDS"] if do == "pause" else None
            done = await send_out(str(chosen.identity), by, pause)
    except BrokerUnavailable:
        problem = "Not every process has answered. Try again."

    answer = {"note": text if problem else "", "desk_problem": problem, "desk_done": done}
    if by_htmx():
        return await render_template("_desk_form.html", **form(), **answer)
    return await lounge_page(answer=answer), 422 if problem else 200


async def send_note(to: ConnectionInfo, by: Person, text: str) -> str:
    """Send a note to one connection of any process; return what happened."""
    if await sse.send(to.id, "note", {"by": by.nickname, "text": text}):
        return f"{to.identity} has your note."
    return f"{to.identity} has just left, without your note."


async def send_out(nickname: str, by: Person, seconds: float | None) -> str:
    """Keep a user out, and end all of the user's connections that are in the lounge."""
    # First the right, then the streams: the clients are judged again when they come back.
    await talk().send_out(nickname, by.nickname, seconds)
    found = await sse.processes.connections(channel=lounge, identity=nickname)
    for info in found:
        await sse.send(info.id, "sent-out")  # the page fetches what it now shows
        await sse.close(info.id, retry=seconds)
    await desk_changed()
    if found.silent:
        return f"{nickname} is out, but for streams of processes that have not answered."
    return f"{nickname} is out {'for good' if seconds is None else 'for a minute'}."


async def find_connection(connection_id: str) -> ConnectionInfo | None:
    """Return a connection in the lounge, of any process."""
    found = await sse.processes.connections(channel=lounge)
    return next((info for info in found if info.id == connection_id), None)


def by_person(found: Iterable[ConnectionInfo]) -> dict[str, list[ConnectionInfo]]:
    """Return nickname -> the user's connections, oldest first."""
    ordered = sorted(found, key=lambda info: (str(info.identity), info.connected_at))
    return {name: [*infos] for name, infos in groupby(ordered, lambda info: str(info.identity))}


def moderator() -> Person:
    """Return the current user, who must be a moderator, or answer 403."""
    person = signed_in_as()
    if person is None or not person.is_moderator:
        abort(403)
    return person


def talk() -> Talk:
    return Talk(store())


async def lounge_page(
    text: str = "", problem: str | None = None, answer: Mapping[str, object] | None = None
) -> str:
    """Return the page, or for htmx the part of it that changes when its user is sent out."""
    person = signed_in_as()
    assert person is not None
    return await render_template(
        "_room.html" if by_htmx() else "lounge.html",
        out=await talk().find_outside(person.nickname),
        reported=await talk().reported() if person.is_moderator else [],
        **form(text, problem),
        **(answer or {}),
    )


def form(text: str = "", problem: str | None = None) -> dict[str, object]:
    return {"text": text, "problem": problem, "max_characters": MAX_CHARACTERS}


async def read_text() -> tuple[str, str | None]:
    """Return the text that was sent, and what is wrong with it."""
    text = " ".join((await request.form).get("text", "").split())
    if not text:
        return text, "Write something first."
    if len(text) > MAX_CHARACTERS:
        return text, f"That is {len(text)} characters; {MAX_CHARACTERS} is the most."
    return text, None


@pages.app_template_filter("browser")
def browser(user_agent: str) -> str:
    """Return the name of the browser, as far as it says it."""
    return next((name for mark, name in BROWSERS.items() if mark in user_agent), "Another program")


@pages.app_template_filter("seconds_until")
def seconds_until(then: float) -> int:
    """Return the whole seconds after which a moment is past."""
    return max(math.floor(then - time.time()) + 1, 1)
