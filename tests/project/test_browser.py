"""docs/browser.md: what it says of refreshes is held by tests."""

import re

from tests.support.documents import ROOT, has_test, links_to_tests

TEXT = (ROOT / "docs" / "browser.md").read_text("utf-8")


def test_what_survives_a_refresh_leads_to_its_tests() -> None:
    """Each row of the table has one or more, and all that are named are there."""
    section = TEXT.partition("## What survives a refresh\n")[2].partition("\n## ")[0]
    table = section.partition("|---|")[2].partition("\n\n")[0]
    rows = re.findall(r"^\|.*\|$", table, re.M)

    assert len(rows) > 15
    assert [row for row in rows if not links_to_tests(row)] == []
    assert [link for link in links_to_tests(section) if not has_test(*link)] == []
