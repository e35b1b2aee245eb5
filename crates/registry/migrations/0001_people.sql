-- People and how they sign in. Times are microseconds since 1970 (UTC). Written for SQLite, with nothing in it that
-- PostgreSQL would need said otherwise except the type of byte strings (BLOB is BYTEA there).

CREATE TABLE people (
    -- The identity for ever, 16 bytes. Never reused: a deleted person stays as a tombstone.
    id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    name TEXT NOT NULL,
    display_name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    disabled_at BIGINT,
    deleted_at BIGINT
);

-- A name is unique among the living; a deleted person's name is free for somebody new, with a new id.
CREATE UNIQUE INDEX people_name_living ON people (name) WHERE deleted_at IS NULL;

CREATE TABLE verifiers (
    person BLOB NOT NULL REFERENCES people (id),
    kind TEXT NOT NULL CHECK (kind IN ('argon2id', 'scram-sha-256')),
    verifier TEXT NOT NULL,
    set_at BIGINT NOT NULL,
    PRIMARY KEY (person, kind)
);

CREATE TABLE roles_held (
    person BLOB NOT NULL REFERENCES people (id),
    role TEXT NOT NULL,
    PRIMARY KEY (person, role)
);

CREATE TABLE tokens (
    id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    person BLOB NOT NULL REFERENCES people (id),
    -- SHA-256 of the token. The token itself is nowhere.
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    scram TEXT,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);

CREATE INDEX tokens_of_person ON tokens (person, expires_at);

CREATE TABLE failures (
    person BLOB PRIMARY KEY NOT NULL REFERENCES people (id),
    failures BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    locked_until BIGINT
);
