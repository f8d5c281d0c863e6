-- A row for each request that is over. `day` is that of `ended_at_ms` (UTC, days since 1970): a report of some days reads
-- only their rows. Money is in nano-dollars. Unknown is NULL.
CREATE TABLE requests (
    day            INTEGER NOT NULL,
    writer         INTEGER NOT NULL,
    number         INTEGER NOT NULL,
    ended_at_ms    INTEGER NOT NULL,
    request_id     TEXT NOT NULL,
    team           TEXT,
    key            TEXT,
    model          TEXT,
    route          TEXT NOT NULL,
    is_stream      INTEGER NOT NULL,
    strategy       TEXT,
    reason         TEXT,
    outcome        TEXT NOT NULL,
    error          TEXT NOT NULL,
    attempts       INTEGER NOT NULL,
    upstream       TEXT,
    first_token_us INTEGER,
    duration_us    INTEGER NOT NULL,
    baselines      TEXT NOT NULL,
    config_version TEXT NOT NULL,
    PRIMARY KEY (day, writer, number)
) STRICT, WITHOUT ROWID;

-- A row for each call that is over, failed and unknown ones included. `price_version` is the day from which the list price was in
-- force, if it has one, a colon, and the price in pico-dollars a token: input, cached input, output, reasoning.
CREATE TABLE attempts (
    day               INTEGER NOT NULL,
    writer            INTEGER NOT NULL,
    number            INTEGER NOT NULL,
    attempt           INTEGER NOT NULL,
    ended_at_ms       INTEGER NOT NULL,
    request_id        TEXT NOT NULL,
    team              TEXT,
    key               TEXT,
    model             TEXT,
    route             TEXT NOT NULL,
    upstream          TEXT NOT NULL,
    role              TEXT NOT NULL,
    reason            TEXT NOT NULL,
    outcome           TEXT NOT NULL,
    usage_source      TEXT,
    prompt_tokens     INTEGER,
    cached_tokens     INTEGER,
    completion_tokens INTEGER,
    reasoning_tokens  INTEGER,
    cost_nano_usd     INTEGER,
    price_version     TEXT,
    upstream_call     TEXT,
    first_token_us    INTEGER,
    duration_us       INTEGER NOT NULL,
    PRIMARY KEY (day, writer, number, attempt)
) STRICT, WITHOUT ROWID;
