"""Streams behind real proxies, measured: ``python -m proxies``."""
