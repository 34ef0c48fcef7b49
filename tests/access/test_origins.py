"""Pages of other origins, and hosts that are not the app's."""

import pytest
from quart import Quart, Response
from quart.testing import QuartClient

from quart_sse import SSE
from tests.support.streams import open_stream

EVIL = {"Host": "evil.example:5000", "Origin": "http://evil.example:5000"}
OWN = {"Host": "shop.example", "Origin": "https://shop.example"}
IS_SAME = {"Sec-Fetch-Site": "same-origin"}

CONFIGS: dict[str, dict[str, object]] = {
    "base URL": {"QUART_SSE_BASE_URL": "https://shop.example/app"},
    "trusted hosts": {"TRUSTED_HOSTS": ["shop.example", ".friends.example"]},
}


async def status(
    headers: dict[str, str], config: dict[str, object], path: str = "/sse/news"
) -> int:
    """Return how a request is answered."""
    app = Quart(__name__)
    app.config.update(config)
    sse = SSE(app)
    news = sse.channel("news", "/news", public=True)
    news.fragment("list")(lambda: "list")

    @app.get("/own")
    async def own() -> Response:
        return await sse.stream(news.topic())

    client = QuartClient(app)
    async with open_stream(client, path, headers) as stream:
        return stream.status


PATHS = ["/sse/news", "/sse?t=~news", "/own", "/sse/~/list/news"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("extra", [{}, IS_SAME], ids=["", "Sec-Fetch-Site"])
async def test_rebound_name_is_another_origin(
    path: str, config: str, extra: dict[str, str]
) -> None:
    """A page whose ``Host`` and ``Origin`` agree with each other, and not with the app, is none."""
    assert await status({**EVIL, **extra}, CONFIGS[config], path) == 403
    assert await status({**OWN, **extra}, CONFIGS[config], path) == 200


@pytest.mark.parametrize("path", PATHS)
async def test_host_that_is_not_trusted_is_refused(path: str) -> None:
    """With ``TRUSTED_HOSTS`` the host counts also where the browser sends no origin."""
    config = CONFIGS["trusted hosts"]

    assert await status({"Host": "evil.example", **IS_SAME}, config, path) == 403
    assert await status({"Host": "shop.example", **IS_SAME}, config, path) == 200
    assert await status({"Host": "a.friends.example:8000"}, config, path) == 200


@pytest.mark.parametrize("origin", ["https://a.friends.example", "https://shop.example:8443"])
async def test_trusted_host_is_no_origin_of_pages_of_another(origin: str) -> None:
    """Where the browser does not say so, a page of another name or port is not the app's own."""
    config, headers = CONFIGS["trusted hosts"], {**OWN, "Origin": origin}

    assert await status(headers, config) == 403
    assert await status({**headers, **IS_SAME}, config) == 200
    assert await status({**headers, "Host": origin.partition("//")[2]}, config) == 200


async def test_server_name_is_the_app_s_own_host() -> None:
    """An origin that is the ``Host`` of a request, but not ``SERVER_NAME``, is another one."""
    config: dict[str, object] = {"SERVER_NAME": "shop.example"}

    assert await status(OWN, config) == 200
    assert await status({"Host": "shop.example", "Origin": "http://shop.example:80"}, config) == 200
    assert await status({"Host": "shop.example", "Origin": "http://evil.example"}, config) == 403


@pytest.mark.parametrize(
    ("origin", "is_own"),
    [
        ("https://shop.example:443", True),
        ("https://SHOP.example", True),
        ("https://shop.example:8443", False),
        ("https://shop.example.evil.example", False),
        ("http://[", False),
        ("null", False),
    ],
)
async def test_origin_is_compared_with_its_port(origin: str, is_own: bool) -> None:
    """The port that a scheme has anyway makes no difference; any other does."""
    headers = {"Host": "127.0.0.1:8000", "Origin": origin}

    assert (await status(headers, CONFIGS["base URL"]) == 200) is is_own


async def test_proxy_that_hides_the_host_keeps_pages_live() -> None:
    """Behind a proxy that sends its own ``Host`` the browser's word and the base URL decide."""
    headers = {"Host": "127.0.0.1:8000", **IS_SAME}

    assert await status(headers, {}) == 200
    assert await status({**headers, "Origin": "https://shop.example"}, {}) == 200
    assert await status(headers, CONFIGS["base URL"]) == 200
