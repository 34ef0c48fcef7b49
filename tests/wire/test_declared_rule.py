"""Rules are checked where they are declared, before the app's converters are known."""

import pytest

from quart_sse.errors import DeclarationError
from quart_sse.wire.declared_rule import check_rule, converters_in


@pytest.mark.parametrize(
    ("rule", "parameters"),
    [
        ("/", set()),
        ("/rooms/<int:room>", {"room"}),
        ("/<own:a>/<b>/<path:c>", {"a", "b", "c"}),
    ],
)
def test_parameters_are_found(rule: str, parameters: set[str]) -> None:
    """Whatever the converters are."""
    assert check_rule("rooms", rule) == parameters


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("rooms", "must begin with '/'"),
        ("/~/x", "must begin with '/'"),
        ("/<a>/<a>", "duplicate argument|used twice"),
        ("/<a", "malformed"),
        ("/<fragment>", "Choose another name"),
    ],
)
def test_rule_that_cannot_be_a_channels_is_an_error(rule: str, text: str) -> None:
    """It names the rule and the channel."""
    with pytest.raises(DeclarationError, match=text) as raised:
        check_rule("rooms", rule)
    assert "'rooms'" in str(raised.value)


def test_converters_in_a_rule_are_named() -> None:
    """One without a name is the default."""
    assert converters_in("/<int(min=1):a>/<own:b>/<c>") == {"int", "own", "default"}
