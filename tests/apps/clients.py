"""An app for clients that no page has: a public channel, which can be closed, and who has asked."""

from collections import Counter

from quart import Quart, request

from quart_sse import SSE

app = Quart(__name__)
app.secret_key = "for tests only"
app.config["QUART_SSE_RETRY"] = 0.3
sse = SSE(app)
news = sse.channel("news", "/news", public=True, heartbeat=0.5)
asked: Counter[str] = Counter()


@app.before_request
def count() -> None:
    """Count requests for streams by the client's name."""
    if name := request.args.get("client"):
        asked[name] += 1


@app.get("/")
async def page() -> str:
    """Return a page without any script."""
    return "<!doctype html><title>plain</title>"


@app.get("/asked")
async def who_asked() -> dict[str, int]:
    """Tell how often each client has asked."""
    return dict(asked)


@app.post("/publish/<text>")
async def publish(text: str) -> dict[str, int]:
    """Publish an event."""
    await news.topic().publish("said", {"text": text})
    return {}


@app.post("/end")
async def end() -> dict[str, int]:
    """Close the topic: each stream has no other, so it is over for good."""
    await news.topic().close()
    return {}
