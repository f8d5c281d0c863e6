-- Sums of `attempts` by hour (UTC, hours since 1970). What is NULL in a row is '' here, and adds nothing to a sum.
CREATE TABLE attempt_hours (
    hour              INTEGER NOT NULL,
    team              TEXT NOT NULL,
    key               TEXT NOT NULL,
    model             TEXT NOT NULL,
    route             TEXT NOT NULL,
    tags              TEXT NOT NULL,
    upstream          TEXT NOT NULL,
    role              TEXT NOT NULL,
    outcome           TEXT NOT NULL,
    usage_source      TEXT NOT NULL,
    price_version     TEXT NOT NULL,
    calls             INTEGER NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    cached_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    reasoning_tokens  INTEGER NOT NULL,
    cost_nano_usd     INTEGER NOT NULL,
    unpriced_calls    INTEGER NOT NULL,
    duration_us       INTEGER NOT NULL,
    PRIMARY KEY (hour, team, key, model, route, tags, upstream, role, outcome, usage_source, price_version)
) STRICT, WITHOUT ROWID;

-- Hours that are summed up by day: what is here is not in `attempt_hours`.
CREATE TABLE attempt_days (
    day               INTEGER NOT NULL,
    team              TEXT NOT NULL,
    key               TEXT NOT NULL,
    model             TEXT NOT NULL,
    route             TEXT NOT NULL,
    tags              TEXT NOT NULL,
    upstream          TEXT NOT NULL,
    role              TEXT NOT NULL,
    outcome           TEXT NOT NULL,
    usage_source      TEXT NOT NULL,
    price_version     TEXT NOT NULL,
    calls             INTEGER NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    cached_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    reasoning_tokens  INTEGER NOT NULL,
    cost_nano_usd     INTEGER NOT NULL,
    unpriced_calls    INTEGER NOT NULL,
    duration_us       INTEGER NOT NULL,
    PRIMARY KEY (day, team, key, model, route, tags, upstream, role, outcome, usage_source, price_version)
) STRICT, WITHOUT ROWID;

-- Sums of `requests`: with the policy '' how many there were, with another how many have a cost under it, and that cost.
CREATE TABLE request_hours (
    hour          INTEGER NOT NULL,
    team          TEXT NOT NULL,
    key           TEXT NOT NULL,
    model         TEXT NOT NULL,
    route         TEXT NOT NULL,
    tags          TEXT NOT NULL,
    outcome       TEXT NOT NULL,
    error         TEXT NOT NULL,
    policy        TEXT NOT NULL,
    requests      INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    PRIMARY KEY (hour, team, key, model, route, tags, outcome, error, policy)
) STRICT, WITHOUT ROWID;

CREATE TABLE request_days (
    day           INTEGER NOT NULL,
    team          TEXT NOT NULL,
    key           TEXT NOT NULL,
    model         TEXT NOT NULL,
    route         TEXT NOT NULL,
    tags          TEXT NOT NULL,
    outcome       TEXT NOT NULL,
    error         TEXT NOT NULL,
    policy        TEXT NOT NULL,
    requests      INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    PRIMARY KEY (day, team, key, model, route, tags, outcome, error, policy)
) STRICT, WITHOUT ROWID;

-- Which numbers the calls of an hour have, by writer: finds the rows of an hour without an index on their time.
CREATE TABLE attempt_ranges (
    hour         INTEGER NOT NULL,
    writer       INTEGER NOT NULL,
    first_number INTEGER NOT NULL,
    last_number  INTEGER NOT NULL,
    PRIMARY KEY (hour, writer)
) STRICT, WITHOUT ROWID;

-- Rows that are in no sum yet: those of this table and day behind this writer and number.
CREATE TABLE rollup_due (
    table_name TEXT NOT NULL,
    day        INTEGER NOT NULL,
    writer     INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    PRIMARY KEY (table_name, day)
) STRICT, WITHOUT ROWID;

-- The first day whose rows are all here. Those of earlier days are deleted: their sums remain.
CREATE TABLE retention (
    rows_from_day INTEGER NOT NULL,
    set_at_ms     INTEGER NOT NULL
) STRICT;
INSERT INTO retention VALUES (0, 0);

INSERT INTO rollup_due (table_name, day, writer, number)
WITH RECURSIVE days (day) AS (
    SELECT min(day) FROM attempts
    UNION ALL SELECT (SELECT min(attempts.day) FROM attempts WHERE attempts.day > days.day) FROM days WHERE days.day IS NOT NULL
)
SELECT 'attempts', day, -1, 0 FROM days WHERE day IS NOT NULL;

INSERT INTO rollup_due (table_name, day, writer, number)
WITH RECURSIVE days (day) AS (
    SELECT min(day) FROM requests
    UNION ALL SELECT (SELECT min(requests.day) FROM requests WHERE requests.day > days.day) FROM days WHERE days.day IS NOT NULL
)
SELECT 'requests', day, -1, 0 FROM days WHERE day IS NOT NULL;

-- A router of an earlier version may still write for a while, and adds nothing to sums: those of today and tomorrow are made later.
INSERT INTO rollup_due (table_name, day, writer, number)
SELECT names.name, unixepoch() / 86400 + ahead.days, -1, 0
FROM (SELECT 'attempts' AS name UNION ALL SELECT 'requests') AS names, (SELECT 0 AS days UNION ALL SELECT 1) AS ahead
WHERE EXISTS (SELECT 1 FROM attempts)
ON CONFLICT DO NOTHING;
