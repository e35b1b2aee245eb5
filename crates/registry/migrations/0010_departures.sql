-- Who was barred or deleted, when we were told, and when the last session ended. Rows stay: the report of leavers is made of them.
CREATE TABLE departures (
    number BIGINT PRIMARY KEY NOT NULL CHECK (number > 0),
    person BLOB NOT NULL REFERENCES people (id),
    -- The login name of then.
    name TEXT NOT NULL,
    -- What told: 'command', 'scim:NAME' or 'ldap'.
    source TEXT NOT NULL,
    told_by TEXT NOT NULL,
    told_at BIGINT NOT NULL,
    -- When the employment ended, where the source says so. May be long before.
    ended_at BIGINT,
    sessions BIGINT NOT NULL,
    tokens BIGINT NOT NULL,
    -- When no session was left. A token ends in the transaction that makes the row.
    cut_at BIGINT
);

CREATE INDEX departures_of_person ON departures (person, number);
