"""The queue of requested reports: a table from which workers claim jobs.

A worker owns a job only until its lease expires; every step renews the lease. So a killed worker
blocks no job, and a slow one finds out at its next step that another worker has claimed the job.
Leases compare the clocks of processes, which therefore run on one machine, like the database.
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
        """Return the newest job."""

        def read(db: sqlite3.Connection) -> Job | None:
            row = db.execute("SELECT * FROM job ORDER BY id DESC LIMIT 1").fetchone()
            return _job(db, row) if row else None

        return await self._store.transact(read)

    async def ask(self, asked_by: str | None) -> None:
        """Queue a job in the place of the last one, unless that has not ended."""

        def insert(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM job WHERE ended IS NOT NULL")
            db.execute(
                """INSERT INTO job (asked_by, asked)
                   SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM job)""",
                (asked_by, time.time()),
            )

        await self._store.transact(insert)

    async def claim(self, worker: str, lease: float) -> Job | None:
        """Return a job whose lease is free or expired, now claimed by the worker; None without one.

        Args:
            worker: The worker's unique name.
            lease: Lease for the first step, in seconds.
        """

        def take(db: sqlite3.Connection) -> Job | None:
            now = time.time()
            row = db.execute(CLAIM, {"worker": worker, "now": now, "until": now + lease}).fetchone()
            return _job(db, row) if row else None

        return await self._store.transact(take)

    async def save(self, job: Job, worker: str, step: int, text: str, lease: float) -> bool:
        """Save the finding of a step and renew the lease.

        Returns:
            Whether the worker still owns the job; otherwise nothing is saved.
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
        """End the job, with the problem if it failed."""
        await self._store.query(
            """UPDATE job SET ended = :now, problem = :problem
                WHERE id = :id AND worker = :worker AND ended IS NULL""",
            id=job.id,
            worker=worker,
            now=time.time(),
            problem=problem,
        )

    async def give_back(self, job: Job, worker: str) -> None:
        """Release the job for other workers, if the worker still owns it."""
        await self._store.query(
            "UPDATE job SET lease = 0 WHERE id = :id AND worker = :worker",
            id=job.id,
            worker=worker,
        )


def _job(db: sqlite3.Connection, row: sqlite3.Row) -> Job:
    found = db.execute("SELECT text FROM finding WHERE job_id = ? ORDER BY step", (row["id"],))
    return Job(**row, findings=tuple(finding["text"] for finding in found))
