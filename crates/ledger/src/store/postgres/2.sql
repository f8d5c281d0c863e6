-- Client keys beside those of the configuration file. `terms` is JSON: what the key may use. Times are milliseconds since 1970.
CREATE TABLE keys (
    id             text COLLATE "C" NOT NULL PRIMARY KEY,
    team           text COLLATE "C" NOT NULL,
    terms          text COLLATE "C" NOT NULL,
    created_at_ms  bigint NOT NULL,
    expires_at_ms  bigint,
    disabled_at_ms bigint
);

-- The secrets of keys, as SHA-256 in hexadecimal digits. A key that is rotated has two for a while.
CREATE TABLE key_secrets (
    sha256        text COLLATE "C" NOT NULL PRIMARY KEY,
    key_id        text COLLATE "C" NOT NULL,
    created_at_ms bigint NOT NULL,
    expires_at_ms bigint
);

-- What the keys of a team may use together, as JSON.
CREATE TABLE teams (
    id    text COLLATE "C" NOT NULL PRIMARY KEY,
    terms text COLLATE "C" NOT NULL
);

-- Every change of these, in order.
CREATE TABLE audit (
    number  bigint NOT NULL PRIMARY KEY,
    at_ms   bigint NOT NULL,
    actor   text COLLATE "C" NOT NULL,
    action  text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    detail  text COLLATE "C" NOT NULL
);
