-- Client keys beside those of the configuration file. `terms` is JSON: what the key may use. Times are milliseconds since 1970.
CREATE TABLE keys (
    id             TEXT NOT NULL PRIMARY KEY,
    team           TEXT NOT NULL,
    terms          TEXT NOT NULL,
    created_at_ms  INTEGER NOT NULL,
    expires_at_ms  INTEGER,
    disabled_at_ms INTEGER
) STRICT, WITHOUT ROWID;

-- The secrets of keys, as SHA-256 in hexadecimal digits. A key that is rotated has two for a while.
CREATE TABLE key_secrets (
    sha256        TEXT NOT NULL PRIMARY KEY,
    key_id        TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER
) STRICT, WITHOUT ROWID;

-- What the keys of a team may use together, as JSON.
CREATE TABLE teams (
    id    TEXT NOT NULL PRIMARY KEY,
    terms TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Every change of these, in order.
CREATE TABLE audit (
    number  INTEGER NOT NULL PRIMARY KEY,
    at_ms   INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL
) STRICT;
