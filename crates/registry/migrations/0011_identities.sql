-- Who somebody is elsewhere: one subject of one provider is one person, for ever. A person may have several.
CREATE TABLE identities (
    -- 'oidc:NAME', 'scim:NAME' or 'ldap'.
    provider TEXT NOT NULL,
    subject TEXT NOT NULL,
    person BLOB NOT NULL REFERENCES people (id),
    bound_by TEXT NOT NULL,
    bound_at BIGINT NOT NULL,
    PRIMARY KEY (provider, subject)
);

CREATE INDEX identities_of_person ON identities (person);

-- Tokens of those who manage people by SCIM; the token itself is nowhere.
CREATE TABLE scim_tokens (
    id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    source TEXT NOT NULL,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    made_by TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    revoked_at BIGINT
);

-- Groups of an identity provider, as SCIM tells them. What a group gives is configured.
CREATE TABLE scim_groups (
    id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    source TEXT NOT NULL,
    display_name TEXT NOT NULL,
    external_id TEXT,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);

CREATE UNIQUE INDEX scim_groups_name ON scim_groups (source, display_name);

CREATE TABLE scim_members (
    scim_group BLOB NOT NULL REFERENCES scim_groups (id),
    person BLOB NOT NULL REFERENCES people (id),
    PRIMARY KEY (scim_group, person)
);

-- What SCIM tells of a person beside what people have: kept, so that it can be given back.
CREATE TABLE scim_users (
    person BLOB PRIMARY KEY NOT NULL REFERENCES people (id),
    source TEXT NOT NULL,
    external_id TEXT,
    -- Further attributes, a JSON object.
    attributes TEXT NOT NULL,
    version BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
