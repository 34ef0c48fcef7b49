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

-- How far somebody has read a discussion.
CREATE TABLE IF NOT EXISTS seen (
    nickname      TEXT NOT NULL,
    discussion_id INTEGER NOT NULL REFERENCES discussion (id),
    comment_id    INTEGER NOT NULL,
    PRIMARY KEY (nickname, discussion_id)
);
