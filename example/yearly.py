"""The questions of the yearly report, one per step, without the moderators' room.

Each statement answers with one row, whose values go into the sentence beside it.
"""

from dataclasses import dataclass

from example.store import Store


@dataclass(frozen=True, slots=True)
class Question:
    title: str  # what the worker does meanwhile
    sql: str
    sentence: str
    nothing: str = "Nothing to tell."  # where there is no row


#: Comments that all users may read.
OPEN = """comment JOIN discussion ON discussion.id = discussion_id AND NOT moderators_only"""

QUESTIONS = (
    Question(
        "Counting discussions",
        """SELECT count(*), count(DISTINCT author) FROM discussion WHERE NOT moderators_only""",
        "{} discussions, begun by {} people.",
    ),
    Question(
        "Counting comments and their words",
        f"""SELECT count(*),
                   coalesce(sum(1 + length(text) - length(replace(text, ' ', ''))), 0)
              FROM {OPEN}""",
        "{} comments with {:,} words.",
    ),
    Question(
        "Counting votes",
        """SELECT count(*), count(DISTINCT voter) FROM vote JOIN discussion ON id = discussion_id
            WHERE NOT moderators_only""",
        "{} votes.",
    ),
    Question(
        "Looking for who writes most",
        f"""SELECT comment.author, count(*) AS many FROM {OPEN}
             WHERE comment.author IS NOT NULL
             GROUP BY comment.author ORDER BY many DESC, comment.author LIMIT 1""",
        "{} writes most: {} comments.",
    ),
    Question(
        "Looking for the longest comment",
        f"""SELECT coalesce(comment.author, 'a guest'), length(text), title FROM {OPEN}
             ORDER BY length(text) DESC LIMIT 1""",
        "The longest comment is by {}: {} characters in “{}”.",
    ),
    Question(
        "Measuring how fast answers come",
        """SELECT title, (min(comment.created) - discussion.created) / 60 AS minutes
             FROM comment JOIN discussion ON discussion.id = discussion_id AND NOT moderators_only
            GROUP BY discussion_id ORDER BY minutes LIMIT 1""",
        "The quickest answer was to “{}”, after {:.0f} minutes.",
    ),
    Question(
        "Looking for the busiest hour",
        f"""SELECT strftime('%H', comment.created, 'unixepoch') AS hour, count(*) AS many
              FROM {OPEN} GROUP BY hour ORDER BY many DESC, hour LIMIT 1""",
        "The busiest hour begins at {}:00 UTC, with {} comments.",
    ),
    Question(
        "Comparing votes",
        """SELECT title, count(*) AS many FROM vote JOIN discussion ON id = discussion_id
            WHERE NOT moderators_only GROUP BY discussion_id ORDER BY many DESC LIMIT 1""",
        "“{}” has most votes: {}.",
    ),
    Question(
        "Finding pairs who talk to each other",
        f"""SELECT discussion.author, comment.author, count(*) AS many FROM {OPEN}
             WHERE comment.author <> discussion.author
             GROUP BY 1, 2 ORDER BY many DESC, 1, 2 LIMIT 1""",
        "{} was answered most often by {}: {} times.",
    ),
    Question(
        "Looking at the board",
        """SELECT coalesce(sum(stage = 'done'), 0), count(*) FROM card""",
        "{} of {} cards on the board are done.",
    ),
)


async def answer(store: Store, question: Question) -> str:
    """Ask the database, and return the answer as a sentence."""
    rows = await store.query(question.sql)
    return question.sentence.format(*rows[0]) if rows else question.nothing
