"""The guard: no form but those of pages that this browser, and this user, was shown."""

import re

import pytest
from quart import Quart
from quart.testing import QuartClient

from quart_sse import SSE
from tests.support.operators import URL, Operator
from tests.support.sites import Site


async def form_of(operator: Operator, id: str) -> dict[str, str]:
    """Return what the form to disconnect sends."""
    html = await operator.look(f"/connection?id={id}")
    (csrf, *_) = re.findall(r'name="csrf" value="(\w+)"', html)
    return {"csrf": csrf, "id": id, "action": "disconnect", "retry": "1"}


async def post(operator: Operator, form: dict[str, str]) -> int:
    """Return the status of what a form gets."""
    status: int = (await operator.client.post(f"{URL}/~act", form=form)).status_code
    return status


async def test_form_needs_the_token_of_its_page(
    shop: Site, operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither none, nor a wrong one, nor that of another user or browser; attempts are logged."""
    async with shop.view(1) as (_, handle):
        form = await form_of(operator, handle.id)
        theirs = await form_of(Operator(shop, "op-eve"), handle.id)
        same_user = await form_of(Operator(shop), handle.id)
        for wrong in ("", "0" * 64, form["csrf"][:-1], "ä", theirs["csrf"], same_user["csrf"]):
            assert await post(operator, {**form, "csrf": wrong}) == 403
        assert await post(operator, {key: form[key] for key in ("id", "action")}) == 403
        assert handle.is_open

        other = Operator(shop, "op-eve")
        assert await post(other, form) == 403, "of a browser that was shown no page"
        operator.client.set_cookie("localhost", "who", "op-eve")
        assert await post(operator, form) == 403, "of who was signed in before"
        operator.client.set_cookie("localhost", "who", "op-ada")
        assert handle.is_open
        assert await post(operator, form) == 303
    lines = [record for record in caplog.records if record.__dict__.get("sse_event")]
    refused = [each for each in lines if each.__dict__["sse_event"] == "inspector-refused"]
    assert len(refused) == 9
    assert {each.__dict__["sse_fields"]["who"] for each in refused} == {"op-ada", "op-eve"}


async def test_action_is_judged_like_a_page(shop: Site, operator: Operator) -> None:
    """A page that is still open is no right to act."""
    async with shop.view(1) as (_, handle):
        form = await form_of(operator, handle.id)
        operator.client.set_cookie("localhost", "who", "mallory")

        assert await post(operator, form) == 403
        assert handle.is_open


async def test_actions_are_posts(shop: Site, operator: Operator) -> None:
    """A link, an image or a prefetch does nothing."""
    async with shop.view(1) as (_, handle):
        form = await form_of(operator, handle.id)
        query = "&".join(f"{key}={value}" for key, value in form.items())
        answer = await operator.client.get(f"{URL}/~act?{query}")

        assert answer.status_code in {404, 405}
        assert handle.is_open


async def test_forms_survive_a_change_of_the_key(shop: Site, operator: Operator) -> None:
    """Where the former key is one of ``SECRET_KEY_FALLBACKS``."""
    async with shop.view(1) as (_, handle):
        form = await form_of(operator, handle.id)
        former, shop.app.secret_key = shop.app.secret_key, "another one"
        assert await post(operator, form) == 403
        shop.app.config["SECRET_KEY_FALLBACKS"] = [former]

        assert await post(operator, form) == 303


async def test_app_without_a_key_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    """In the log of the error, not by pages that cannot act."""
    app = Quart(__name__)
    SSE(app).inspector(authorize=lambda: True)

    assert (await QuartClient(app).get(URL)).status_code == 500
    assert "The inspector needs app.secret_key" in caplog.text


async def test_cookie_is_for_https_alone_where_the_page_is(shop: Site) -> None:
    """And is the same for all pages of a browser, so that an older form still works."""
    operator = Operator(shop)
    first = await operator.client.get(URL, scheme="https")
    second = await operator.client.get(f"{URL}/topics", scheme="https")

    cookies = [answer.headers["Set-Cookie"] for answer in (first, second)]
    assert all("Secure" in cookie for cookie in cookies)
    assert cookies[0] == cookies[1]
