"""What is printed commands no terminal, and stands in columns."""

import json
from datetime import datetime

import pytest

from quart_sse.cli.printing import clean, local, print_json, print_table


def test_text_of_clients_commands_no_terminal() -> None:
    """Each character is printed, or written as Python writes it."""
    assert clean("plain é 7") == "plain é 7"
    assert clean("\x1b[2J\n\r\x9b\u202e\ud800") == "\\x1b[2J\\n\\r\\x9b\\u202e\\ud800"


def test_table_has_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """As wide as what is in them."""
    print_table(["A", "LONG"], [["1234", "x"], ["\n", ""]])
    assert capsys.readouterr().out == "A     LONG\n1234  x\n\\n\n"


def test_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Without characters that a terminal would take for commands."""
    print_json({"a": "\x9b\n"})
    shown = capsys.readouterr().out
    assert json.loads(shown) == {"a": "\x9b\n"}
    assert shown == '{"a": "\\u009b\\n"}\n'


def test_time_is_that_of_this_machine() -> None:
    """Whatever zone it was given in."""
    assert local(datetime(2026, 11, 30, 1, 2, 3).astimezone()) == "2026-11-30 01:02:03"
