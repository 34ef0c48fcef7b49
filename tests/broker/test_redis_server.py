"""What a Redis server may be set to: a user with few rights, TLS; and what the log then says."""

import logging
import re
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from quart_sse.broker import Claim, Keep, Kind, Message, Shelf, Start, State
from quart_sse.broker.redis import RedisBroker
from quart_sse.errors import BrokerUnavailable
from quart_sse.wire.position import ZERO
from tests.support.log_lines import all_lines
from tests.support.processes import Boot, Inbox, event, outages
from tests.support.redis_server import RedisServer, running_redis
from tests.support.servers import free_port
from tests.support.streams import open_stream, until

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "redis.md"
KEEP = Keep(5, 100)


# -- rights ----------------------------------------------------------------------------------------


def documented_user() -> list[str]:
    """Return the command that the guide prints for a user with few rights, as words."""
    (line,) = re.findall(r"^redis-cli (ACL SETUSER (?:.*\\\n)*.*)$", GUIDE.read_text("utf-8"), re.M)
    return shlex.split(line.replace("\\\n", ""))


def with_user(server: RedisServer) -> str:
    """Return the URL of a server for the user of the guide."""
    return server.url.replace("unix://", "unix://app:secret@")


async def test_user_with_the_documented_rights_is_enough(redis: RedisServer, boot: Boot) -> None:
    """An app whose user may do no more than the guide says works, and says nothing."""
    await redis.ask(*documented_user())
    a, b = await boot(url=with_user(redis)), await boot(url=with_user(redis))
    async with open_stream(a.app, "/sse/rooms/1?fragments=list") as stream:
        await b.room.publish("said", 1)
        assert (await stream.next("said")).data == "1"
        await b.change()
        while "<b>1</b>" not in (await stream.next("message")).data:
            pass

    # redis-py tells the server its name, and does without if it may not.
    denied = [str(entry) for entry in await redis.ask("ACL", "LOG")]
    assert [entry for entry in denied if "'object': 'client" not in entry] == []


