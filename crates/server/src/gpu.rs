//! Puts on record what workers that are billed by the second did, hour by hour.
//!
//! The router's count of worker time only grows while the process lives. Every [`PERIOD`], and at the end of the process, what it grew
//! by is added to the hour in which that was, and the hour is put on record as a whole: a later row replaces the one before it.
//! A process that is killed loses what it counted since the last time. That time is in no row, and so it shows as unobserved, as is
//! all time in which no router ran.

use std::{collections::HashMap, sync::Arc, time::Duration};

use actix_web::rt::time::sleep;
use ledger::{Entry, GpuHour, HOUR_MS, Ledger};
use parking_lot::Mutex;
use provider::{PicoUsd, Tariff};
use router::WorkerTime;

use crate::{app::App, clock};

/// How often worker time is put on record: at most so much is lost when the process is killed.
const PERIOD: Duration = Duration::from_secs(10);
/// What rounding each run of a worker up to a whole second adds to it on average.
pub(crate) const ROUNDING: Duration = Duration::from_millis(500);

/// Puts worker time on record.
pub(crate) struct GpuRecorder {
    ledger: Arc<Ledger>,
    /// Identifies this process in the ledger.
    writer: u64,
    hours: Mutex<Hours>,
}

impl GpuRecorder {
    pub(crate) fn new(ledger: Arc<Ledger>, writer: u64) -> Self {
        Self { ledger, writer, hours: Mutex::default() }
    }

    /// Counts until now.
    pub(crate) fn record(&self, app: &App) {
        let (table, now, now_ms) = (app.router.table(), app.router.now(), clock::now_ms());
        let mut hours = self.hours.lock();
        hours.forget(|id| table.upstreams().all(|upstream| upstream.spec.id.as_str() != id));
        for upstream in table.upstreams() {
            let Some(Tariff::GpuSeconds { per_second, .. }) = &upstream.spec.tariff else { continue };
            let Some(time) = table.status(upstream, now).worker_time else { continue };
            let id = upstream.spec.id.as_str();
            for (hour, figures) in hours.add(id, &Figures::of(&time), *per_second, now_ms) {
                // Whether it was written is not waited for: if not, the next one stands for it.
                drop(self.ledger.append(&[Entry::GpuHour(figures.row(hour, id, self.writer, *per_second))]));
            }
        }
    }

    /// Counts again and again.
    pub(crate) async fn run(self: Arc<Self>, app: Arc<App>) {
        loop {
            self.record(&app);
            sleep(PERIOD).await;
        }
    }
}

/// Sums that only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Figures {
    observed_ms: u64,
    start_ms: u64,
    busy_ms: u64,
    idle_ms: u64,
    starts: u64,
    cost_nano_usd: u64,
}

impl Figures {
    /// The router's sums, without the rounding of starts.
    fn of(time: &WorkerTime) -> Self {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            observed_ms: ms(time.observed),
            start_ms: ms(time.start),
            busy_ms: ms(time.busy),
            idle_ms: ms(time.idle),
            starts: time.starts,
            cost_nano_usd: time.cost().0,
        }
    }

    /// Does the same to each pair.
    fn with(&self, other: &Self, of: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            observed_ms: of(self.observed_ms, other.observed_ms),
            start_ms: of(self.start_ms, other.start_ms),
            busy_ms: of(self.busy_ms, other.busy_ms),
            idle_ms: of(self.idle_ms, other.idle_ms),
            starts: of(self.starts, other.starts),
            cost_nano_usd: of(self.cost_nano_usd, other.cost_nano_usd),
        }
    }

    fn row(self, hour: i64, upstream: &str, writer: u64, per_second: PicoUsd) -> GpuHour<'_> {
        let Self { observed_ms, start_ms, busy_ms, idle_ms, starts, cost_nano_usd } = self;
        let pico_usd_per_second = per_second.0;
        GpuHour {
            hour,
            upstream,
            writer,
            observed_ms,
            start_ms,
            busy_ms,
            idle_ms,
            starts,
            cost_nano_usd,
            pico_usd_per_second,
        }
    }
}

/// What was counted, by upstream and hour.
#[derive(Debug, Default)]
struct Hours {
    of_upstream: HashMap<String, Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    /// The router's sums when they were last looked at, and when that was; `None` before, and after the upstream was removed.
    last: Option<(Figures, i64)>,
    /// The sums of hours that may still grow.
    hours: HashMap<i64, Figures>,
}

impl Hours {
    /// These upstreams are not there any more: if one comes back, it is counted anew.
    fn forget(&mut self, is_gone: impl Fn(&str) -> bool) {
        for (id, counted) in &mut self.of_upstream {
            if is_gone(id) {
                counted.last = None;
            }
        }
    }

