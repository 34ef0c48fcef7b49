"""Filters: for which connections an event is, by their metadata."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quart_sse import FilterError
from quart_sse.broker import Filter

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
OBJECTS = st.dictionaries(st.text(max_size=3), JSON, min_size=1, max_size=3)


@given(OBJECTS, OBJECTS)
def test_filter_survives_the_way_through_a_broker(where: dict[str, Any], metadata: Any) -> None:
    """Another process means the same by it."""
    one = Filter(where)
    other = Filter.parse(one.text)

    assert one == other
    assert hash(one) == hash(other)
    assert one.matches(metadata) == other.matches(metadata)


@given(OBJECTS)
def test_metadata_equal_themselves(metadata: dict[str, Any]) -> None:
    """Each value as one of a list, whatever it is."""
    where = {key: [value] for key, value in metadata.items()}

    assert Filter(where).matches(metadata)
    assert not Filter(where).matches(None)
    assert not Filter(where | {"another key": 1}).matches(metadata)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({}, "is empty"),
        ([], "Pass what the metadata must equal"),
        ("role", "Pass what the metadata must equal"),
        (7, "Pass what the metadata must equal"),
        ({1: "x"}, "no str"),
        ({"a": object()}, "cannot be written as JSON"),
        ({"a": float("nan")}, "cannot be written as JSON"),
        ({"a": {1, 2}}, "cannot be written as JSON"),
        ({"a": "x" * 5000}, "characters of JSON"),
    ],
)
def test_what_is_no_condition_is_an_error(where: Any, message: str) -> None:
    """It says what to pass instead."""
    with pytest.raises(FilterError, match=message):
        Filter(where)


def test_function_has_no_text() -> None:
    """So that no broker takes it to other processes; an async one could not be awaited."""

    async def later(metadata: object) -> bool:
        return True

    assert Filter(lambda metadata: True).text == ""
    assert Filter(lambda metadata: None).matches({}) is False
    with pytest.raises(FilterError, match="async"):
        Filter(later)  # type: ignore[arg-type]
    with pytest.raises(FilterError, match="returned coroutine"):
        Filter(lambda metadata: later(metadata)).matches({})  # type: ignore[arg-type, return-value]
    with pytest.raises(FilterError, match="returned int"):
        Filter(lambda metadata: 1).matches({})  # type: ignore[arg-type, return-value]
    assert Filter({"a": 1}) != "a filter"
