"""Log repeated errors with one traceback a minute, and repeated warnings once."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from .logs import PARTS, LogLine

#: Interval between two tracebacks of the same function, in seconds; errors within it are counted.
QUIET = 60.0
#: Number of different warnings that a :class:`OnceLog` logs; further ones are dropped.
MOST_ONCE = 100


#: Part -> the line that counts the errors behind one traceback of it.
REPEATED = {
    part: LogLine(
        part,
        "errors-repeated",
        logging.ERROR,
        "The %(function)s failed %(count)d more times in %(seconds)g s; its first traceback is "
        "above.",
        function=str,
        count=int,
        seconds=float,
    )
    for part in PARTS
}


@dataclass(slots=True)
class _Said:
    line: LogLine
    at: float  #: clock time of the traceback, in seconds
    more: int = 0  #: number of errors since then


class ErrorLog:
    """Log errors of the app's functions, with at most one traceback a minute for each.

    A renderer that fails for 600 topics is one fault, not 600. Further errors within the minute are
    counted, and the count is logged when the minute is over.

    Args:
        clock: Returns monotonic time, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Function -> its traceback of this minute; bounded by the number of functions of the app.
        self._said: dict[str, _Said] = {}

    def log(self, function: str, error: BaseException, line: LogLine, /, **fields: object) -> None:
        """Log an error of a function with its traceback, or count it.

        Args:
            function: The function's one name, such as ``"fragment 'comments.list'"``. It must not
                contain values that a client chooses, because each name is kept for a minute.
            error: The error.
            line: What is logged.
            fields: Value of each field of the line.

        Example:
            ``errors.log("authorize of 'comments'", error, GATE_FAILED, topic=topic)``
        """
        self.flush()
        said = self._said.get(function)
        if said is None:
            self._said[function] = _Said(line, self._clock())
            line.write(fields, error)
        else:
            said.more += 1

    def flush(self) -> None:
        """Log the counts of functions whose minute is over, and drop these functions."""
        if not self._said:
            return
        now = self._clock()
        for function in list(self._said):  # of the keys: other threads log, too
            said = self._said.get(function)
            if said is not None and now - said.at >= QUIET:
                was_here = self._said.pop(function, None) is said
                if was_here and said.more:
                    count = REPEATED[said.line.part]
                    count.log(function=function, count=said.more, seconds=now - said.at)


class OnceLog:
    """Log each of several warnings once, however often its cause recurs.

    For example, one line says that another release sends an unknown kind of message, and not one
    line per message.
    """

    def __init__(self) -> None:
        self._said: set[str] = set()

    def warn(self, thing: str, line: LogLine, /, **fields: object) -> None:
        """Log a warning, unless one about the same thing was logged.

        Args:
            thing: Name of the warning's subject. It may come from outside: the number of names is
                bounded.
            line: What is logged.
            fields: Value of each field of the line.

        Example:
            ``once.warn(f"kind {kind}", UNKNOWN_KIND, kind=kind)``
        """
        if thing not in self._said and len(self._said) < MOST_ONCE:
            self._said.add(thing)
            line.write(fields)
