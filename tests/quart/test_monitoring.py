"""The endpoint of figures: off by default, guarded, and healthy or not."""

import json
from typing import Any

import pytest
from quart import abort, request
from quart.testing import QuartClient
from werkzeug.datastructures import Headers

from quart_sse import SSE, DeclarationError
from tests.support.redis_server import RedisServer
from tests.support.sites import Site, serving
from tests.support.streams import until

URL = "/sse/~stats"
KEY = {"Authorization": "Bearer secret"}


def may_read() -> bool:
    """Allow those that have the key."""
    return request.headers.get("Authorization") == "Bearer secret"


async def read(
    site: Site, url: str = URL, headers: dict[str, str] = KEY
) -> tuple[int, dict[str, Any], Headers]:
    """Return status, answer and headers."""
    answer = await QuartClient(site.app).get(url, headers=headers)
    return answer.status_code, json.loads(await answer.get_data()), answer.headers


async def test_there_is_no_endpoint_by_default(site: Site) -> None:
    """Nor does anything say that there could be one."""
    assert (await site.client().get(URL, headers=KEY)).status_code == 404


async def test_figures_are_those_of_the_process(site: Site) -> None:
    """As JSON, which no cache keeps."""
    site.sse.stats_endpoint(authorize=may_read)
    async with site.view(1, who="ada"), site.view(2):
        status, told, headers = await read(site)

    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert headers["Cache-Control"] == "no-store"
    assert (told["healthy"], told["broker"]) == (True, "ready")
    assert (told["connections"], told["opened"]) == (2, 2)
    assert told["top_identities"] == {"ada": 1}
    assert told["lag"]["number"] == 0


async def test_figures_of_all_processes(sites: tuple[Site, Site]) -> None:
    """Added up, with the processes that did not answer."""
    here, there = sites
    here.sse.stats_endpoint(authorize=may_read)
    async with here.view(1, who="ada"), there.view(1, who="ada"):
        _, one, _ = await read(here, f"{URL}?processes=one")
        status, both, _ = await read(here, f"{URL}?processes=all")

    assert (one["processes"], one["connections"]) == (1, 1)
    assert (status, both["processes"], both["connections"], both["silent"]) == (200, 2, 2, [])
    assert both["top_identities"] == {"ada": 2}


async def test_no_function_refuses_everybody(site: Site) -> None:
    """To open it, one must be written."""
    site.sse.stats_endpoint()

    status, told, headers = await read(site)

    assert (status, told["type"]) == (403, "urn:quart-sse:refused")
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Cache-Control"] == "no-store"
    assert "connections" not in told


@pytest.mark.parametrize("answer", [False, None, "abort", "yes", "raise"])
async def test_refusals(site: Site, answer: object, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is not True refuses; what is no answer is an error in the log."""

    async def decide() -> object:
        if answer == "abort":
            abort(401)
        if answer == "raise":
            raise LookupError("no such key")
        return answer

    site.sse.stats_endpoint(authorize=decide)

    status, told, _ = await read(site)

    assert (status, told["title"]) == (403, "Refused")
    assert ("the request is refused" in caplog.text) is (answer in ("yes", "raise"))


async def test_pages_of_other_origins_are_refused(site: Site) -> None:
    """Whatever cookies they bring."""
    site.sse.stats_endpoint(authorize=lambda: True)

    status, told, _ = await read(site, headers={"Sec-Fetch-Site": "cross-site", "Origin": "null"})

    assert (status, told["type"]) == (403, "urn:quart-sse:origin")


async def test_unknown_choice_is_an_error(site: Site) -> None:
    """It names what there is."""
    site.sse.stats_endpoint(authorize=may_read)

    status, told, _ = await read(site, f"{URL}?processes=some")

    assert (status, told["detail"]) == (422, "processes is 'some'. Use one or all.")


async def test_process_whose_broker_is_away_is_not_healthy(redis: RedisServer) -> None:
    """With the figures that it has; those of all processes cannot be asked for."""
    site = Site(redis.url)
    site.sse.stats_endpoint(authorize=may_read)
    async with serving(site):
        assert (await read(site))[0] == 200
        await redis.kill()
        await until(lambda: site.sse.stats().broker == "away")
        status, told, headers = await read(site)
        all_status, problem, _ = await read(site, f"{URL}?processes=all")
        await redis.start()
        await until(lambda: site.sse.stats().broker == "ready")
        again, _, _ = await read(site)

    assert (status, told["healthy"], told["broker"]) == (503, False, "away")
    assert headers["Cache-Control"] == "no-store"
    assert (all_status, problem["type"]) == (503, "urn:quart-sse:broker-unavailable")
    assert again == 200


async def test_process_that_stops_is_not_healthy(site: Site) -> None:
    """So that a load balancer sends it no further clients."""
    site.sse.stats_endpoint(authorize=may_read)
    await site.sse.close_all()

    status, told, _ = await read(site)

    assert (status, told["healthy"], told["broker"]) == (503, False, "ready")


def test_endpoint_is_asked_for_once() -> None:
    """Two functions would not say which one counts."""
    sse = SSE()
    sse.stats_endpoint(authorize=may_read)

    with pytest.raises(DeclarationError, match="already"):
        sse.stats_endpoint()
