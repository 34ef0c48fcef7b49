"""The forum's database, in SQLite.

The standard library's driver blocks, so each call runs in a thread and opens a connection there:
SQLite connections belong to one thread, and opening one is cheap. WAL lets readers carry on
during a write.
"""

import asyncio
import secrets
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar, cast

from quart import current_app

from example.models import Activity, Comment, Discussion, Summary, Unread
from example.seed import plant

Result = TypeVar("Result")

SUMMARY = """
    SELECT discussion.*,
           (SELECT count(*) FROM vote WHERE discussion_id = discussion.id) AS votes,
           (SELECT count(*) FROM comment WHERE discussion_id = discussion.id) AS comments,
           (SELECT coalesce(max(comment.created), discussion.created)
              FROM comment WHERE discussion_id = discussion.id) AS active
      FROM discussion
     ORDER BY moderators_only, active DESC
"""

# A user takes part by starting a discussion or by commenting in it. Unread are comments of others
# after the last one that the user read or wrote there.
UNREAD = """
    SELECT comment.id AS comment_id, comment.discussion_id
      FROM comment JOIN discussion ON discussion.id = comment.discussion_id
     WHERE comment.author IS NOT :nickname
       AND (discussion.author = :nickname OR EXISTS (
              SELECT 1 FROM comment AS mine
               WHERE mine.discussion_id = discussion.id AND mine.author = :nickname))
       AND comment.id > max(
              coalesce((SELECT comment_id FROM seen
                         WHERE nickname = :nickname AND discussion_id = discussion.id), 0),
              coalesce((SELECT max(mine.id) FROM comment AS mine
                         WHERE mine.discussion_id = discussion.id AND mine.author = :nickname), 0))
     ORDER BY comment.id DESC
"""

# Without the moderators' room, because the dashboard is public.
ACTIVITY = """
    SELECT 'comment' AS kind, event.author, text, discussion_id, discussion.title, event.created
      FROM comment AS event JOIN discussion ON discussion.id = discussion_id
     WHERE NOT moderators_only AND event.created > :since
    UNION ALL
    SELECT 'vote', NULL, '', discussion_id, discussion.title, event.created
      FROM vote AS event JOIN discussion ON discussion.id = discussion_id
     WHERE NOT moderators_only AND event.created > :since
     ORDER BY 6 DESC
"""


