-- Emergency access (break-glass): taken by a person who may, ended by time or by somebody, reviewed by somebody else. Rows
-- stay: every right has its reason here.
CREATE TABLE emergencies (
    number BIGINT PRIMARY KEY NOT NULL CHECK (number > 0),
    person BLOB NOT NULL REFERENCES people (id),
    role TEXT NOT NULL,
    resource TEXT NOT NULL,
    -- One of the configured codes, and why in words.
    reason_code TEXT NOT NULL,
    reason TEXT NOT NULL,
    -- The patient whom it is about, sealed by the trail; NULL where it is about no single one.
    patient BLOB,
    -- 1 where it was an exercise.
    drill BIGINT NOT NULL,
    -- The sealed code by which it was taken, where it was.
    code TEXT,
    duration_s BIGINT NOT NULL CHECK (duration_s > 0),
    -- How many others must approve first; mostly none.
    approvals BIGINT NOT NULL CHECK (approvals >= 0),
    asked_at BIGINT NOT NULL,
    -- The entry of the trail that says so, from which on a reviewer reads.
    entry BIGINT NOT NULL,
    began_at BIGINT,
    until BIGINT CHECK ((began_at IS NULL) = (until IS NULL)),
    -- Ended, expired, revoked, or (before it began) withdrawn or denied; by whom ('wardline' where time did it) and why.
    over_as TEXT CHECK (over_as IN ('ended', 'expired', 'revoked', 'withdrawn', 'denied')),
    over_by TEXT,
    over_at BIGINT,
    over_why TEXT,
    -- Until when it must be reviewed, and when the alarm was given that it was not.
    review_due BIGINT,
    overdue_at BIGINT,
    reviewed_by BLOB REFERENCES people (id),
    reviewed_name TEXT,
    reviewed_at BIGINT CHECK ((reviewed_by IS NULL) = (reviewed_at IS NULL)),
    finding TEXT CHECK (finding IN ('justified', 'not-justified')),
    -- What the reviewer wrote, sealed by the trail.
    note BLOB,
    -- What became of the resource's credential after it; NULL until that is done.
    rotation TEXT,
    CHECK ((over_as IS NULL) = (over_at IS NULL))
);

CREATE TABLE emergency_approvals (
    emergency BIGINT NOT NULL REFERENCES emergencies (number),
    person BLOB NOT NULL REFERENCES people (id),
    -- The login name of then.
    name TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (emergency, person)
);
