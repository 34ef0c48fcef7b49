"""Settings: every key is shown, and nothing secret."""

import dataclasses

import pytest

from quart_sse.config import Config
from quart_sse.inspector.settings import settings, without_secrets


def test_every_key_is_shown() -> None:
    """With what it is set to."""
    config = dataclasses.replace(Config(), history=7, origins=("https://a.example",))
    shown = {each.name: each for each in settings(config)}

    assert len(shown) == len(dataclasses.fields(Config))
    assert (shown["QUART_SSE_HISTORY"].value, shown["QUART_SSE_HISTORY"].is_default) == ("7", False)
    assert shown["QUART_SSE_ORIGINS"].value == "https://a.example"
    assert shown["QUART_SSE_BASE_URL"].value == "none"
    assert shown["QUART_SSE_HEARTBEAT"].is_default


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory://", "memory://"),
        ("redis://localhost", "redis://localhost"),
        ("redis://:kanarienvogel@db:6380/2", "redis://***@db:6380/2"),
        ("rediss://kanarienvogel:kanarienvogel@db/0", "rediss://***@db/0"),
        ("redis://db?password=kanarienvogel", "redis://db?***"),
        ("redis://db#kanarienvogel", "redis://db?***"),
        ("redis://kanarien:vogel/kanarienvogel@db:x/", "***"),
        ("unix:///run/redis.sock?db=1&password=kanarienvogel", "unix:///run/redis.sock?***"),
        ("unix://kanarienvogel@/run/redis.sock", "unix://***@/run/redis.sock"),
        ("redis://[::1]:6379", "redis://[::1]:6379"),
        ("kanarienvogel", "***"),
    ],
)
def test_urls_show_no_secrets(url: str, shown: str) -> None:
    """Wherever a URL has one."""
    assert without_secrets(url) == shown
    assert "kanarienvogel" not in without_secrets(url)
