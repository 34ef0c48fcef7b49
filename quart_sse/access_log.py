"""Keep the secrets in URLs of streams out of the access logs of servers."""

import logging
import re
from collections.abc import MutableMapping
from typing import Any

#: Parameters of URLs with which any client listens as the page does.
_SECRETS = re.compile(r"""((?:^|[?&])(?:t|replaces)=)[^&\s"']+""")


class HideTokens(logging.Filter):
    """A filter for loggers and handlers: tokens in the URLs of streams become ``***``.

    The URL of a stream has a signed token (``t=``), with which anybody may listen as the page does,
    and names the stream that it replaces by a secret (``replaces=``). Servers write URLs into their
    access logs. This works with those of Hypercorn, Uvicorn, Gunicorn and Granian; the parameters
    are hidden in all URLs, because a log does not say which ones are streams.

    Example:
        .. code-block:: python

            import logging

            logging.getLogger("hypercorn.access").addFilter(HideTokens())
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Hide the tokens in a record, which is always kept.

        Args:
            record: A record of an access log.
        """
        if isinstance(record.msg, str):
            record.msg = _hide(record.msg)
        args: Any = record.args
        if isinstance(args, tuple):
            record.args = tuple(map(_hide, args))
        elif isinstance(args, MutableMapping):
            # The server has made it for this record: Hypercorn, Gunicorn and Granian.
            args.update({key: _hide(value) for key, value in args.items()})
        elif args:
            record.msg, record.args = _hide(record.getMessage()), ()
        return True


def _hide(value: Any) -> Any:
    return _SECRETS.sub(r"\1***", value) if isinstance(value, str) else value
