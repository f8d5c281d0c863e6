-- Sums of `attempts` by hour (UTC, hours since 1970). What is NULL in a row is '' here, and adds nothing to a sum.
-- Each connection adds to rows of its own, which `backend` tells apart, so that replicas never wait for each other. `digest` is a hash
-- of the labels, because an index takes no long ones.
CREATE TABLE attempt_hours (
    hour              bigint NOT NULL,
    backend           bigint NOT NULL,
    digest            bytea NOT NULL,
    team              text COLLATE "C" NOT NULL,
    key               text COLLATE "C" NOT NULL,
    model             text COLLATE "C" NOT NULL,
    route             text COLLATE "C" NOT NULL,
    tags              text COLLATE "C" NOT NULL,
    upstream          text COLLATE "C" NOT NULL,
    role              text COLLATE "C" NOT NULL,
    outcome           text COLLATE "C" NOT NULL,
    usage_source      text COLLATE "C" NOT NULL,
    price_version     text COLLATE "C" NOT NULL,
    calls             bigint NOT NULL,
    prompt_tokens     bigint NOT NULL,
    cached_tokens     bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    reasoning_tokens  bigint NOT NULL,
    cost_nano_usd     bigint NOT NULL,
    unpriced_calls    bigint NOT NULL,
    duration_us       bigint NOT NULL,
    PRIMARY KEY (hour, backend, digest)
);

-- Hours that are summed up by day: what is here is not in `attempt_hours`.
CREATE TABLE attempt_days (
    day               bigint NOT NULL,
    digest            bytea NOT NULL,
    team              text COLLATE "C" NOT NULL,
    key               text COLLATE "C" NOT NULL,
    model             text COLLATE "C" NOT NULL,
    route             text COLLATE "C" NOT NULL,
    tags              text COLLATE "C" NOT NULL,
    upstream          text COLLATE "C" NOT NULL,
    role              text COLLATE "C" NOT NULL,
    outcome           text COLLATE "C" NOT NULL,
    usage_source      text COLLATE "C" NOT NULL,
    price_version     text COLLATE "C" NOT NULL,
    calls             bigint NOT NULL,
    prompt_tokens     bigint NOT NULL,
    cached_tokens     bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    reasoning_tokens  bigint NOT NULL,
    cost_nano_usd     bigint NOT NULL,
    unpriced_calls    bigint NOT NULL,
    duration_us       bigint NOT NULL,
    PRIMARY KEY (day, digest)
);

-- Sums of `requests`: with the policy '' how many there were, with another how many have a cost under it, and that cost.
CREATE TABLE request_hours (
    hour          bigint NOT NULL,
    backend       bigint NOT NULL,
    digest        bytea NOT NULL,
    team          text COLLATE "C" NOT NULL,
    key           text COLLATE "C" NOT NULL,
    model         text COLLATE "C" NOT NULL,
    route         text COLLATE "C" NOT NULL,
    tags          text COLLATE "C" NOT NULL,
    outcome       text COLLATE "C" NOT NULL,
    error         text COLLATE "C" NOT NULL,
    policy        text COLLATE "C" NOT NULL,
    requests      bigint NOT NULL,
    cost_nano_usd bigint NOT NULL,
    PRIMARY KEY (hour, backend, digest)
);

CREATE TABLE request_days (
    day           bigint NOT NULL,
    digest        bytea NOT NULL,
    team          text COLLATE "C" NOT NULL,
    key           text COLLATE "C" NOT NULL,
    model         text COLLATE "C" NOT NULL,
    route         text COLLATE "C" NOT NULL,
    tags          text COLLATE "C" NOT NULL,
    outcome       text COLLATE "C" NOT NULL,
    error         text COLLATE "C" NOT NULL,
    policy        text COLLATE "C" NOT NULL,
    requests      bigint NOT NULL,
    cost_nano_usd bigint NOT NULL,
    PRIMARY KEY (day, digest)
);

-- Which numbers the calls of an hour have, by writer: finds the rows of an hour without an index on their time.
CREATE TABLE attempt_ranges (
    hour         bigint NOT NULL,
    writer       bigint NOT NULL,
    first_number bigint NOT NULL,
    last_number  bigint NOT NULL,
    PRIMARY KEY (hour, writer)
);

-- Rows that are in no sum yet: those of this table and day behind this writer and number.
CREATE TABLE rollup_due (
    table_name text COLLATE "C" NOT NULL,
    day        bigint NOT NULL,
    writer     bigint NOT NULL,
    number     bigint NOT NULL,
    PRIMARY KEY (table_name, day)
);

-- The first day whose rows are all here. Those of earlier days are deleted: their sums remain.
CREATE TABLE retention (
    rows_from_day bigint NOT NULL,
    set_at_ms     bigint NOT NULL
);
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
SELECT names.name, CAST(floor(extract(epoch FROM now()) / 86400) AS bigint) + ahead.days, -1, 0
FROM (SELECT 'attempts' AS name UNION ALL SELECT 'requests') AS names, (SELECT 0 AS days UNION ALL SELECT 1) AS ahead
WHERE EXISTS (SELECT 1 FROM attempts)
ON CONFLICT DO NOTHING;
