"""What lasts of a connection: its id can be told from its secret, and not the other way."""

from quart_sse.broker.processes import process_of
from quart_sse.hub.lasting import Lasting, id_of


def test_id_names_the_process_and_hides_the_secret() -> None:
    """Also of a process that has none yet."""
    one, other = Lasting.of("0123456789abcdef"), Lasting.of("")

    assert one.secret.startswith("0123456789abcdef")
    assert (one.id, process_of(one.id)) == (id_of(one.secret), "0123456789abcdef")
    assert one.secret[16:] not in one.id
    assert process_of(other.id) == "0" * 16
    assert len({one.id, other.id, Lasting.of("").id}) == 3


def test_id_of_an_app_names_no_process() -> None:
    """Whatever it looks like, as long as it has no dot."""
    assert process_of("order-12") is None
