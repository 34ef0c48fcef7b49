"""Metadata: what an app knows of a connection, shared by those with the same."""

import gc
from typing import Any

import pytest

from quart_sse import AnswerError
from quart_sse.hub import metadata as rooms
from quart_sse.hub.metadata import metadata_of


def test_equal_metadata_are_one_object() -> None:
    """Whatever the order of their keys; and are forgotten with the last connection."""
    one = metadata_of({"a": 1, "b": [2]}, "given")
    other = metadata_of({"b": [2], "a": 1}, "given")

    assert one is other
    assert one is not metadata_of({"a": 1}, "given")
    assert metadata_of(None, "given") is None
    del one, other
    gc.collect()
    assert '{"a": 1, "b": [2]}' not in rooms._known


def test_copy_may_be_changed() -> None:
    """Others have the same object."""
    metadata = metadata_of({"a": {"b": []}}, "given")
    assert metadata is not None

    metadata.copy()["a"]["b"].append(1)

    assert metadata.copy() == {"a": {"b": []}}


@pytest.mark.parametrize(
    "given", ["text", 7, [], {1: 2}, {"a": object()}, {"a": float("inf")}, {"a": "x" * 5000}, True]
)
def test_what_is_no_metadata_is_an_error(given: Any) -> None:
    """It begins with who gave it."""
    with pytest.raises(AnswerError, match="The view gave "):
        metadata_of(given, "The view gave")
