"""The pages and the forms. Every form also works without JavaScript: it redirects back."""

from urllib.parse import urlsplit

from quart import Blueprint, Response, abort, redirect, render_template, request, url_for
from quart.typing import ResponseReturnValue

from example import live
from example.chart import SPANS
from example.models import Discussion, Unread
from example.people import ACCOUNTS, may_read, sign_in, sign_out, signed_in_as, voter
from example.store import store

pages = Blueprint("pages", __name__)

MAX_CHARACTERS = 2000  # of a comment


@pages.get("/")
async def front() -> str:
    return await render_template("front.html")


@pages.get("/dashboard")
async def dashboard() -> str:
    span = request.args.get("span", "hour")
    if span not in SPANS:
        abort(404)
    return await render_template("dashboard.html", span=span, spans=SPANS)


@pages.get("/discussion/<int:discussion_id>")
async def discussion(discussion_id: int) -> str:
    where = await find(discussion_id)
    # Before the first vote: the button is fetched again as soon as a vote is saved, and that may be
    # before the answer to the vote has brought the cookie that tells whose it is.
    voter(remember=True)
    if person := signed_in_as():
        await store().mark_seen(person.nickname, discussion_id)
        # Before the page is painted, so that its own header is right too.
        await live.replies_seen(person.nickname)
    return await discussion_page(where)


@pages.post("/discussion/<int:discussion_id>/comments")
async def add_comment(discussion_id: int) -> ResponseReturnValue:
    where = await find(discussion_id)
    # Browsers send line ends as CRLF but count each as one character.
    text = (await request.form).get("text", "").replace("\r\n", "\n").strip()
    problem = None
    if not text:
        problem = "Write something first."
    elif len(text) > MAX_CHARACTERS:
        problem = f"That is {len(text)} characters; {MAX_CHARACTERS} is the most."

    if problem is None:
        person = signed_in_as()
        author = person.nickname if person else None
        comment = await store().add_comment(discussion_id, author, text)
        await live.comment_added(where, comment)
        if not by_htmx():
            anchor = f"comment-{comment.id}"
            return redirect(url_for(".discussion", discussion_id=where.id, _anchor=anchor), 303)
        text = ""  # the answer is an empty form again

    if by_htmx():
        # The comment itself reaches this page as it reaches all others: by the refresh.
        return await render_template(
            "_comment_form.html",
            discussion=where,
            text=text,
            problem=problem,
            answer=True,
            max_characters=MAX_CHARACTERS,
        )
    return await discussion_page(where, text=text, problem=problem), 422


@pages.post("/discussion/<int:discussion_id>/vote")
async def vote(discussion_id: int) -> ResponseReturnValue:
    where = await find(discussion_id)
    by = voter(remember=True)
    assert by is not None
    await store().set_vote(discussion_id, by, up=(await request.form).get("up") == "1")
    await live.vote_changed(where)
    if by_htmx():
        return await live.render_vote_button(discussion_id)
    return redirect(url_for(".discussion", discussion_id=where.id), 303)


@pages.get("/replies")
async def newest_reply() -> ResponseReturnValue:
    """Redirect to the newest unread reply of the current user.

    A link to the comment itself would stay on the page if that is the discussion already open, and
    the reply would never count as seen.
    """
    person = signed_in_as()
    unread = await store().unread(person.nickname) if person else Unread(0)
    if not unread.count:
        return redirect(url_for(".front"), 303)
    anchor = f"comment-{unread.comment_id}"
    return redirect(url_for(".discussion", discussion_id=unread.discussion_id, _anchor=anchor), 303)


@pages.get("/sign-in")
async def sign_in_page() -> str:
    return await render_template(
        "sign_in.html", accounts=ACCOUNTS.values(), next=local(request.args.get("next", "/"))
    )


@pages.post("/sign-in")
async def sign_in_form() -> ResponseReturnValue:
    form = await request.form
    person = ACCOUNTS.get(form.get("nickname", ""))
    if person is None:
        abort(400)
    sign_in(person)
    return redirect(local(form.get("next", "/")), 303)


@pages.post("/sign-out")
async def sign_out_form() -> ResponseReturnValue:
    # Other tabs of this browser have streams of what only this person may see.
    await live.sse.logout()
    sign_out()
    return redirect(url_for(".front"), 303)


async def find(discussion_id: int) -> Discussion:
    """Return the discussion, or answer 404 or 403."""
    found = await store().discussion(discussion_id)
    if found is None:
        abort(404)
    if not may_read(found.moderators_only):
        abort(403)
    return found


async def discussion_page(where: Discussion, text: str = "", problem: str | None = None) -> str:
    return await render_template(
        "discussion.html",
        discussion=where,
        text=text,
        problem=problem,
        max_characters=MAX_CHARACTERS,
    )


def by_htmx() -> bool:
    return "HX-Request" in request.headers


def go(url: str) -> ResponseReturnValue:
    """Redirect to another page; htmx would swap the target of a plain redirect into this one."""
    return Response(status=204, headers={"HX-Redirect": url}) if by_htmx() else redirect(url, 303)


def number(text: str) -> int:
    """Read an id that came from outside, or answer 400."""
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        abort(400)
    return int(text)


def local(url: str) -> str:
    """Return `url` if it is a path of this site, else the front page: it comes from outside."""
    parts = urlsplit(url)
    is_path = url.startswith("/") and not parts.scheme and not parts.netloc and "\\" not in url
    return url if is_path else url_for(".front")