class Store:
    """The forum's database.

    Args:
        path: The SQLite file; it and its folder are made on first start.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self) -> str:
        """Make and seed the database if it is new, and return the secret key that is kept in it.

        Every process of a deployment, and the next start, must sign with the same key, and the
        database is what they share. Blocks, so it is called before the server runs.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._open()) as db:
            _use_wal(db)
            db.executescript(Path(__file__).with_name("schema.sql").read_text("utf-8"))
            # Takes the write lock at once: of two processes that start together only one plants.
            db.execute("BEGIN IMMEDIATE")
            with db:
                new = db.execute("SELECT 1 FROM discussion").fetchone() is None
                if new:
                    plant(db, now=time.time())
                db.execute(
                    "INSERT OR IGNORE INTO setting VALUES ('secret_key', ?)",
                    (secrets.token_urlsafe(32),),
                )
                row = db.execute("SELECT value FROM setting WHERE name = 'secret_key'").fetchone()
            return str(row["value"])

    async def summaries(self) -> list[Summary]:
        """Every discussion with its counts, the latest active first, the moderators' room last."""
        return [Summary(**row) for row in await self.query(SUMMARY)]

    async def discussion(self, discussion_id: int) -> Discussion | None:
        rows = await self.query("SELECT * FROM discussion WHERE id = :id", id=discussion_id)
        return Discussion(**rows[0]) if rows else None

    async def comments(self, discussion_id: int) -> list[Comment]:
        rows = await self.query(
            "SELECT * FROM comment WHERE discussion_id = :id ORDER BY id", id=discussion_id
        )
        return [Comment(**row) for row in rows]

    async def comment(self, discussion_id: int, comment_id: int) -> Comment | None:
        rows = await self.query(
            "SELECT * FROM comment WHERE discussion_id = :of AND id = :id",
            of=discussion_id,
            id=comment_id,
        )
        return Comment(**rows[0]) if rows else None

    async def add_comment(self, discussion_id: int, author: str | None, text: str) -> Comment:
        """Keep a comment; `author` is None for a guest."""
        rows = await self.query(
            """INSERT INTO comment (discussion_id, author, text, created)
               VALUES (:id, :author, :text, :now) RETURNING *""",
            id=discussion_id,
            author=author,
            text=text,
            now=time.time(),
        )
        return Comment(**rows[0])

    async def votes(self, discussion_id: int) -> int:
        rows = await self.query(
            "SELECT count(*) FROM vote WHERE discussion_id = :id", id=discussion_id
        )
        return int(rows[0][0])

    async def has_voted(self, discussion_id: int, voter: str) -> bool:
        query = "SELECT 1 FROM vote WHERE discussion_id = :id AND voter = :voter"
        return bool(await self.query(query, id=discussion_id, voter=voter))

    async def set_vote(self, discussion_id: int, voter: str, up: bool) -> None:
        """Give or take back a vote; to do it twice, as by a double click, changes nothing."""
        query = (
            "INSERT OR IGNORE INTO vote VALUES (:id, :voter, :now)"
            if up
            else "DELETE FROM vote WHERE discussion_id = :id AND voter = :voter"
        )
        await self.query(query, id=discussion_id, voter=voter, now=time.time())

    async def participants(self, discussion_id: int) -> list[str]:
        """Who started the discussion or commented in it, guests aside."""
        rows = await self.query(
            """SELECT author FROM discussion WHERE id = :id
               UNION
               SELECT author FROM comment WHERE discussion_id = :id AND author IS NOT NULL""",
            id=discussion_id,
        )
        return [str(row["author"]) for row in rows]

    async def unread(self, nickname: str) -> Unread:
        """Replies that `nickname` has not seen."""
        rows = await self.query(UNREAD, nickname=nickname)
        return Unread(len(rows), **rows[0]) if rows else Unread(0)

    async def mark_seen(self, nickname: str, discussion_id: int) -> None:
        """Remember that `nickname` has read the discussion up to its last comment."""
        await self.query(
            """INSERT OR REPLACE INTO seen
               SELECT :nickname, discussion_id, max(id)
                 FROM comment WHERE discussion_id = :id GROUP BY discussion_id""",
            nickname=nickname,
            id=discussion_id,
        )

    async def activity(self, since: float) -> list[Activity]:
        """Comments and votes after `since`, newest first."""
        return [Activity(**row) for row in await self.query(ACTIVITY, since=since)]

    async def query(self, sql: str, **values: object) -> list[sqlite3.Row]:
        """Run one statement; what it writes is committed when this returns."""

        def in_thread() -> list[sqlite3.Row]:
            # The inner `with` commits, or rolls back; only `closing` closes.
            with closing(self._open()) as db, db:
                return db.execute(sql, values).fetchall()

        return await asyncio.to_thread(in_thread)

    async def transact(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Do several things as one: what `work` reads stays true until what it writes is saved."""

        def in_thread() -> Result:
            with closing(self._open()) as db:
                # Takes the write lock before anything is read; other writers wait their turn.
                db.execute("BEGIN IMMEDIATE")
                with db:
                    return work(db)

        return await asyncio.to_thread(in_thread)

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=10)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA foreign_keys = ON")
        return db


def store() -> Store:
    """The current app's store."""
    return cast("Store", current_app.extensions["forum_store"])


def _use_wal(db: sqlite3.Connection) -> None:
    """Let readers and writers not wait for each other.

    SQLite refuses at once, without its timeout, while another process does the same.
    """
    last = time.monotonic() + 10
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > last:
                raise
            time.sleep(0.02)
