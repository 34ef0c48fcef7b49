"""The live part: channels, their fragments, and the refreshes after a change.

The rest of the example is a plain Quart application.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from quart import current_app, render_template, url_for

from example.chart import SPANS, draw
from example.models import Comment, CommentAdded, Discussion
from example.people import may_read, signed_in_as, voter
from example.store import store
from quart_sse import SSE, BrokerUnavailable

sse = SSE()


@sse.identity
def identity() -> str | None:
    """Return the current user's identity, for which alone the tokens of a page are good."""
    person = signed_in_as()
    return person.nickname if person else None


@sse.metadata
def metadata() -> dict[str, str] | None:
    """Return the current user's role, by which `lounge.py` chooses who is sent an event."""
    person = signed_in_as()
    if person is None:
        return None
    return {"role": "moderator" if person.is_moderator else "member"}


# The forum as a whole: the front page, and the footer of every page. Public: every client may
# listen.

forum = sse.channel("forum", "/forum", public=True)


# `every` keeps "5 min ago" true; `debounce` bounds the work when the whole forum is busy.
@forum.fragment("discussions", every=60.0, debounce=0.5)
async def discussion_list() -> str:
    return await render_template("_discussions.html", discussions=await store().summaries())


@forum.fragment("people", presence=True)
async def people_online() -> str:
    return await render_template("_online.html", here=await forum.topic().presence())


# One discussion. `authorize` judges every client; the fragments are rendered once for all viewers,
# so they must not depend on the user.

discussion = sse.channel("discussion", "/discussion/<int:discussion_id>", presence=True)
comments = sse.channel("comments", "/discussion/<int:discussion_id>/comments")


@discussion.authorize
@comments.authorize
async def may_follow(discussion_id: int) -> bool:
    found = await store().discussion(discussion_id)
    return found is not None and may_read(found.moderators_only)


# A fragment is for pages; an event is for programs: `curl -N` the channel's URL to see it. The
# event refreshes the number of comments, so that one line says to both what has happened.
added = comments.event("comment-added", CommentAdded)


@comments.fragment("title", on=added)
async def comments_title(discussion_id: int) -> str:
    number = len(await store().comments(discussion_id))
    return await render_template("_comments_title.html", number=number)


# A list that grows: a new comment is rendered and sent alone, however many there are.
@comments.fragment("list", every=60.0)
async def comment_list(discussion_id: int) -> str:
    return await render_template("_comments.html", comments=await store().comments(discussion_id))


@comments.item("list")
async def one_comment(discussion_id: int, key: str) -> str | None:
    found = await store().comment(discussion_id, int(key))
    return await render_template("_comment.html", comment=found) if found else None


@discussion.fragment("votes")
async def vote_count(discussion_id: int) -> str:
    return await render_template("_votes.html", votes=await store().votes(discussion_id))


# Personal: whether the button gives or takes back a vote depends on the viewer, so each viewer
# fetches this fragment with their own cookies. The count beside it is shared by all viewers.
@discussion.fragment("vote_button", personal=True)
async def vote_button(discussion_id: int) -> str:
    return await render_vote_button(discussion_id)


async def render_vote_button(discussion_id: int) -> str:
    """Return the button for the current user."""
    by = voter()
    voted = by is not None and await store().has_voted(discussion_id, by)
    return await render_template("_vote_button.html", discussion_id=discussion_id, voted=voted)


# One topic per member: only the member may listen, and a refresh reaches only the member's tabs.

member = sse.channel("member", "/member/<nickname>")


@member.authorize
def is_me(nickname: str) -> bool:
    person = signed_in_as()
    return person is not None and person.nickname == nickname


@member.fragment("replies")
async def replies(nickname: str) -> str:
    return await render_template("_replies.html", unread=await store().unread(nickname))


# The dashboard. Users who join or leave the forum refresh no fragment of this channel, so the tiles
# are refreshed regularly.

dashboard = sse.channel("dashboard", "/dashboard", public=True)
activity = sse.channel("activity", "/dashboard/<any(hour, day):span>", public=True)


@dashboard.fragment("tiles", every=5.0)
async def tiles() -> str:
    now = time.time()
    happened = await store().activity(since=now - 86400)
    here = await forum.topic().presence()
    return await render_template("_tiles.html", happened=happened, now=now, here=here)


@dashboard.fragment("latest", every=60.0)
async def latest() -> str:
    happened = await store().activity(since=time.time() - 86400)
    written = [item for item in happened if item.kind == "comment"]
    return await render_template("_latest.html", happened=written[:4])


@dashboard.fragment("ranking")
async def ranking() -> str:
    happened = await store().activity(since=time.time() - 86400)
    votes = Counter((item.discussion_id, item.title) for item in happened if item.kind == "vote")
    return await render_template("_ranking.html", ranking=votes.most_common())


@activity.fragment("chart", every=5.0)
async def chart(span: str) -> str:
    period, now = SPANS[span], time.time()
    happened = await store().activity(since=now - period.bars * period.seconds)
    return await render_template("_chart.html", chart=draw(happened, period, now), period=period)


# Views call these after the commit, so that no page is refreshed for a change that may yet fail.


async def comment_added(where: Discussion, comment: Comment) -> None:
    topic = comments.topic(discussion_id=where.id)
    with telling():
        await topic.publish(added, CommentAdded(comment.id, comment.author, comment.text))
        await topic.refresh("list", item=comment.id)
        for nickname in await store().participants(where.id):
            if nickname != comment.author:
                await member.topic(nickname=nickname).refresh("replies")
                await notify_of(comment, where, nickname)
        await something_happened(where)


async def notify_of(comment: Comment, where: Discussion, nickname: str) -> None:
    """Notify a user who takes part, in whatever page, or in the next one."""
    await sse.user(nickname).notify(
        f"{comment.author or 'A guest'} has written in “{where.title}”.",
        title="New reply",
        data={"url": url_for("pages.newest_reply")},
        id=f"comment:{comment.id}",
    )


async def vote_changed(where: Discussion) -> None:
    with telling():
        await discussion.topic(discussion_id=where.id).refresh("votes", "vote_button")
        await something_happened(where)


async def replies_seen(nickname: str) -> None:
    with telling():
        await member.topic(nickname=nickname).refresh("replies")


async def something_happened(where: Discussion) -> None:
    # Public pages say nothing about the moderators' room, not even when it is busy.
    if where.moderators_only:
        return
    await forum.topic().refresh("discussions")
    await dashboard.topic().refresh()  # all of it
    for span in SPANS:
        await activity.topic(span=span).refresh("chart")


@contextmanager
def telling() -> Iterator[None]:
    """Let a saved change succeed even if the broker is unavailable and open pages stay old."""
    try:
        yield
    except BrokerUnavailable:
        current_app.logger.warning("Saved; but the broker is away, so open pages were not told.")
