"""The example: a small forum whose pages are live. `python -m example` serves it."""
