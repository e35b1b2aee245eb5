-- What administrators locked: everything is refused to, or of, what a row that is not lifted names. Rows stay.
CREATE TABLE locks (
    number BIGINT PRIMARY KEY NOT NULL CHECK (number > 0),
    kind TEXT NOT NULL CHECK (kind IN ('person', 'role', 'resource', 'address')),
    -- A role's or resource's name, an address or range, or the login name of then.
    name TEXT NOT NULL,
    -- Of a person the identity, which outlives the name.
    person BLOB REFERENCES people (id) CHECK ((kind = 'person') = (person IS NOT NULL)),
    reason TEXT NOT NULL,
    placed_by TEXT NOT NULL,
    placed_at BIGINT NOT NULL,
    lifted_by TEXT,
    lifted_at BIGINT
);
