"""Views: what each page shows of the app."""

import pytest

from quart_sse import BrokerUnavailable
from tests.support.operators import Operator
from tests.support.sites import Site


async def test_topic_shows_who_is_there_and_what_came(shop: Site, operator: Operator) -> None:
    """People, viewers, renders, and events with a chart of when they came."""

    async def people(room: int) -> str:
        return "<b>5</b>"

    shop.rooms.fragment("people")(people)
    hub = shop.app.extensions["quart_sse"].hub
    async with shop.view(1, who="ada"), shop.view(1, who="ada"), shop.view(1):
        await hub.render_now("rooms?room=1", hub._declared.spec("rooms?room=1", "people"))
        await shop.room(1).publish("moved", {"x": 7})
        html = await operator.look("/topic?name=rooms%3Froom%3D1")

    assert "<b>3</b>" in html
    assert "ada" in html
    assert "\N{MULTIPLICATION SIGN}2" in html
    assert "&#34;x&#34;: 7" in html or "&#34;x&#34;:7" in html
    assert 'aria-label="Events: 1 in 5 s now, at most 1 in the last 2 minutes"' in html
    assert 'id="render-people-rooms?room=1"' in html


async def test_names_that_are_no_topics_are_said_to_be_none(operator: Operator) -> None:
    """Instead of an error."""
    for page in ("/topic?name=nothing%3Fx%3D1", "/topic", "/messages?topic=nothing"):
        assert "No channel has a topic" in await operator.look(page)
    assert "is not open" in await operator.look("/connection?id=nothing")


async def test_messages_are_the_newest_of_all_topics(shop: Site, operator: Operator) -> None:
    """And of everyone, in their order; or of the one that is named."""
    async with shop.view(1, 2):
        await shop.room(1).publish("first", 1)
        await shop.sse.everyone.publish("second", 2)
        await shop.room(2).publish("third", 3)
        html = await operator.look("/messages")
        one = await operator.look("/messages?topic=rooms%3Froom%3D2")

    assert html.index("<b>third</b>") < html.index("<b>second</b>") < html.index("<b>first</b>")
    assert "<b>third</b>" in one
    assert "<b>first</b>" not in one


async def test_refreshes_are_among_the_messages_while_somebody_looks(
    shops: tuple[Site, Site],
) -> None:
    """Of all processes, and one that both have received once."""
    here, there = shops
    for site in shops:
        site.rooms.fragment("list")(lambda room: "")
    operator = Operator(here)
    async with here.view(1), there.view(1), there.view(2):
        assert "refresh</span>" not in await operator.look("/messages")
        await here.room(1).refresh("list")
        await there.room(2).refresh("list")
        await there.room(1).publish("paid", 5)
        html = ""
        while html.count("refresh</span>") < 2:  # they come over Redis
            html = await operator.look("/messages")

    assert html.count("refresh</span>") == 2
    assert html.count("<b>paid</b>") == 1


async def test_limits_refusals_and_failed_renders_are_on_the_overview() -> None:
    """With the setting that was met."""
    site = Site("memory://", max_connections=1)
    from tests.support.operators import may_inspect
    from tests.support.sites import serving

    site.sse.inspector(authorize=may_inspect)
    async with serving(site), site.view(1):
        client = site.client()
        answer = await client.get("/sse/news", headers={"Accept": "text/event-stream"})
        assert b"sse-holdoff" in await answer.get_data()
        html = await Operator(site).look()

    assert "process full" in html
    assert "overloaded" in html
    assert 'aria-label="1 of 1"' in html


async def test_pages_are_shown_while_the_broker_is_away(
    shop: Site, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The overview has the figures of this process, the others say what is wrong."""

    async def away(*args: object, **named: object) -> None:
        raise BrokerUnavailable("gone for tea")

    survey = shop.app.extensions["quart_sse"].survey
    monkeypatch.setattr(survey, "_ask", away)
    async with shop.view(1):
        assert "<b>1</b>" in await operator.look()
        assert "gone for tea" in await operator.look("/connections")
