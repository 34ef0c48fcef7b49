"""Log what goes wrong again and again: errors once a minute, then a count; other things once."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

logger = logging.getLogger("quart_sse")

#: Seconds after a traceback in which further errors of the same function are only counted.
QUIET = 60.0
#: Different things that are said once; what comes after them is not said.
MOST_ONCE = 100


@dataclass(slots=True)
class _Said:
    at: float  #: when the traceback was logged, by the clock
    more: int = 0  #: errors since then


class ErrorLog:
    """Logs errors without letting one request write thousands of tracebacks.

    A stream of 600 topics whose renderer fails is one fault, not 600. So each function has one
    traceback a minute; the rest is counted, and the count is logged when the minute is over.

    Args:
        clock: Seconds of a clock that never goes back; tests bring their own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Function -> what was logged of it; as many as an app declares functions.
        self._said: dict[str, _Said] = {}

    def log(self, function: str, error: BaseException, message: str, *args: object) -> None:
        """Log an error of a function, with its traceback or by counting it.

        Args:
            function: Names the function in one way, such as ``"fragment 'comments.list'"``. It
                must not contain what a request chooses, for each name is remembered for a minute.
            error: What was raised.
            message: For :mod:`logging`: what happened, what follows, the remedy.
            args: For the message.

        Example:
            ``errors.log("authorize of 'comments'", error, "The gate of %r failed.", topic)``
        """
        self.flush()
        said = self._said.get(function)
        if said is None:
            self._said[function] = _Said(self._clock())
            logger.error(message, *args, exc_info=error)
        else:
            said.more += 1

    def flush(self) -> None:
        """Log the counts whose minute is over, and forget those functions."""
        if not self._said:
            return
        now = self._clock()
        for function, said in list(self._said.items()):
            if now - said.at >= QUIET:
                del self._said[function]
                if said.more:
                    logger.error(
                        "The %s failed %d more times in %g s; its first traceback is above.",
                        function,
                        said.more,
                        now - said.at,
                    )


class OnceLog:
    """Logs warnings of which each is worth one line, however often its cause comes again.

    That another release sends what this one does not know is one fact, not one for each message.
    """

    def __init__(self) -> None:
        self._said: set[str] = set()

    def warn(self, thing: str, message: str, *args: object) -> None:
        """Log a warning, unless there was one of the same thing.

        Args:
            thing: Names what the warning is of. It may come from outside: there is a bound.
            message: For :mod:`logging`: what happened, what follows, the remedy.
            args: For the message.

        Example:
            ``once.warn(f"kind {kind}", "Messages of kind %r are skipped.", kind)``
        """
        if thing not in self._said and len(self._said) < MOST_ONCE:
            self._said.add(thing)
            logger.warning(message, *args)
