-- What the workers of an upstream did in an hour (UTC, hours since 1970), as one process of the router counted them: figures of one
-- hour by several processes are summed up. `observed_ms` is how long their number was known; the other times are times of workers,
-- as the upstream bills them. `cost_nano_usd` has half a second for each start in it: the upstream rounds up. The price is the last
-- one of the hour.
CREATE TABLE gpu_hours (
    hour                INTEGER NOT NULL,
    upstream            TEXT NOT NULL,
    writer              INTEGER NOT NULL,
    observed_ms         INTEGER NOT NULL,
    start_ms            INTEGER NOT NULL,
    busy_ms             INTEGER NOT NULL,
    idle_ms             INTEGER NOT NULL,
    starts              INTEGER NOT NULL,
    cost_nano_usd       INTEGER NOT NULL,
    pico_usd_per_second INTEGER NOT NULL,
    PRIMARY KEY (hour, upstream, writer)
) STRICT, WITHOUT ROWID;
