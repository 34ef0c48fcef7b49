"""docs/migrating.md: each feature of another library leads to its section and to its test."""

import re

import pytest

from tests.support.documents import ROOT, anchors, has_test, links_to_tests

PAGE = ROOT / "docs" / "migrating.md"
LIBRARIES = [
    "TanStack Start: start-streaming",
    "donkeylabs: the SSE service",
    "Next.js: the SSE library",
    "Lockness SSE",
    "Flask-SSE",
    "sse-starlette",
    "django-eventstream",
    "turbo-rails",
    "Mercure",
]


def section_of(heading: str) -> str:
    """Return the text under a heading; nothing if there is none."""
    text = PAGE.read_text("utf-8")
    found = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", text, re.M | re.S)
    return found[1] if found else ""


def tables_of(heading: str) -> list[list[list[str]]]:
    """Return the tables of a section: for each the cells of its head, then those of its rows."""
    tables = re.findall(r"(?:^\|.*\|$\n?)+", section_of(heading), re.M)
    return [
        [
            [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")]
            for line in table.splitlines()
            if not re.fullmatch(r"[|-]+", line)
        ]
        for table in tables
    ]


def is_found(link: str) -> bool:
    """Return whether a link leads to a heading of a document."""
    file, _, anchor = link.partition("#")
    path = PAGE.parent / file
    return path.is_file() and anchor in anchors(path)


@pytest.mark.parametrize("heading", LIBRARIES)
def test_rows_have_as_many_cells_as_their_head(heading: str) -> None:
    """Each library has a table, of which no row has lost a cell, or has one more."""
    tables = tables_of(heading)

    assert tables
    for head, *rows in tables:
        assert rows
        assert [row for row in rows if len(row) != len(head)] == []


@pytest.mark.parametrize("heading", LIBRARIES[:4])
def test_nothing_of_the_first_four_is_left_open(heading: str) -> None:
    """Each row leads to a section and a test, or says why there is no counterpart."""
    rows = [row for _, *rows in tables_of(heading) for row in rows]
    open_ = [
        here
        for _, here, see in rows
        if here.startswith("later")
        or (here.startswith("none") and len(here) < len("none: a reason"))
        or (not here.startswith("none") and not ("](../tests/" in see and ".md#" in see))
    ]

    assert len(rows) > 10
    assert open_ == []


@pytest.mark.parametrize("heading", LIBRARIES)
def test_what_exists_leads_to_its_section_and_its_test(heading: str) -> None:
    """What is planned leads nowhere; what has no counterpart may, to what stands for it."""
    for _, here, *rest in (row for _, *rows in tables_of(heading) for row in rows):
        cell = " ".join(rest)
        if here.startswith("later"):
            assert "](" not in here + cell, here
            continue
        sections, tests = re.findall(r"\]\((\w+\.md#[\w-]+)\)", cell), links_to_tests(cell)
        if not here.startswith("none"):
            assert sections, here
            assert tests, here
        assert len(sections) + len(tests) == cell.count("]("), f"{here}: a link of another form"
        assert [link for link in sections if not is_found(link)] == [], here
        assert [link for link in tests if not has_test(*link)] == [], here
