-- What is known of accounts beyond how they sign in. Who has no row is a person of whom nothing more is known.
CREATE TABLE account_details (
    person BLOB PRIMARY KEY NOT NULL REFERENCES people (id),
    kind TEXT NOT NULL CHECK (kind IN ('person', 'service', 'shared', 'agent')),
    owner BLOB REFERENCES people (id),
    approver BLOB REFERENCES people (id),
    -- Who reviews what the person may do.
    manager BLOB REFERENCES people (id),
    last_used_at BIGINT
);

-- The accounts by which Wardline signs in at resources: many people are behind each.
CREATE TABLE upstream_accounts (
    resource TEXT NOT NULL,
    account TEXT NOT NULL,
    owner BLOB REFERENCES people (id),
    approver BLOB REFERENCES people (id),
    last_used_at BIGINT,
    PRIMARY KEY (resource, account)
);

-- A person's leave for an agent to act on their behalf. Rows stay: every right has its reason here.
CREATE TABLE delegations (
    number BIGINT PRIMARY KEY NOT NULL CHECK (number > 0),
    agent BLOB NOT NULL REFERENCES people (id),
    person BLOB NOT NULL REFERENCES people (id),
    purpose TEXT,
    -- The token that the agent signs in with.
    token BLOB NOT NULL CHECK (length(token) = 16),
    given_at BIGINT NOT NULL,
    until BIGINT NOT NULL,
    ended_at BIGINT,
    ended_by TEXT,
    ended_why TEXT,
    CHECK (agent <> person),
    CHECK ((ended_at IS NULL) = (ended_by IS NULL))
);

CREATE UNIQUE INDEX delegations_by_token ON delegations (token);