    /// The router's sums are these now. Returns the hours that have grown, with their sums.
    fn add(&mut self, upstream: &str, now: &Figures, per_second: PicoUsd, now_ms: i64) -> Vec<(i64, Figures)> {
        if !self.of_upstream.contains_key(upstream) {
            self.of_upstream.insert(upstream.to_owned(), Counted::default());
        }
        let Some(counted) = self.of_upstream.get_mut(upstream) else { return Vec::new() };
        // An upstream that was removed and came back is counted anew.
        let is_anew = |last: &Figures| now.observed_ms < last.observed_ms || now.starts < last.starts;
        let known = counted.last.filter(|(last, _)| !is_anew(last));
        let mut rest = now.with(&known.unwrap_or_default().0, u64::saturating_sub);
        rest.cost_nano_usd += rest.starts * per_second.cost_of(ROUNDING).0;
        // What is counted anew is of the time in which it was observed, and not of that since the upstream was removed.
        let from_ms = known.map_or(now_ms.saturating_sub_unsigned(rest.observed_ms), |(_, last_ms)| last_ms);
        let mut from_ms = from_ms.min(now_ms);
        let mut grown = Vec::new();
        loop {
            let hour = from_ms.div_euclid(HOUR_MS);
            let until_ms = now_ms.min((hour + 1) * HOUR_MS);
            let (part_ms, all_ms) = ((until_ms - from_ms).unsigned_abs(), (now_ms - from_ms).unsigned_abs());
            // What has passed is taken to have been spread evenly; the last part takes what is left.
            let part =
                if until_ms == now_ms { rest } else { rest.with(&rest, |sum, _| rounded_part(sum, part_ms, all_ms)) };
            rest = rest.with(&part, u64::saturating_sub);
            let sums = counted.hours.entry(hour).or_default();
            *sums = sums.with(&part, u64::saturating_add);
            // A row of zeros would say no more than none.
            if *sums != Figures::default() {
                grown.push((hour, *sums));
            }
            if until_ms == now_ms {
                break;
            }
            from_ms = until_ms;
        }
        counted.hours.retain(|hour, _| *hour >= now_ms.div_euclid(HOUR_MS) - 1);
        counted.last = Some((*now, now_ms));
        grown
    }
}

/// `amount` × `of` ÷ `whole`, rounded half up.
pub(crate) fn rounded_part(amount: u64, of: u64, whole: u64) -> u64 {
    let (product, whole) = (u128::from(amount) * u128::from(of), u128::from(whole.max(1)));
    u64::try_from((product + whole / 2) / whole).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: PicoUsd = PicoUsd(190_000_000);
    const START: i64 = 100 * HOUR_MS;

    /// The sums of one worker that was observed and idle for so long.
    fn idle(seconds: u64) -> Figures {
        let cost_nano_usd = RATE.cost_of(Duration::from_secs(seconds)).0;
        Figures { observed_ms: seconds * 1000, idle_ms: seconds * 1000, cost_nano_usd, ..Figures::default() }
    }

    #[test]
    fn an_hour_grows_until_it_is_over() {
        let mut hours = Hours::default();
        assert_eq!(hours.add("u", &Figures::default(), RATE, START), [], "nothing was counted");
        assert_eq!(hours.add("u", &idle(10), RATE, START + 10_000), [(100, idle(10))]);
        assert_eq!(hours.add("u", &idle(20), RATE, START + 20_000), [(100, idle(20))]);
        // The next hour begins in the middle of ten seconds.
        let grown = hours.add("u", &idle(3_605), RATE, START + HOUR_MS + 5_000);
        let [(100, first), (101, second)] = grown[..] else { panic!("{grown:?}") };
        assert_eq!(first.idle_ms + second.idle_ms, 3_605_000);
        assert_eq!(first.cost_nano_usd + second.cost_nano_usd, idle(3_605).cost_nano_usd, "to the nano-dollar");
        assert_eq!(second.observed_ms, 5_000);
        assert_eq!(hours.add("u", &idle(3_615), RATE, START + HOUR_MS + 15_000)[0].1.observed_ms, 15_000);
    }

    #[test]
    fn each_start_costs_half_a_second_more() {
        let mut hours = Hours::default();
        hours.add("u", &Figures::default(), RATE, START);
        let grown = hours.add("u", &Figures { starts: 3, ..idle(10) }, RATE, START + 10_000);
        assert_eq!(grown[0].1.cost_nano_usd, idle(10).cost_nano_usd + 3 * 95_000);
        let grown = hours.add("u", &Figures { starts: 3, ..idle(20) }, RATE, START + 20_000);
        assert_eq!(grown[0].1.cost_nano_usd, idle(20).cost_nano_usd + 3 * 95_000, "once");
    }

    #[test]
    fn an_upstream_that_was_removed_and_came_back_is_counted_anew() {
        let mut hours = Hours::default();
        hours.add("u", &Figures::default(), RATE, START);
        hours.add("u", &idle(10), RATE, START + 10_000);
        assert_eq!(hours.add("u", &idle(5), RATE, START + 60_000)[0].1, idle(15));
        // Two hours later, counted for less time than before or for more, an hour begins in the middle of ten seconds.
        for (hour, seconds) in [(2, 10), (4, 30)] {
            let begin = START + hour * HOUR_MS;
            hours.forget(|id| id == "u");
            let grown = hours.add("u", &idle(seconds), RATE, begin + 5_000);
            let [(first, before), (second, after)] = grown[..] else { panic!("{grown:?}") };
            assert_eq!((first, second), (99 + hour, 100 + hour));
            assert_eq!((before.observed_ms, after.observed_ms), (seconds * 1_000 - 5_000, 5_000));
        }
        let grown = hours.add("u", &idle(5), RATE, START + 6 * HOUR_MS + 10_000);
        assert_eq!(grown, [(106, idle(5))], "removed and back between two looks");
    }

    #[test]
    fn a_clock_that_is_put_back_loses_nothing_and_one_that_jumps_spreads_it() {
        let mut hours = Hours::default();
        hours.add("u", &Figures::default(), RATE, START);
        hours.add("u", &idle(10), RATE, START + 10_000);
        assert_eq!(hours.add("u", &idle(20), RATE, START + 5_000), [(100, idle(20))]);
        let grown = hours.add("u", &idle(30), RATE, START + 3 * HOUR_MS);
        assert_eq!(grown.iter().map(|(hour, _)| *hour).collect::<Vec<_>>(), [100, 101, 102]);
        let observed: u64 = grown.iter().map(|(_, figures)| figures.observed_ms).sum();
        assert_eq!(observed, 30_000);
    }
}
