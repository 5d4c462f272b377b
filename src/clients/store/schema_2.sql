-- What GitHub is told about commits. The newest word on a commit counts.
CREATE TABLE commit_statuses (
    project TEXT NOT NULL,
    sha     TEXT NOT NULL,
    status  TEXT NOT NULL,                           -- JSON
    told    INTEGER NOT NULL,                        -- whether GitHub has it
    PRIMARY KEY (project, sha)
) STRICT;
