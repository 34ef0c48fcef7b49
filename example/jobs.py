"""The queue of reports that somebody has asked for: a table that workers take jobs from.

A job is a worker's only as long as its lease, which every step renews. So a worker that is killed
keeps nothing for ever, and one that was merely slow is told, when it comes back, that another has
the job now. Clocks are compared between processes, which therefore run on one machine, like the
database.
"""

import sqlite3
import time

from example.models import Job
from example.store import Store

# One statement, so of two workers that ask together only one gets the job.
CLAIM = """
    UPDATE job SET worker = :worker, lease = :until
     WHERE id = (SELECT id FROM job
                  WHERE ended IS NULL AND coalesce(lease, 0) <= :now
                  ORDER BY id LIMIT 1)
    RETURNING *
"""


class Jobs:
    """The jobs of the forum.

    Args:
        store: The forum's database.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def newest(self) -> Job | None:
        """Return the last job that somebody asked for."""

        def read(db: sqlite3.Connection) -> Job | None:
            row = db.execute("SELECT * FROM job ORDER BY id DESC LIMIT 1").fetchone()
            return _job(db, row) if row else None

        return await self._store.transact(read)

    async def ask(self, asked_by: str | None) -> None:
        """Queue a job in the place of the last one, unless that is still to be done."""

        def insert(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM job WHERE ended IS NOT NULL")
            db.execute(
                """INSERT INTO job (asked_by, asked)
                   SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM job)""",
                (asked_by, time.time()),
            )

        await self._store.transact(insert)

    async def claim(self, worker: str, lease: float) -> Job | None:
        """Give the worker a job that is nobody's, or no longer anybody's; None if there is none.

        Args:
            worker: Its name, which no other has.
            lease: Seconds that it has for the first step.
        """

        def take(db: sqlite3.Connection) -> Job | None:
            now = time.time()
            row = db.execute(CLAIM, {"worker": worker, "now": now, "until": now + lease}).fetchone()
            return _job(db, row) if row else None

        return await self._store.transact(take)

    async def save(self, job: Job, worker: str, step: int, text: str, lease: float) -> bool:
        """Keep what a step has found and renew the lease.

        Returns:
            Whether the job is still the worker's; nothing is kept otherwise.
        """

        def write(db: sqlite3.Connection) -> bool:
            renewed = db.execute(
                "UPDATE job SET lease = ? WHERE id = ? AND worker = ? AND ended IS NULL",
                (time.time() + lease, job.id, worker),
            )
            if renewed.rowcount:
                db.execute("INSERT INTO finding VALUES (?, ?, ?)", (job.id, step, text))
            return bool(renewed.rowcount)

        return await self._store.transact(write)

    async def end(self, job: Job, worker: str, problem: str | None = None) -> None:
        """Note that the worker is done with the job, or why it cannot be."""
        await self._store.query(
            """UPDATE job SET ended = :now, problem = :problem
                WHERE id = :id AND worker = :worker AND ended IS NULL""",
            id=job.id,
            worker=worker,
            now=time.time(),
            problem=problem,
        )

    async def give_back(self, job: Job, worker: str) -> None:
        """Let another worker go on at once, if the job still is this one's."""
        await self._store.query(
            "UPDATE job SET lease = 0 WHERE id = :id AND worker = :worker",
            id=job.id,
            worker=worker,
        )


def _job(db: sqlite3.Connection, row: sqlite3.Row) -> Job:
    found = db.execute("SELECT text FROM finding WHERE job_id = ? ORDER BY step", (row["id"],))
    return Job(**row, findings=tuple(finding["text"] for finding in found))
