-- Every trouble of the watching itself: records lost, topics made anew, a damaged file, ... `told`: whether people were
-- told of this one; the same kind at the same place is told at most once an hour. Kept for 90 days.
CREATE TABLE trouble_log (
    id INTEGER PRIMARY KEY,
    at_us INTEGER NOT NULL,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    place TEXT NOT NULL,
    what TEXT NOT NULL,
    since TEXT NOT NULL,
    missing_from TEXT,
    missing_to TEXT,
    told INTEGER NOT NULL
) STRICT;
CREATE INDEX trouble_by_time ON trouble_log (at_us);

-- Where the partition ended when that was last known.
ALTER TABLE position ADD COLUMN end_offset INTEGER;
-- A record that was read a while ago: its offset, its time in milliseconds, a hash of key and value. If another record is
-- there, the topic was made anew.
ALTER TABLE position ADD COLUMN anchor_offset INTEGER;
ALTER TABLE position ADD COLUMN anchor_millis INTEGER;
ALTER TABLE position ADD COLUMN anchor_hash INTEGER;
