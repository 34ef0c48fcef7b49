"""Run the command line: ``python -m quart_sse``."""

import sys

from .cli import main

sys.exit(main())
