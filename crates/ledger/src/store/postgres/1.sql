-- A row for each request that is over. `day` is that of `ended_at_ms` (UTC, days since 1970): a report of some days reads
-- only their rows. Money is in nano-dollars. Unknown is NULL.
CREATE TABLE requests (
    day            bigint NOT NULL,
    writer         bigint NOT NULL,
    number         bigint NOT NULL,
    ended_at_ms    bigint NOT NULL,
    request_id     text COLLATE "C" NOT NULL,
    team           text COLLATE "C",
    key            text COLLATE "C",
    model          text COLLATE "C",
    route          text COLLATE "C" NOT NULL,
    is_stream      bigint NOT NULL,
    strategy       text COLLATE "C",
    reason         text COLLATE "C",
    outcome        text COLLATE "C" NOT NULL,
    error          text COLLATE "C" NOT NULL,
    attempts       bigint NOT NULL,
    upstream       text COLLATE "C",
    first_token_us bigint,
    duration_us    bigint NOT NULL,
    baselines      text COLLATE "C" NOT NULL,
    config_version text COLLATE "C" NOT NULL,
    PRIMARY KEY (day, writer, number)
);

-- A row for each call that is over, failed and unknown ones included. `price_version` is the day from which the list price was in
-- force, if it has one, a colon, and the price in pico-dollars a token: input, cached input, output, reasoning.
CREATE TABLE attempts (
    day               bigint NOT NULL,
    writer            bigint NOT NULL,
    number            bigint NOT NULL,
    attempt           bigint NOT NULL,
    ended_at_ms       bigint NOT NULL,
    request_id        text COLLATE "C" NOT NULL,
    team              text COLLATE "C",
    key               text COLLATE "C",
    model             text COLLATE "C",
    route             text COLLATE "C" NOT NULL,
    upstream          text COLLATE "C" NOT NULL,
    role              text COLLATE "C" NOT NULL,
    reason            text COLLATE "C" NOT NULL,
    outcome           text COLLATE "C" NOT NULL,
    usage_source      text COLLATE "C",
    prompt_tokens     bigint,
    cached_tokens     bigint,
    completion_tokens bigint,
    reasoning_tokens  bigint,
    cost_nano_usd     bigint,
    price_version     text COLLATE "C",
    upstream_call     text COLLATE "C",
    first_token_us    bigint,
    duration_us       bigint NOT NULL,
    PRIMARY KEY (day, writer, number, attempt)
);
