-- The number of the last change that an administrator made here, set in the same transaction as the change. The trail
-- knows it too: a registry from a backup is behind it.
CREATE TABLE changes (
    one BIGINT PRIMARY KEY NOT NULL CHECK (one = 1),
    number BIGINT NOT NULL
);

INSERT INTO changes (one, number) VALUES (1, 0);
