-- Requests for a role on a resource for a time, and what became of them. Rows stay: every right has its reason here.
CREATE TABLE access_requests (
    number BIGINT PRIMARY KEY NOT NULL CHECK (number > 0),
    person BLOB NOT NULL REFERENCES people (id),
    role TEXT NOT NULL,
    resource TEXT NOT NULL,
    purpose TEXT NOT NULL,
    reason TEXT NOT NULL,
    duration_s BIGINT NOT NULL CHECK (duration_s > 0),
    -- How many people must approve.
    approvals BIGINT NOT NULL CHECK (approvals > 0),
    asked_at BIGINT NOT NULL,
    -- When the last approval made it a grant, and until when it is one.
    granted_at BIGINT,
    until BIGINT CHECK ((granted_at IS NULL) = (until IS NULL)),
    -- Denied, withdrawn, revoked or expired, by whom ('wardline' where time did it) and why.
    closed_as TEXT CHECK (closed_as IN ('denied', 'withdrawn', 'revoked', 'expired')),
    closed_by TEXT,
    closed_at BIGINT,
    closed_why TEXT,
    CHECK ((closed_as IS NULL) = (closed_at IS NULL))
);

CREATE TABLE access_approvals (
    request BIGINT NOT NULL REFERENCES access_requests (number),
    person BLOB NOT NULL REFERENCES people (id),
    -- The login name of then.
    name TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (request, person)
);
