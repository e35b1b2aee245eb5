-- What takes two people: proposed by one, agreed by another, done once. Nothing is deleted.
CREATE TABLE agreements (
    id BIGINT PRIMARY KEY NOT NULL,
    -- What is to be done, in words that the program reads again, such as `expire 202011`.
    what TEXT NOT NULL,
    reason TEXT NOT NULL,
    proposed_by BLOB NOT NULL REFERENCES people (id),
    proposed_name TEXT NOT NULL,
    proposed_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    agreed_by BLOB REFERENCES people (id),
    agreed_name TEXT,
    agreed_at BIGINT,
    done_at BIGINT,
    CHECK (agreed_by IS NULL OR agreed_by <> proposed_by)
);

-- What must be kept beyond its time. Everything that is said must fit; nothing said means everything.
CREATE TABLE holds (
    id BIGINT PRIMARY KEY NOT NULL,
    reason TEXT NOT NULL,
    -- A patient's identifier, sealed: no file holds one in clear.
    patient BLOB,
    person TEXT,
    resource TEXT,
    from_us BIGINT,
    to_us BIGINT,
    added_by TEXT NOT NULL,
    added_at BIGINT NOT NULL,
    removed_at BIGINT
);
