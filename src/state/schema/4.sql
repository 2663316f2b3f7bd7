-- Format 4: the snapshot of the join table.

-- At most one row: the file beside this one that holds the join table of an earlier instant, from which a restart reads
-- on. It is whole, and older than the checkpoint.
CREATE TABLE snapshot (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    file TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    predictions INTEGER NOT NULL,
    labels INTEGER NOT NULL
) STRICT;
