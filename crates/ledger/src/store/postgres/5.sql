-- What the workers of an upstream did in an hour (UTC, hours since 1970), as one process of the router counted them: figures of one
-- hour by several processes are summed up. `observed_ms` is how long their number was known; the other times are times of workers,
-- as the upstream bills them. `cost_nano_usd` has half a second for each start in it: the upstream rounds up. The price is the last
-- one of the hour.
CREATE TABLE gpu_hours (
    hour                bigint NOT NULL,
    upstream            text COLLATE "C" NOT NULL,
    writer              bigint NOT NULL,
    observed_ms         bigint NOT NULL,
    start_ms            bigint NOT NULL,
    busy_ms             bigint NOT NULL,
    idle_ms             bigint NOT NULL,
    starts              bigint NOT NULL,
    cost_nano_usd       bigint NOT NULL,
    pico_usd_per_second bigint NOT NULL,
    PRIMARY KEY (hour, upstream, writer)
);
