-- Second factors of people, and what tokens are worth. Times are microseconds since 1970 (UTC).

-- Authenticators. The secret is sealed under a key of the root key; nobody reads it from here.
CREATE TABLE totp (
    person BLOB PRIMARY KEY NOT NULL REFERENCES people (id),
    sealed BLOB NOT NULL,
    -- The step of the last code that was taken: none of it or before it counts again.
    last_step BIGINT NOT NULL,
    added_at BIGINT NOT NULL,
    -- When the first code was taken; before that it might have been typed wrongly into the phone.
    confirmed_at BIGINT
);

-- Codes on paper, each for one sign-in.
CREATE TABLE recovery_codes (
    person BLOB NOT NULL REFERENCES people (id),
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    made_at BIGINT NOT NULL,
    used_at BIGINT,
    PRIMARY KEY (person, digest)
);

-- Passkeys, as the library of WebAuthn keeps them (public keys and counters, JSON).
CREATE TABLE passkeys (
    id BLOB PRIMARY KEY NOT NULL,
    person BLOB NOT NULL REFERENCES people (id),
    label TEXT NOT NULL,
    state TEXT NOT NULL,
    added_at BIGINT NOT NULL,
    used_at BIGINT
);

CREATE INDEX passkeys_of_person ON passkeys (person);

-- How the person of a token showed who they are when it was issued, and when the second factor was shown.
ALTER TABLE tokens ADD COLUMN sign_in TEXT NOT NULL DEFAULT 'password';
ALTER TABLE tokens ADD COLUMN factor_at BIGINT;
