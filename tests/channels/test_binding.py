"""The binding: topics and other targets of one app work with its own services."""

from quart import Quart

from quart_sse import SSE


async def test_targets_belong_to_the_current_app() -> None:
    """One SSE object may serve several apps, of which each has its own broker."""
    sse = SSE()
    news = sse.channel("news", "/news", public=True)
    apps = [Quart("one"), Quart("two")]
    for app in apps:
        sse.init_app(app)
    found = []
    for app in apps:
        async with app.app_context():
            await sse.everyone.publish("x", app.name)
            await news.topic().publish("y", app.name)
            kept = [*await sse.everyone.history(), *await news.topic().history()]
            found.append([event.data for event in kept])
            assert sse.user("ada") != news.everyone

    assert found == [["one", "one"], ["two", "two"]]
