"""Fill a new database from `seed.toml`."""

import random
import sqlite3
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any


def plant(db: sqlite3.Connection, now: float) -> None:
    """Insert what is in `seed.toml`, dated back from `now`, in the caller's transaction."""
    seed = tomllib.loads(Path(__file__).with_name("seed.toml").read_text("utf-8"))
    comments: list[tuple[int, str, str, float]] = []
    for number, item in enumerate(seed["discussion"], start=1):
        db.execute(
            "INSERT INTO discussion VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                number,
                item["title"],
                item["tag"],
                item["body"].strip(),
                item["author"],
                now - 60 * item["minutes_ago"],
                item.get("moderators_only", False),
            ),
        )
        # None of these voters can sign in, so every demo account still has its vote.
        db.executemany(
            "INSERT INTO vote VALUES (?, ?, ?)",
            [
                (number, f"seed:{place}", now - 60 * minutes)
                for place, minutes in enumerate(_vote_ages(item, random.Random(number)))
            ],
        )
        comments += [
            (number, comment["author"], comment["text"].strip(), now - 60 * comment["minutes_ago"])
            for comment in item["comment"]
        ]
    comments.sort(key=lambda comment: comment[-1])  # a higher id means a later comment
    db.executemany(
        "INSERT INTO comment (discussion_id, author, text, created) VALUES (?, ?, ?, ?)",
        comments,
    )
    db.executemany(
        "INSERT INTO line (author, text, created) VALUES (?, ?, ?)",
        [(line["author"], line["text"], now - 60 * line["minutes_ago"]) for line in seed["line"]],
    )
    places: Counter[str] = Counter()
    for card in seed["card"]:
        db.execute(
            "INSERT INTO card (title, stage, place, owner, changed) VALUES (?, ?, ?, ?, ?)",
            (card["title"], card["stage"], places[card["stage"]], card.get("owner"), now - 3600),
        )
        places[card["stage"]] += 1


def _vote_ages(item: dict[str, Any], chance: random.Random) -> list[float]:
    """Spread a discussion's votes over the past, in minutes ago, the same way at every first start.

    Half of them follow a comment, as people vote when something new has made them look.
    """
    comments = [comment["minutes_ago"] for comment in item["comment"]]
    ages = []
    for place in range(item["votes"]):
        if place % 2:
            age = chance.choice(comments) - chance.uniform(0, 12)
        else:
            age = chance.expovariate(1 / 480)
        ages.append(min(max(age, chance.uniform(1, 4)), item["minutes_ago"] - 1))
    return ages
