-- Campaigns in which people look at rights that others hold. The list of rights is made once, at the start.
CREATE TABLE campaigns (
    number BIGINT PRIMARY KEY NOT NULL CHECK (number > 0),
    scope TEXT NOT NULL CHECK (scope IN ('resource', 'manager')),
    -- The resource, or the login name that the manager had.
    name TEXT NOT NULL,
    due_at BIGINT NOT NULL,
    -- Who is asked about what is not answered in time, and for how long; NULL where it is revoked at once.
    escalate_to BLOB REFERENCES people (id),
    escalate_name TEXT,
    escalate_s BIGINT,
    started_by TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    closed_at BIGINT
);

CREATE TABLE campaign_rights (
    campaign BIGINT NOT NULL REFERENCES campaigns (number),
    item BIGINT NOT NULL,
    person BLOB NOT NULL REFERENCES people (id),
    person_name TEXT NOT NULL,
    role TEXT NOT NULL,
    -- The request that granted it for a time; NULL for a role that is held.
    request BIGINT REFERENCES access_requests (number),
    -- Who must answer, not about themselves, and until when.
    reviewer BLOB NOT NULL REFERENCES people (id),
    reviewer_name TEXT NOT NULL,
    due_at BIGINT NOT NULL,
    escalated_at BIGINT,
    decision TEXT CHECK (decision IN ('confirmed', 'changed', 'revoked', 'unanswered', 'gone')),
    changed_to TEXT,
    decided_by TEXT,
    decided_at BIGINT,
    reason TEXT,
    PRIMARY KEY (campaign, item),
    CHECK (reviewer <> person),
    CHECK ((decision IS NULL) = (decided_at IS NULL))
);

-- What policies were made from, by their digest, compressed. The trail says which was in force when.
CREATE TABLE policies (
    digest BLOB PRIMARY KEY NOT NULL CHECK (length(digest) = 32),
    sources BLOB NOT NULL,
    kept_at BIGINT NOT NULL
);
