"""Filters: for which connections an event is, by their metadata."""

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import FilterError

#: What an application passes as ``where=``.
Where = Mapping[str, Any] | Callable[[Mapping[str, Any]], bool | None]

#: Longest filter, in characters of JSON; each event carries its own.
MAX_CHARS = 4096


class Filter:
    """One condition on the metadata of connections.

    A mapping names keys of the metadata and what their values must equal; a list of values means
    any of them. All keys must agree. A function is called with the metadata and returns whether
    they agree; it works within one process only.

    Args:
        where: The mapping or function.

    Raises:
        FilterError: If ``where`` is neither, is empty, is not JSON, is too long, or is an async
            function.

    Example:
        ``Filter({"role": ["admin", "editor"]}).matches({"role": "editor"})``
    """

    __slots__ = ("_allowed", "_function", "text")

    def __init__(self, where: Where) -> None:
        self._function: Callable[[Mapping[str, Any]], bool | None] | None = None
        self._allowed: dict[str, frozenset[str]] = {}
        #: The condition as JSON, by which brokers carry it; "" for a function.
        self.text: str = ""
        if isinstance(where, Mapping):
            self.text = _written(where)
            self._allowed = {key: frozenset(_choices(value)) for key, value in where.items()}
        elif callable(where):
            if inspect.iscoroutinefunction(where):
                raise FilterError(
                    "where= is an async function, and a delivery cannot wait for one. Put what it "
                    "asks for into the metadata (@sse.metadata)."
                )
            self._function = where
        else:
            raise FilterError(
                f"where= is {where!r}. Pass what the metadata must equal, such as "
                '{"role": "admin"}, or in an app of one process a function of the metadata.'
            )

    @classmethod
    def parse(cls, text: str) -> "Filter":
        """Read a filter that another process has written.

        Raises:
            ValueError: If the text is no filter.
        """
        try:
            return cls(json.loads(text))
        except RecursionError:
            raise ValueError("The filter is nested too deeply.") from None

    def __eq__(self, other: object) -> bool:
        """Compare conditions."""
        if not isinstance(other, Filter):
            return NotImplemented
        return (self.text, self._function) == (other.text, other._function)

    def __hash__(self) -> int:
        """Return the hash of the condition."""
        return hash((self.text, self._function))

    def matches(self, metadata: Mapping[str, Any] | None) -> bool:
        """Whether a connection with this metadata is meant; one without any never is.

        Args:
            metadata: The connection's metadata; None if it has none.

        Raises:
            FilterError: If the function returned anything but True, False or None.
            Exception: Any error of the function.
        """
        if metadata is None:
            return False
        if self._function is None:
            return all(
                key in metadata and _token(metadata[key]) in allowed
                for key, allowed in self._allowed.items()
            )
        answer = self._function(metadata)
        if answer is None or isinstance(answer, bool):
            return answer is True
        if inspect.iscoroutine(answer):
            answer.close()
        raise FilterError(
            f"The function of where= returned {type(answer).__name__}. It must return True, False "
            "or None: wrap the value in bool(...)."
        )


def _written(where: Mapping[str, Any]) -> str:
    if not where:
        raise FilterError(
            "where= is empty, which would mean every connection. Leave the argument out for that, "
            'or name a key of the metadata, such as {"role": "admin"}.'
        )
    if not all(isinstance(key, str) for key in where):
        raise FilterError(f"where= has a key that is no str: {where!r}. Metadata have str keys.")
    try:
        text = json.dumps(where, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise FilterError(
            f"where= cannot be written as JSON: {error}. Metadata are JSON, so compare them with "
            "texts, numbers, booleans, None, or lists of these."
        ) from None
    if len(text) > MAX_CHARS:
        raise FilterError(
            f"where= has {len(text)} characters of JSON; {MAX_CHARS} are allowed. Put a group into "
            "the metadata (@sse.metadata), and filter by that."
        )
    return text


def _choices(value: Any) -> list[str]:
    """Return the values that a key may have: each of a list, or the one that is given."""
    return [_token(each) for each in value] if isinstance(value, list | tuple) else [_token(value)]


def _token(value: Any) -> str:
    """Return what equals for equal JSON values only: in Python, True is 1 and 1.0 is 1."""
    return json.dumps(value, sort_keys=True)
