"""Topics that have changed, each at most once in its debounce time."""

from quart_sse.channels.debounce import Debounce


def test_first_change_is_due_at_once_and_a_burst_once_more() -> None:
    """Whatever comes within the time is due together at its end."""
    changed = Debounce(lambda topic: 1.0)
    changed.add("t", "a", 10.0)

    assert changed.next == 10.0
    assert changed.take(10.0, 9) == {"t": {"a"}}
    for tenth in range(1, 9):
        changed.add("t", str(tenth), 10.0 + tenth / 10)
    assert changed.take(10.9, 9) == {}
    assert changed.next == 11.0
    assert changed.take(11.0, 9) == {"t": {str(tenth) for tenth in range(1, 9)}}


def test_topic_that_rests_is_forgotten_and_due_at_once_again() -> None:
    """What was taken is remembered for its debounce time alone."""
    changed = Debounce(lambda topic: 1.0)
    changed.add("t", "a", 10.0)
    changed.take(10.0, 9)

    assert changed.take(11.0, 9) == {}
    assert len(changed) == 0
    assert changed.next == float("inf")
    changed.add("t", "a", 12.0)
    assert changed.take(12.0, 9) == {"t": {"a"}}


def test_topics_have_times_of_their_own() -> None:
    """A topic without a time is due whenever it has changed."""
    changed = Debounce({"slow": 5.0, "quick": 0.0}.__getitem__)
    for second in range(10):
        for topic in ("slow", "quick"):
            changed.add(topic, "a", second)
        taken = changed.take(second, 9)

        assert ("slow" in taken) is (second in {0, 5})
        assert "quick" in taken


def test_no_more_are_taken_than_asked_for() -> None:
    """The others are due still."""
    changed = Debounce(lambda topic: 1.0)
    for number in range(10):
        changed.add(f"t{number}", "a", number)

    assert changed.take(20.0, 4).keys() == {"t0", "t1", "t2", "t3"}
    assert len(changed.take(20.0, 9)) == 6
    changed.clear()
    assert (len(changed), changed.next) == (0, float("inf"))
