"""Kept events: what a history gives back, and to whom."""

from tests.support.sites import Site


async def test_history_is_for_anyone(site: Site) -> None:
    """What was for some only is left out, unless it is asked for by their metadata."""
    room = site.room()
    await room.publish("said", "all")
    await room.publish("said", "staff", where={"role": ["admin", "editor"]})
    await room.publish("said", "others", exclude="someone")

    for metadata, expected in (
        (None, ["all", "others"]),
        ({"role": "guest"}, ["all", "others"]),
        ({"role": "editor"}, ["all", "staff", "others"]),
    ):
        events = await room.history(metadata=metadata)
        assert [event.data for event in events] == expected
    assert [event.data for event in await room.history(limit=2)] == ["all", "others"]


async def test_reload_is_no_event_of_the_app(site: Site) -> None:
    """What a page is asked to do is not among a user's events."""
    await site.sse.user("ada").reload()
    await site.sse.user("ada").publish("saved", 1)

    assert [event.name for event in await site.sse.user("ada").history()] == ["saved"]
