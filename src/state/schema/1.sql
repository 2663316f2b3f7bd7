-- The state of one modelwatch. Times in *_us are microseconds since the epoch (UTC), others are RFC 3339.

-- Facts of the deployment: `fingerprint_key`, the secret key of the ids in memory.
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;

-- One row: the engine's state as of the last commit.
CREATE TABLE checkpoint (id INTEGER PRIMARY KEY CHECK (id = 1), at_us INTEGER NOT NULL, saved BLOB NOT NULL) STRICT;

-- The next offset to read of each partition, as of the checkpoint. `number` is the checkpoint's own.
CREATE TABLE position (
    number INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next_offset INTEGER NOT NULL
) STRICT;

-- Earlier positions with the event time reached there: where reading starts to rebuild the join after a restart.
CREATE TABLE mark (
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    newest_us INTEGER NOT NULL,
    floor_us INTEGER NOT NULL,
    PRIMARY KEY (topic, partition, next_offset)
) STRICT, WITHOUT ROWID;

-- Every change of every alert, with the headline of what caused it. Kept for 90 days.
CREATE TABLE transition_log (
    id INTEGER PRIMARY KEY,
    at_us INTEGER NOT NULL,
    at TEXT NOT NULL,
    rule TEXT NOT NULL,
    model TEXT NOT NULL,
    dimension TEXT,
    segment TEXT,
    severity TEXT NOT NULL,
    change TEXT NOT NULL,
    since TEXT NOT NULL,
    incident TEXT,
    sequence INTEGER NOT NULL,
    indicator TEXT,
    value REAL,
    bound TEXT,
    n_eff REAL
) STRICT;
CREATE INDEX transition_by_time ON transition_log (at_us);
CREATE INDEX transition_by_incident ON transition_log (incident);

-- Who was told of the beginning of an incident, and is owed its end.
CREATE TABLE told (
    incident TEXT NOT NULL,
    notifier TEXT NOT NULL,
    recipient TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    PRIMARY KEY (incident, notifier, recipient)
) STRICT, WITHOUT ROWID;

-- Notices that are owed (`pending`), wait for a digest (`held`), were delivered (`sent`), or never will be (`dead`). One row a recipient.
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    notifier TEXT NOT NULL,
    recipient TEXT NOT NULL,
    message TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'held', 'sent', 'dead')),
    created_us INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_us INTEGER NOT NULL,
    answer TEXT,
    ended_us INTEGER
) STRICT;
CREATE INDEX outbox_due ON outbox (notifier, next_attempt_us) WHERE state = 'pending';
CREATE INDEX outbox_state ON outbox (state, created_us);
