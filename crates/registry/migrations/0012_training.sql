-- What people must have learnt: since when, and when they did.
CREATE TABLE training_assignments (
    person BLOB NOT NULL REFERENCES people (id),
    -- The name of the course in the configuration.
    course TEXT NOT NULL,
    -- When the person first held a role that asks for it.
    assigned_at BIGINT NOT NULL,
    PRIMARY KEY (person, course)
);

CREATE TABLE training_completions (
    number BIGINT PRIMARY KEY NOT NULL CHECK (number > 0),
    person BLOB NOT NULL REFERENCES people (id),
    course TEXT NOT NULL,
    completed_at BIGINT NOT NULL,
    -- How it became known: 'command', 'csv' or 'xapi'; and by what the source knows it.
    source TEXT NOT NULL CHECK (source IN ('command', 'csv', 'xapi')),
    reference TEXT,
    recorded_by TEXT NOT NULL,
    recorded_at BIGINT NOT NULL,
    -- A completion that was entered by mistake stays as a row.
    withdrawn_at BIGINT,
    withdrawn_by TEXT,
    withdrawn_why TEXT,
    CHECK ((withdrawn_at IS NULL) = (withdrawn_by IS NULL))
);

-- The same course on the same day is one completion, however often it is told.
CREATE UNIQUE INDEX training_completed_once ON training_completions (person, course, completed_at)
    WHERE withdrawn_at IS NULL;
