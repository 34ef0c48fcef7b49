"""The answers of the gate to clients that request a stream."""

from httpx_sse import ServerSentEvent
from quart.testing import QuartClient

from tests.support.streams import connect_urls, open_stream


async def signed(client: QuartClient, *topics: str) -> str:
    """Return the stream's URL of a page that shows topics without parameters."""
    query = "&".join(f"topic={topic}" for topic in topics)
    answer = await client.get(f"/page?{query}")
    assert answer.status_code == 200
    (url,) = connect_urls(await answer.get_data(as_text=True))
    return url


async def connect(
    client: QuartClient, url: str, headers: dict[str, str] | None = None
) -> ServerSentEvent:
    """Return the first event of a stream: ``sse-open``, or what tells that there is none."""
    async with open_stream(client, url, headers) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        first = await stream.next()
        if first.event != "sse-open":
            assert await stream.rest() == []
        return first


async def verdict(client: QuartClient, url: str, **headers: str) -> str:
    """Return "open", or the name and reason of the refusal."""
    first = await connect(client, url, headers)
    return "open" if first.event == "sse-open" else f"{first.event} {first.data}"
