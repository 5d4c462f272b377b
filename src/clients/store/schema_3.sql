-- Commits that their owner has ordered to be run, oldest order first, until their runs have ended.
CREATE TABLE commit_orders (
    id      INTEGER PRIMARY KEY,
    project TEXT NOT NULL,
    sha     TEXT NOT NULL,
    UNIQUE (project, sha)
) STRICT;
