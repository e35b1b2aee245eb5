-- Protections that are switched off for a reason, by whose decision and until when. Rows stay.
CREATE TABLE exceptions (
    number BIGINT PRIMARY KEY NOT NULL CHECK (number > 0),
    -- The protection, such as 'listener.plaintext'.
    control TEXT NOT NULL,
    reason TEXT NOT NULL,
    until BIGINT NOT NULL,
    asked_by BLOB NOT NULL REFERENCES people (id),
    -- Login names are those of then.
    asked_name TEXT NOT NULL,
    asked_at BIGINT NOT NULL,
    approved_by BLOB REFERENCES people (id) CHECK (approved_by <> asked_by),
    approved_name TEXT,
    approved_at BIGINT CHECK ((approved_by IS NULL) = (approved_at IS NULL)),
    ended_name TEXT,
    ended_at BIGINT CHECK ((ended_name IS NULL) = (ended_at IS NULL)),
    ended_why TEXT
);
