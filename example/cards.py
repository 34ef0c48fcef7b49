"""The cards of the board, and their order.

A card's place says where it stands in its stage: 0, 1, 2 and so on from the top. Several people
move cards at once, so every change of places renumbers them in one transaction, and a move names
the card that it goes before, never a number that may be old.
"""

import sqlite3
import time
from collections.abc import Mapping, Sequence

from example.models import Card
from example.store import Store

#: stage -> the title of its column
STAGES: Mapping[str, str] = {"todo": "To do", "doing": "Doing", "done": "Done"}
MAX_CARDS = 60  # on the board


class Cards:
    """The cards of the board.

    Args:
        store: The forum's database.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def by_stage(self) -> dict[str, list[Card]]:
        """Return every stage with its cards, from the top."""
        cards = [
            Card(**row) for row in await self._store.query("SELECT * FROM card ORDER BY place")
        ]
        return {stage: [card for card in cards if card.stage == stage] for stage in STAGES}

    async def add(self, title: str) -> Card | None:
        """Put a new card at the end of the first column; None if the board is full."""

        def insert(db: sqlite3.Connection) -> Card | None:
            if db.execute("SELECT count(*) FROM card").fetchone()[0] >= MAX_CARDS:
                return None
            row = db.execute(
                """INSERT INTO card (title, stage, place, changed)
                   SELECT ?, 'todo', count(*), ? FROM card WHERE stage = 'todo' RETURNING *""",
                (title, time.time()),
            ).fetchone()
            return Card(**row)

        return await self._store.transact(insert)

    async def move(self, card_id: int, stage: str, before: int | None = None) -> None:
        """Put a card into a stage: before another one, or at the end if that is not there.

        A second, identical move changes nothing, and neither does the move of a removed card.
        """

        def reorder(db: sqlite3.Connection) -> None:
            found = db.execute("SELECT stage FROM card WHERE id = ?", (card_id,)).fetchone()
            was = _order(db, stage)
            order = [other for other in was if other != card_id]
            order.insert(order.index(before) if before in order else len(order), card_id)
            if found is None or before == card_id or order == was:
                return
            db.execute(
                "UPDATE card SET stage = ?, changed = ? WHERE id = ?", (stage, time.time(), card_id)
            )
            _number(db, order)
            if found["stage"] != stage:
                _number(db, _order(db, found["stage"]))

        await self._store.transact(reorder)

    async def take(self, card_id: int, nickname: str) -> None:
        """Give a card without an owner to a user; of two users at once, one gets it."""
        await self._set_owner(card_id, seen=None, owner=nickname)

    async def release(self, card_id: int, nickname: str) -> None:
        """Take a card from its owner, if the owner still is that user."""
        await self._set_owner(card_id, seen=nickname, owner=None)

    async def _set_owner(self, card_id: int, seen: str | None, owner: str | None) -> None:
        await self._store.query(
            "UPDATE card SET owner = :owner, changed = :now WHERE id = :id AND owner IS :seen",
            id=card_id,
            seen=seen,
            owner=owner,
            now=time.time(),
        )

    async def remove(self, card_id: int) -> None:
        """Remove a card from the board; a second call changes nothing."""

        def delete(db: sqlite3.Connection) -> None:
            row = db.execute("DELETE FROM card WHERE id = ? RETURNING stage", (card_id,)).fetchone()
            if row is not None:
                _number(db, _order(db, row["stage"]))

        await self._store.transact(delete)


def _order(db: sqlite3.Connection, stage: str) -> list[int]:
    rows = db.execute("SELECT id FROM card WHERE stage = ? ORDER BY place", (stage,))
    return [row["id"] for row in rows]


def _number(db: sqlite3.Connection, order: Sequence[int]) -> None:
    db.executemany("UPDATE card SET place = ? WHERE id = ?", list(enumerate(order)))
