"""What was said in the lounge, what of it was reported, and the users who were sent out."""

import sqlite3
import time

from example.models import Line, SentOut
from example.store import Store

MAX_LINES = 50  # that are kept


class Talk:
    """The talk in the lounge.

    Args:
        store: The forum's database.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def lines(self) -> list[Line]:
        """Return what was said, oldest first."""
        return [Line(**row) for row in await self._store.query("SELECT * FROM line ORDER BY id")]

    async def find(self, line_id: int) -> Line | None:
        """Return a line; None if it was removed or dropped."""
        rows = await self._store.query("SELECT * FROM line WHERE id = :id", id=line_id)
        return Line(**rows[0]) if rows else None

    async def say(self, author: str, text: str) -> int:
        """Add a line, drop the oldest if there are too many, and return its id."""

        def insert(db: sqlite3.Connection) -> int:
            (line_id,) = db.execute(
                "INSERT INTO line (author, text, created) VALUES (?, ?, ?) RETURNING id",
                (author, text, time.time()),
            ).fetchone()
            db.execute(
                """DELETE FROM line WHERE id NOT IN
                   (SELECT id FROM line ORDER BY id DESC LIMIT ?)""",
                (MAX_LINES,),
            )
            return int(line_id)

        return await self._store.transact(insert)

    async def reported(self) -> list[Line]:
        """Return the lines that wait for a moderator, oldest first."""
        return [line for line in await self.lines() if line.reported_by]

    async def report(self, line_id: int, nickname: str) -> None:
        """Mark a line for the moderators; the first report of a line counts."""
        await self._store.query(
            "UPDATE line SET reported_by = :nickname WHERE id = :id AND reported_by IS NULL",
            id=line_id,
            nickname=nickname,
        )

    async def keep(self, line_id: int) -> None:
        """Settle a report: the line stays."""
        await self._store.query("UPDATE line SET reported_by = NULL WHERE id = :id", id=line_id)

    async def remove(self, line_id: int) -> None:
        await self._store.query("DELETE FROM line WHERE id = :id", id=line_id)

    async def outside(self) -> list[SentOut]:
        """Return the users who may not enter now, ordered by name."""
        rows = await self._store.query(
            "SELECT * FROM sent_out WHERE until IS NULL OR until > :now ORDER BY nickname",
            now=time.time(),
        )
        return [SentOut(**row) for row in rows]

    async def find_outside(self, nickname: str) -> SentOut | None:
        """Return whether and until when a user may not enter; None if they may."""
        return next((out for out in await self.outside() if out.nickname == nickname), None)

    async def send_out(self, nickname: str, moderator: str, seconds: float | None) -> None:
        """Keep a user out for some seconds, or for good (None)."""
        await self._store.query(
            "INSERT OR REPLACE INTO sent_out VALUES (:nickname, :moderator, :until)",
            nickname=nickname,
            moderator=moderator,
            until=None if seconds is None else time.time() + seconds,
        )

    async def let_in(self, nickname: str) -> None:
        """Let a user enter again."""
        await self._store.query(
            "DELETE FROM sent_out WHERE nickname = :nickname", nickname=nickname
        )
