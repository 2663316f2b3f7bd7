-- Which incidents a notice is about: notices about one incident reach a recipient in the order of their numbers.
-- `trouble`: whether it says that something is wrong; whoever got it is owed the end.
CREATE TABLE about (
    number INTEGER NOT NULL,
    incident TEXT NOT NULL,
    trouble INTEGER NOT NULL,
    PRIMARY KEY (number, incident)
) STRICT, WITHOUT ROWID;
CREATE INDEX about_incident ON about (incident, number);
-- Numbers may be given again.
CREATE TRIGGER about_nothing AFTER DELETE ON outbox BEGIN
    DELETE FROM about WHERE number = old.number;
END;

-- Whether all that would have told it are dead letters: then the end is not owed.
ALTER TABLE told ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;

-- Notices did not name their incidents but in a header.
UPDATE outbox SET message = json_set(message, '$.incidents', json((
    SELECT '["' || replace(header.value ->> 1, ', ', '","') || '"]'
    FROM json_each(message, '$.headers') AS header WHERE header.value ->> 0 = 'X-Modelwatch-Incident'
))) WHERE CASE WHEN json_valid(message) THEN message ->> '$.headers' LIKE '%"X-Modelwatch-Incident"%' ELSE 0 END;
INSERT INTO about (number, incident, trouble)
SELECT DISTINCT outbox.number, incident.value, EXISTS (
    SELECT 1 FROM json_each(outbox.message, '$.headers') AS header
    WHERE header.value ->> 0 = 'X-Modelwatch-State'
      AND header.value ->> 1 IN ('firing', 'repeat', 'no_data', 'labels_late')
)
FROM outbox, json_each(CASE WHEN json_valid(message) THEN message ELSE '{}' END, '$.incidents') AS incident;
