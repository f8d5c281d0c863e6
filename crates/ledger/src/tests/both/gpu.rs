//! Worker time on record, and shared out.

use super::super::*;
use crate::{GpuHour, GpuReport, HOUR_MS, Tariffs};

/// The hour in which the calls of these tests end.
const HOUR: i64 = 1_795_000_001_000 / HOUR_MS;

fn hour(hour: i64, writer: u64) -> GpuHour<'static> {
    GpuHour {
        hour,
        upstream: "u",
        writer,
        observed_ms: 3_600_000,
        start_ms: 30_000,
        busy_ms: 50_000,
        idle_ms: 20_000,
        starts: 2,
        cost_nano_usd: 1_000,
        pico_usd_per_second: 190_000_000,
    }
}

fn report(scratch: &Scratch, of: Vec<(Dimension, String)>) -> GpuReport {
    let since_ms = (HOUR - 2) * HOUR_MS;
    let query = Query { by: Vec::new(), since_ms, until_ms: since_ms + 5 * HOUR_MS, of: of.into_iter().collect() };
    aside(|| crate::gpu(&scratch.location, &query, &Tariffs::default(), (HOUR + 2) * HOUR_MS)).expect("an answer")
}

async fn put(ledger: &Ledger, hours: &[GpuHour<'_>]) {
    for hour in hours {
        ledger.append(&[Entry::GpuHour(*hour)]).await.expect("written");
    }
}

/// A process writes an hour again and again, and a journal may be brought twice; another process has counted the rest of the hour.
pub(super) async fn the_latest_row_of_each_process_counts(scratch: Scratch) {
    let earlier =
        GpuHour { observed_ms: 10_000, idle_ms: 0, busy_ms: 0, starts: 1, cost_nano_usd: 300, ..hour(HOUR, 7) };
    let ledger = scratch.open(7);
    put(&ledger, &[earlier, hour(HOUR, 7)]).await;
    ledger.close();
    let ledger = scratch.open(8);
    put(&ledger, &[earlier, GpuHour { observed_ms: 1_000, ..earlier }]).await;
    put(&ledger, &[GpuHour { writer: 8, ..earlier }, hour(HOUR + 1, 8), GpuHour { upstream: "v", ..hour(HOUR, 8) }])
        .await;
    ledger.close();
    let hours = report(&scratch, Vec::new()).hours;
    let brief: Vec<_> =
        hours.iter().map(|time| (&*time.upstream, time.hour - HOUR, time.observed_ms, time.cost_nano_usd)).collect();
    assert_eq!(brief, [("u", 0, 3_610_000, 1_300), ("u", 1, 3_600_000, 1_000), ("v", 0, 3_600_000, 1_000)]);
    assert_eq!((hours[0].starts, hours[0].billed_ms(), hours[0].pico_usd_per_second), (3, 130_000, 190_000_000));
}

/// A process that is killed has written its hour up to a moment; the next one begins another row.
pub(super) async fn the_hour_of_a_killed_process_is_brought_to_the_store(scratch: Scratch) {
    let journal = Journal::open(&scratch.journal(), 7, Arc::new(Ignored)).expect("a journal");
    journal.append(&[Entry::GpuHour(hour(HOUR, 7))]).await.expect("written");
    drop(journal);
    scratch.open(8).close();
    assert_eq!(scratch.figure("SELECT sum(cost_nano_usd) FROM gpu_hours"), 1_000);
}

pub(super) async fn the_cost_of_an_hour_is_shared_out_to_its_calls(scratch: Scratch) {
    let ledger = scratch.open(7);
    put(&ledger, &[hour(HOUR, 7), GpuHour { cost_nano_usd: 77, ..hour(HOUR - 1, 7) }, hour(HOUR + 2, 7)]).await;
    let row = attempt(key(7, 1));
    let of = |number, tokens, duration_us, team| Attempt {
        key: key(7, number),
        tokens: Some(Tokens { prompt: tokens, cached: None, completion: 0, reasoning: None }),
        duration_us,
        labels: Labels { team: Some(team), tags: Some("env=prod,feature=chat"), ..LABELS },
        ..row
    };
    let calls = [
        of(1, 300, 10, "search"),
        of(2, 100, 10, "ads"),
        // An hour that is not over, one of which nobody counted the workers, and an upstream that bills tokens.
        Attempt { ended_at_ms: row.ended_at_ms + 2 * HOUR_MS, ..of(3, 100, 10, "ads") },
        Attempt { ended_at_ms: row.ended_at_ms + HOUR_MS, ..of(4, 100, 10, "ads") },
        Attempt { upstream: "by-token", ..of(5, 100, 10, "ads") },
    ];
    for call in calls {
        ledger.append(&[Entry::Attempt(call)]).await.expect("written");
    }
    ledger.close();
    let all = report(&scratch, Vec::new());
    let brief = |report: &GpuReport| -> Vec<_> {
        let brief = report.shares.iter().map(|share| {
            let team = share.label(&Dimension::Team);
            (share.hour - HOUR, team.unwrap_or_default(), share.calls, share.gpu_nano_usd)
        });
        brief.collect()
    };
    let ads = || "ads".to_owned();
    let expected = [
        (-1, String::new(), 0, Some(77)),
        (0, ads(), 1, Some(375)),
        (0, "search".to_owned(), 1, Some(625)),
        (1, ads(), 1, None),
        (2, ads(), 1, None),
    ];
    assert_eq!(brief(&all), expected);
    // Of an upstream whose workers were never counted it must be said that it bills them.
    let query = Query { by: Vec::new(), since_ms: HOUR * HOUR_MS, until_ms: (HOUR + 1) * HOUR_MS, of: Vec::new() };
    let other = Tariffs::new([("by-token".to_owned(), vec![(":".to_owned(), true)])]);
    let others = aside(|| crate::gpu(&scratch.location, &query, &other, (HOUR + 2) * HOUR_MS)).expect("an answer");
    let first = &others.shares[0];
    assert_eq!((&*first.upstream, first.calls, first.gpu_nano_usd), ("by-token", 1, None));
    let of_team = report(&scratch, vec![(Dimension::Team, ads())]);
    assert_eq!(brief(&of_team), [(0, ads(), 1, Some(375)), (1, ads(), 1, None), (2, ads(), 1, None)]);
    let [upstream] = &all.upstreams[..] else { panic!("{:?}", all.upstreams) };
    assert_eq!((&*upstream.name, upstream.first_hour - HOUR, upstream.last_hour - HOUR), ("u", -1, 2));
    let tag = |name: &str| Dimension::Tag(name.to_owned());
    let by = [Dimension::Upstream, Dimension::Day, Dimension::Model, tag("feature"), tag("feat")];
    let labels = all.shares[1].labels(&by);
    assert_eq!(labels.iter().flatten().collect::<Vec<_>>(), ["u", "2026-11-18", "m", "chat"]);
}

/// What was reserved for a call whose process was killed is no measure of what it used.
pub(super) async fn reserved_tokens_weigh_nothing(scratch: Scratch) {
    let ledger = scratch.open(7);
    put(&ledger, &[hour(HOUR, 7)]).await;
    let calls =
        [attempt(key(7, 1)), Attempt { ended_at_ms: attempt(key(7, 1)).ended_at_ms, ..intent(key(7, 2)).unknown() }];
    for call in calls {
        ledger.append(&[Entry::Attempt(call)]).await.expect("written");
    }
    ledger.close();
    let shares = report(&scratch, Vec::new()).shares;
    let brief: Vec<_> = shares.iter().map(|share| (share.tokens, share.gpu_nano_usd)).collect();
    assert_eq!(brief, [(95, Some(1_000)), (0, Some(0))]);
}

/// Rows that are in no sum yet, as after an upgrade, are read one by one; of calls that are kept as sums of their day nobody knows the
/// hours any more.
#[tokio::test]
async fn calls_are_shared_out_wherever_they_are_kept() {
    let scratch = Scratch::new("gpu-kept");
    let ledger = scratch.open(7);
    put(&ledger, &[hour(HOUR, 7)]).await;
    ledger.append(&[Entry::Attempt(attempt(key(7, 1)))]).await.expect("written");
    ledger.close();
    let of_sums = report(&scratch, Vec::new());
    assert_eq!(of_sums.shares[0].gpu_nano_usd, Some(1_000));
    let connection = Connection::open(scratch.folder.join("ledger.db")).expect("a store");
    let due = "INSERT INTO rollup_due VALUES ('attempts', 20775, -1, 0)";
    connection.execute_batch(due).expect("due");
    assert_eq!(report(&scratch, Vec::new()), of_sums, "each call once, and as before");
    let fold = "DELETE FROM rollup_due; INSERT INTO attempt_days SELECT hour / 24, team, key, model, route, tags, upstream, role, outcome,
        usage_source, price_version, calls, prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens, cost_nano_usd,
        unpriced_calls, duration_us FROM attempt_hours; DELETE FROM attempt_hours";
    connection.execute_batch(fold).expect("a day");
    let since_ms = HOUR / 24 * 24 * HOUR_MS;
    let query = Query { by: Vec::new(), since_ms, until_ms: since_ms + 24 * HOUR_MS, of: Vec::new() };
    let of_day =
        crate::gpu(&scratch.location, &query, &Tariffs::default(), since_ms + 48 * HOUR_MS).expect("an answer");
    let brief: Vec<_> = of_day.shares.iter().map(|share| (share.calls, share.gpu_nano_usd)).collect();
    assert_eq!(brief, [(1, None)], "unknown, and not nobody's");
}
