"""The process of the attackers: ``python -m attacks.attacker name port seconds size first``.

It is nicer than the server and the one that measures, so that these are not measured for want of a
processor.
"""

import asyncio
import json
import os
import sys

from .catalogue import ATTACKS
from .crowd import Crowd

#: How nice it is.
NICE = 15


async def main(name: str, port: str, seconds: str, size: str, first: str) -> None:
    """Attack, and print how the requests were answered."""
    os.nice(NICE)
    crowd = Crowd(int(port), float(seconds), float(size), int(first))
    await ATTACKS[name].run(crowd)
    print(json.dumps(crowd.ends), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
