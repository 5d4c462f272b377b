-- homeport's state. Times are RFC 3339 in UTC.

-- One row as long as this database is not whole: whether it stands in the place of one that was lost is to be found out.
CREATE TABLE origin (
    made_at TEXT NOT NULL,
    damage  TEXT,                                    -- what was wrong with the one before
    kept    TEXT                                     -- where that one was put
) STRICT;
INSERT INTO origin (made_at) VALUES (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'));

CREATE TABLE runs (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,  -- AUTOINCREMENT: a number is never used again
    project      TEXT NOT NULL,
    kind         TEXT NOT NULL,
    trigger      TEXT NOT NULL,
    commit_sha   TEXT,
    tag          TEXT,
    digest       TEXT,
    stage        TEXT,                               -- the stage entered last
    outcome      TEXT,                               -- NULL while the run goes on
    failed_stage TEXT,
    reason       TEXT,
    started_at   TEXT NOT NULL,
    finished_at  TEXT,
    log          TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX runs_of_project ON runs (project, kind, number);

-- What was made of commits, and why.
CREATE TABLE judgements (
    project TEXT NOT NULL,
    sha     TEXT NOT NULL,
    verdict TEXT NOT NULL,                           -- pushed | failed | skipped | wanted
    run     INTEGER NOT NULL,                        -- the run that judged it, or the last one before
    reason  TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (project, sha)
) STRICT;

-- Tags that were taken before they were pushed. A row is never deleted.
CREATE TABLE reservations (
    project TEXT NOT NULL,
    tag     TEXT NOT NULL,
    run     INTEGER NOT NULL,
    digest  TEXT,                                    -- NULL until the registry has confirmed the push
    PRIMARY KEY (project, tag)
) STRICT;

-- At most one deployment in flight per project.
CREATE TABLE journals (
    project TEXT PRIMARY KEY,
    journal TEXT NOT NULL                            -- JSON
) STRICT;

-- Every release that proved itself here, newest last.
CREATE TABLE deployments (
    run          INTEGER PRIMARY KEY,
    project      TEXT NOT NULL,
    tag          TEXT NOT NULL,
    digest       TEXT NOT NULL,
    container_id TEXT NOT NULL,
    image_id     TEXT NOT NULL,
    replaced     TEXT,                               -- the container in whose place it came
    spec         TEXT NOT NULL,                      -- JSON: what the container was made from
    deployed_at  TEXT NOT NULL,
    standing     TEXT NOT NULL                       -- current | previous | past | failed
) STRICT;
CREATE INDEX deployments_of_project ON deployments (project, run);

-- Digests that failed for a reason of their own.
CREATE TABLE quarantine (
    project TEXT NOT NULL,
    digest  TEXT NOT NULL,
    tag     TEXT NOT NULL,
    run     INTEGER NOT NULL,
    reason  TEXT NOT NULL,
    PRIMARY KEY (project, digest)
) STRICT;

-- Configurations of a container with which the content that serves failed.
CREATE TABLE refused_specs (
    project TEXT PRIMARY KEY,
    spec    TEXT NOT NULL,                           -- JSON
    run     INTEGER NOT NULL,
    reason  TEXT NOT NULL
) STRICT;

-- What the owner has ordered until further notice.
CREATE TABLE standing_orders (
    project      TEXT PRIMARY KEY,
    paused_since TEXT,
    hold         TEXT                                -- JSON: what was chosen instead of something newer
) STRICT;

-- Services that fell ill after their watch, of which their owner was told.
CREATE TABLE illnesses (
    project TEXT PRIMARY KEY,
    illness TEXT NOT NULL                            -- JSON
) STRICT;

-- Mail that waits to be sent.
CREATE TABLE outbox (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id  TEXT NOT NULL UNIQUE,
    happened_at TEXT NOT NULL,
    subject     TEXT NOT NULL,
    body        TEXT NOT NULL,
    html        TEXT NOT NULL,
    log         TEXT,                                -- the run log to attach
    urgent      INTEGER NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    next_at     TEXT NOT NULL,
    last_error  TEXT
) STRICT;

-- What each project's owner was told about failures, so that repeats can be folded.
CREATE TABLE failure_memories (
    project TEXT PRIMARY KEY,
    memory  TEXT NOT NULL                            -- JSON
) STRICT;
