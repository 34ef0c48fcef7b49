"""What a process answers to a survey: a page of bounded size, whatever there is."""

import json
from typing import Any

from quart_sse.broker.control import MAX_CHARS
from quart_sse.registry.surveying import MAX_TEXT, MOST_ROWS, SURVEY, _page
from tests.support.sites import Site


async def answer_of(site: Site, **told: Any) -> dict[str, Any]:
    """Return what the process answers, as other processes get it."""
    control = site.app.extensions["quart_sse"].control
    asked = await control.ask(SURVEY, told, deadline=5.0)
    assert not asked.faults
    (answer,) = asked.answers.values()
    found: dict[str, Any] = json.loads(json.dumps(answer))
    return found


def test_page_does_not_grow_with_what_there_is() -> None:
    """Of 10,000 rows one answer has some, in their order; and less, if these are long."""
    keyed = [(f"{number:05d}", number) for number in reversed(range(10_000))]

    page = _page(keyed, {"after": "00041", "most": 3}, str)
    long = _page(keyed, {"most": 100_000}, lambda number: "x" * 2_000)

    assert page == {
        "rows": [(f"000{n}", str(n)) for n in (42, 43, 44)],
        "more": True,
        "total": 10_000,
    }
    assert len(_page(keyed, {"most": 100_000}, str)["rows"]) == MOST_ROWS  # type: ignore[arg-type]
    assert len(json.dumps(long)) < MAX_CHARS
    assert long["more"] is True


async def test_answer_of_a_connection_is_bounded(site: Site) -> None:
    """Also if it listens to many topics with long names."""
    shouts = site.sse.channel("shouts", "/shouts/<name>", public=True)
    site.shown[:] = [shouts.topic(name="ä" * 100 + str(number)) for number in range(125)]
    async with site.view(1, meta={"about": "x" * 1_000}) as (_, handle):
        whole = (await answer_of(site, what="connection", id=handle.id))["row"]
        (brief,) = (await answer_of(site, what="connections"))["rows"]

    assert len(whole["topics"]) + whole["more_topics"] == 126
    assert 0 < len(whole["topics"]) < 126
    assert len(json.dumps(whole)) < MAX_CHARS
    assert len(json.dumps(brief)) < 20_000
    assert len(brief[1]["metadata"]) == MAX_TEXT + 1
    assert json.loads(whole["metadata"]) == {"about": "x" * 1_000}
