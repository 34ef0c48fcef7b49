"""Serve the example: `python -m example`. `HOST` and `PORT` say where; port 0 takes a free one."""

import asyncio
import os
import socket
import sys

from hypercorn.asyncio import serve
from hypercorn.config import Config

from example.app import create_app


def main() -> None:
    host, port = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "5000"))
    # Bound here, so that the printed address is right for port 0 too. Hypercorn closes the socket.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        sys.exit(f"Cannot listen on {host}:{port}: {error.strerror}. Choose another: PORT=8000")
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listener.getsockname()[1]}"

    config = Config()
    config.loglevel = "WARNING"
    config.bind = [f"fd://{listener.detach()}"]
    print(f"The forum is open at {url} (Ctrl+C closes it)", flush=True)
    asyncio.run(serve(create_app(), config))


if __name__ == "__main__":
    main()