@pytest.mark.parametrize("right", [word for word in documented_user() if word.startswith("+")])
async def test_every_documented_right_is_needed(
    redis: RedisServer, right: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Without any one of them something fails, and the error or the log says for want of what."""
    await redis.ask(*documented_user(), f"-{right[1:]}")

    with caplog.at_level(logging.INFO):
        try:
            await use_everything(redis, with_user(redis))
            told = ""
        except BrokerUnavailable as error:
            told = str(error)

    assert re.search(r"no permissions|can't run this command", "".join([told, *outages(caplog)]))


async def test_documented_rights_suffice_for_everything(redis: RedisServer) -> None:
    """With all of them nothing fails, so in the test above it is for want of the one."""
    await redis.ask(*documented_user())

    await use_everything(redis, with_user(redis))


async def use_everything(server: RedisServer, url: str) -> None:
    """Do all that a broker can do; returns if nothing of it was refused."""
    broker, inbox = RedisBroker(url, timeout=1.0), Inbox()
    await broker.start(inbox)
    try:
        await broker.subscribe(["t", "u"])
        await use_history(server, url, broker)
        for _ in range(2):  # with the second one the script looks whether the first is on record
            await broker.publish(Message(Kind.REFRESH, ZERO, "t", "list"), KEEP)
        await broker.resume({"t": Start(None, frozenset({"list"}), KEEP)})
        await broker.enter({"t": {"c1": "mira"}})
        await broker.exit({"t": ["c1"]})
        await broker.present("t")
        reference = await broker.keep_text("long", 10, Claim(Shelf.OPEN, "ada"))
        await broker.kept_text(reference or "")
        await broker.unsubscribe(["u"])
        await broker.subscribe(["v"])  # the same connection, so a refusal comes before this is done
        catches = inbox.catches
        last = event("last")
        await broker.publish(last, KEEP)
        await until(lambda: last.data in inbox.data or inbox.catches > catches)
        assert broker.state is State.READY or inbox.catches > catches
    finally:
        await broker.stop()


async def use_history(server: RedisServer, url: str, broker: RedisBroker) -> None:
    """Publish and resume, also after keys were lost."""
    before = await broker.position()
    await broker.publish(event("1"), KEEP)
    await broker.resume({"t": Start(before, frozenset(), KEEP)})
    await server.ask("DEL", "{sse:1}:tip:t")
    await broker.publish(event("2"), KEEP)
    # What is kept is newer than what comes, as after the loss of a key and a clock set back.
    later = RedisBroker(url, clock_offset_ms=60_000)
    await later.publish(event("3"), KEEP)
    await later.stop()
    await server.ask("DEL", "{sse:1}:last")
    await broker.publish(event("4"), KEEP)


# -- TLS -------------------------------------------------------------------------------------------


@asynccontextmanager
async def tls_redis(folder: Path, ca: trustme.CA) -> AsyncIterator[int]:
    """Run a Redis that speaks TLS on a port, which is returned."""
    certificate, key = folder / "redis.crt", folder / "redis.key"
    issued = ca.issue_cert("localhost")
    issued.private_key_pem.write_to_path(str(key))
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    port = free_port()
    options = {
        "--tls-port": port,
        "--bind": "127.0.0.1",
        "--tls-cert-file": certificate,
        "--tls-key-file": key,
        "--tls-auth-clients": "no",
    }
    words = [str(word) for pair in options.items() for word in pair]
    async with running_redis(folder, *words):
        yield port


async def test_tls_carries_everything(
    tmp_path: Path, boot: Boot, caplog: pytest.LogCaptureFixture
) -> None:
    """Over ``rediss://`` apps publish, listen and resume."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    async with tls_redis(tmp_path, ca) as port:
        url = f"rediss://localhost:{port}?ssl_ca_certs={tmp_path / 'ca.crt'}"
        a, b = [await boot(url=url, broker_timeout=5.0) for _ in range(2)]
        assert a.broker.state is State.READY
        async with open_stream(a.app, "/sse/rooms/1?fragments=list") as stream:
            await b.room.publish("said", 1)
            assert (await stream.next("said")).data == "1"
        await b.room.publish("said", 2)
        last = {"Last-Event-ID": stream.last_id}
        async with open_stream(b.app, "/sse/rooms/1?fragments=", last) as stream:
            assert (await stream.next("said")).data == "2"
        await a.app.shutdown()
        await b.app.shutdown()
    assert outages(caplog) == []


async def test_certificate_of_somebody_else_is_refused(
    tmp_path: Path, boot: Boot, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that another authority vouches for is not talked to, and the log says why."""
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.crt"))
    async with tls_redis(tmp_path, trustme.CA()) as port:
        url = f"rediss://localhost:{port}?ssl_ca_certs={tmp_path / 'other.crt'}"
        a = await boot(url=url, broker_timeout=5.0)

        assert a.broker.state is State.AWAY
        with pytest.raises(BrokerUnavailable, match="certificate verify failed") as caught:
            await a.room.publish("said", 1)
        assert not caught.value.maybe_published
        await a.app.shutdown()
    (warning,) = outages(caplog)
    assert "certificate verify failed" in warning


# -- what the guide says of the log ----------------------------------------------------------------


def test_log_lines_of_the_guide_are_those_that_are_written() -> None:
    """Each line in the table is logged at that level, and none about Redis is missing there."""
    levels = "warning|error|info|debug"
    rows = re.findall(rf"^\| ({levels}) \| `(.+?)` \|", GUIDE.read_text("utf-8"), re.M)
    found = {
        line.name: line
        for _, _, line in all_lines()
        for level, text in rows
        if level == logging.getLevelName(line.level).lower()
        and re.fullmatch(re.sub(r"%\\\(\w+\\\)\w", ".+", re.escape(line.message)), text)
    }

    assert len(found) == len(rows)
    redis = {line.name for module, _, line in all_lines() if "broker.redis" in module.__name__}
    assert redis <= found.keys()
