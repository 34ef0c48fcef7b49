CREATE TABLE IF NOT EXISTS setting (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS discussion (
    id              INTEGER PRIMARY KEY,
    title           TEXT NOT NULL,
    tag             TEXT NOT NULL,
    body            TEXT NOT NULL,
    author          TEXT NOT NULL,
    created         REAL NOT NULL,  -- seconds since the epoch, here and below
    moderators_only INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE IF NOT EXISTS comment (
    id            INTEGER PRIMARY KEY,
    discussion_id INTEGER NOT NULL REFERENCES discussion (id),
    author        TEXT,  -- NULL: a guest
    text          TEXT NOT NULL,
    created       REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS comment_by_discussion ON comment (discussion_id, id);
CREATE INDEX IF NOT EXISTS comment_by_time ON comment (created);

CREATE TABLE IF NOT EXISTS vote (
    discussion_id INTEGER NOT NULL REFERENCES discussion (id),
    voter         TEXT NOT NULL,  -- a nickname, or "guest:" and the random mark of a browser
    created       REAL NOT NULL,
    PRIMARY KEY (discussion_id, voter)
);
CREATE INDEX IF NOT EXISTS vote_by_time ON vote (created);

-- The last comment that a user has read in a discussion.
CREATE TABLE IF NOT EXISTS seen (
    nickname      TEXT NOT NULL,
    discussion_id INTEGER NOT NULL REFERENCES discussion (id),
    comment_id    INTEGER NOT NULL,
    PRIMARY KEY (nickname, discussion_id)
);

-- The board's cards. The places in a stage (a column) are 0, 1, 2 and so on, from the top.
CREATE TABLE IF NOT EXISTS card (
    id      INTEGER PRIMARY KEY,
    title   TEXT NOT NULL,
    stage   TEXT NOT NULL CHECK (stage IN ('todo', 'doing', 'done')),
    place   INTEGER NOT NULL,
    owner   TEXT,  -- NULL: no owner
    changed REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS card_by_place ON card (stage, place);

-- What was said in the lounge. An id is never given twice, for reports name it.
CREATE TABLE IF NOT EXISTS line (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    author      TEXT NOT NULL,
    text        TEXT NOT NULL,
    created     REAL NOT NULL,
    reported_by TEXT  -- NULL: not reported, or settled by a moderator
);

-- The users who may not enter the lounge.
CREATE TABLE IF NOT EXISTS sent_out (
    nickname  TEXT PRIMARY KEY,
    moderator TEXT NOT NULL,
    until     REAL  -- NULL: for good
);

-- The requested reports: a queue, whose newest row the page shows.
CREATE TABLE IF NOT EXISTS job (
    id       INTEGER PRIMARY KEY,
    asked_by TEXT,  -- NULL: a guest
    asked    REAL NOT NULL,
    worker   TEXT,  -- NULL: none has it
    lease    REAL,  -- until then it is that worker's, who renews it with every step
    ended    REAL,
    problem  TEXT   -- why it could not be done
);

-- What a job has found out, step by step: how far it is, and where another worker goes on.
CREATE TABLE IF NOT EXISTS finding (
    job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    step   INTEGER NOT NULL,
    text   TEXT NOT NULL,
    PRIMARY KEY (job_id, step)
);
