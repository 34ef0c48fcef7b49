"""Settings: the configuration of a process, without what is secret."""

import dataclasses
from typing import NamedTuple
from urllib.parse import urlsplit

from ..config import PREFIX, Config


class Setting(NamedTuple):
    """One key, as a page shows it."""

    name: str
    value: str
    is_default: bool


def settings(config: Config) -> list[Setting]:
    """Return every key; of URLs no user, password or query is shown."""
    return [
        Setting(
            f"{PREFIX}{field.name.upper()}",
            _shown(field.name, getattr(config, field.name)),
            getattr(config, field.name) == field.default,
        )
        for field in dataclasses.fields(config)
    ]


def _shown(name: str, value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return without_secrets(str(value)) if name.endswith("_url") else str(value)


def without_secrets(url: str) -> str:
    """Return a URL without user, password and query, which may hold one, too."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "***"
    if not parts.scheme:
        return "***"
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    user = "***@" if "@" in parts.netloc else ""
    query = "?***" if parts.query or parts.fragment else ""
    return f"{parts.scheme}://{user}{host}{'' if port is None else f':{port}'}{parts.path}{query}"
