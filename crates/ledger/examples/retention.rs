//! What a ledger holds, and how long its questions take: `cargo run --package ledger --example retention -- sqlite:FILE REQUESTS`, or
//! with the URL of a Postgres database in place of the file. The database must be empty.
//!
//! Records so many requests of one call each, of the last 30 days, by twelve keys, each for two models with two tags, from two upstreams.
//! Prints bytes with rows and sums, how long the sum of a month's budget takes from rows and from sums, then lets the rows be
//! deleted, and prints the bytes that are left.

#![expect(clippy::disallowed_types, reason = "the real time is what is measured")]

use std::{
    error::Error,
    fs,
    io::{Write, stdout},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use ledger::{
    Attempt, AttemptKey, Dimension, Durability, Entry, FILE_BYTES, Intent, JournalSettings, Labels, Ledger,
    LedgerSettings, Location, Progress, Query, Request, RequestKey, Retention, Tokens, UsageSource,
};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// The end of the month.
const END_MS: i64 = 20_800 * DAY_MS;
const DAYS: i64 = 30;
const KEPT_DAYS: u32 = 90;
const PRICE: &str = "2026-11-01:20000,20000,20000,20000";

/// The time of day that the ledger is told.
static NOW_MS: AtomicI64 = AtomicI64::new(END_MS);

struct Ignored;

impl Progress for Ignored {
    fn stored(&self, _rows: u64) {}
    fn not_written(&self, _entries: u64) {}
    fn store_failed(&self) {}
    fn waiting(&self, _bytes: u64) {}
}

/// A ledger's database and its folder of journals.
struct Place {
    location: Location,
    /// As it was given.
    url: String,
    journals: PathBuf,
}

impl Place {
    fn open(&self) -> Result<Ledger, Box<dyn Error>> {
        let journal = JournalSettings {
            folder: self.journals.clone(),
            durability: Durability::Process,
            max_bytes: 1 << 40,
            file_bytes: FILE_BYTES,
        };
        let settings = LedgerSettings {
            location: self.location.clone(),
            journal,
            retention: Retention { rows_days: Some(KEPT_DAYS), hours_days: None },
            clock: || NOW_MS.load(Ordering::Relaxed),
        };
        Ok(Ledger::open(&settings, 7, Arc::new(Ignored))?)
    }

    /// Does something to the tables.
    fn execute(&self, sql: &str) -> Result<(), Box<dyn Error>> {
        match &self.location {
            Location::Sqlite(path) => rusqlite::Connection::open(path)?.execute_batch(sql)?,
            Location::Postgres(_) => self.client()?.batch_execute(sql)?,
        }
        Ok(())
    }

    fn figure(&self, sql: &str) -> Result<i64, Box<dyn Error>> {
        Ok(match &self.location {
            Location::Sqlite(path) => rusqlite::Connection::open(path)?.query_row(sql, [], |row| row.get(0))?,
            Location::Postgres(_) => self.client()?.query_one(sql, &[])?.get(0),
        })
    }

    fn client(&self) -> Result<postgres::Client, Box<dyn Error>> {
        Ok(postgres::Client::connect(&self.url, postgres::NoTls)?)
    }

    /// Bytes of all tables, without what is free.
    fn bytes(&self) -> Result<u64, Box<dyn Error>> {
        match &self.location {
            Location::Sqlite(path) => {
                self.execute("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")?;
                Ok(fs::metadata(path)?.len())
            }
            Location::Postgres(_) => {
                for table in ["attempts", "requests", "attempt_hours", "request_hours", "attempt_ranges"] {
                    self.execute(&format!("VACUUM FULL {table}"))?;
                }
                let sql = "SELECT CAST(sum(pg_total_relation_size(oid)) AS bigint) FROM pg_class
                    WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace";
                Ok(self.figure(sql)?.unsigned_abs())
            }
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(requests)) = (arguments.next(), arguments.next()) else {
        return Err("give sqlite:FILE or the URL of a Postgres database, and how many requests".into());
    };
    let requests: u64 = requests.parse()?;
    let location = match url.strip_prefix("sqlite:") {
        Some(path) => Location::Sqlite(PathBuf::from(path)),
        None => Location::Postgres(url.parse()?),
    };
    let journals = std::env::temp_dir().join(format!("llm-router-retention-{}", std::process::id()));
    let place = Place { location, url, journals };
    let mut out = stdout();
    let began = Instant::now();
    record(&place.open()?, requests);
    writeln!(out, "{requests} requests recorded in {:.1} s", began.elapsed().as_secs_f64())?;
    // Kilobytes a thousand are megabytes a million.
    let per_million = |bytes: u64| bytes / requests;
    let (rows, sums) = (place.bytes()?, place.figure("SELECT count(*) FROM attempt_hours")?);
    writeln!(out, "rows and sums: {} MB a million requests; {sums} sums of calls by hour", per_million(rows))?;
    writeln!(out, "a month's budget from sums: {:.1} ms", ask(&place)?)?;
    let due = "INSERT INTO rollup_due SELECT DISTINCT 'attempts', day, -1, 0 FROM attempts";
    place.execute(due)?;
    writeln!(out, "a month's budget from rows: {:.1} ms", ask(&place)?)?;
    place.execute("DELETE FROM rollup_due")?;

    NOW_MS.store(END_MS + i64::from(KEPT_DAYS + 1) * DAY_MS, Ordering::Relaxed);
    let (ledger, began) = (place.open()?, Instant::now());
    while place.figure("SELECT count(*) FROM (SELECT 1 FROM requests LIMIT 1) AS rows")? > 0 {
        sleep(Duration::from_millis(20));
        // What waits a minute waits a second.
        NOW_MS.fetch_add(1_200, Ordering::Relaxed);
    }
    ledger.close();
    writeln!(out, "rows deleted in {:.1} s", began.elapsed().as_secs_f64())?;
    writeln!(out, "sums alone: {} MB a million requests", per_million(place.bytes()?))?;
    writeln!(out, "a month's budget, without rows: {:.1} ms", ask(&place)?)?;
    drop(fs::remove_dir_all(&place.journals));
    Ok(())
}

/// Milliseconds until it is known what was spent since a moment that is no full hour.
fn ask(place: &Place) -> Result<f64, Box<dyn Error>> {
    let began = Instant::now();
    let by = vec![Dimension::Key, Dimension::Team, Dimension::Model];
    let since_ms = END_MS - DAYS * DAY_MS;
    let query = Query { by, since_ms, until_ms: END_MS, of: Vec::new() };
    let spent: u64 = ledger::spend(&place.location, &query)?.iter().map(|spend| spend.cost_nano_usd).sum();
    if spent == 0 {
        return Err("nothing is on record".into());
    }
    Ok(began.elapsed().as_secs_f64() * 1_000.0)
}

fn record(ledger: &Ledger, requests: u64) {
    const KEYS: [&str; 12] = [
        "search-web",
        "search-app",
        "search-jobs",
        "growth-web",
        "growth-mail",
        "growth-ads",
        "support-chat",
        "support-desk",
        "support-voice",
        "lab-eval",
        "lab-batch",
        "lab-play",
    ];
    const MODELS: [&str; 6] =
        ["llama-3.1-8b", "llama-3.1-70b", "gpt-oss-120b", "mistral-7b", "qwen-2.5-72b", "codellama-34b"];
    const TAGS: [&str; 3] = ["env=prod,feature=autocomplete", "env=prod,feature=chat", "env=staging,feature=chat"];
    for number in 1..=requests {
        let at = i64::try_from(number * (DAYS * DAY_MS).unsigned_abs() / requests).unwrap_or_default();
        let ended_at_ms = END_MS - DAYS * DAY_MS + at - 1;
        // Not in turn: every combination comes.
        let draw = usize::try_from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).unwrap_or_default();
        let key = KEYS[draw % KEYS.len()];
        let (model, tags) = (MODELS[(draw + draw / 12 % 2) % MODELS.len()], TAGS[(draw + draw / 24 % 2) % TAGS.len()]);
        let id = format!("req-1882b261cc0a4c6a{number:08x}");
        let labels = Labels {
            request_id: &id,
            team: key.split('-').next(),
            key: Some(key),
            model: Some(model),
            route: "chat",
            tags: Some(tags),
            requested: None,
        };
        let upstream = if draw / 48 % 5 == 0 { "cerebras-8b" } else { "runpod-8b" };
        let call = format!("chatcmpl-{number:032x}");
        append(ledger, (number, labels), (ended_at_ms, upstream, &call));
        // As many as wait usually; a journal without end would be another measurement.
        if number % 2_000 == 0 {
            while ledger.backlog_bytes() > 8 << 20 {
                sleep(Duration::from_millis(5));
            }
        }
    }
    ledger.close();
}

fn append(ledger: &Ledger, (number, labels): (u64, Labels<'_>), (ended_at_ms, upstream, call): (i64, &str, &str)) {
    let request = RequestKey { writer: 0x1234_5678_9abc_def0, number };
    let key = AttemptKey { request, attempt: 1 };
    let tokens = Tokens { prompt: 300 + number % 700, cached: Some(0), completion: 90, reasoning: None };
    let cost = tokens.prompt * 20 + tokens.completion * 20;
    let intent = Intent {
        key,
        begins_at_ms: ended_at_ms - 800,
        labels,
        upstream,
        role: "primary",
        reason: "share",
        reserved: tokens,
        reserved_nano_usd: Some(cost),
        price_version: Some(PRICE),
    };
    let attempt = Attempt {
        key,
        ended_at_ms,
        labels,
        upstream,
        role: "primary",
        reason: "share",
        outcome: "served",
        usage_source: Some(UsageSource::Reported),
        tokens: Some(tokens),
        cost_nano_usd: Some(cost),
        price_version: Some(PRICE),
        upstream_call: Some(call),
        first_token_us: Some(210_000),
        duration_us: 800_000,
    };
    let request = Request {
        key: request,
        ended_at_ms,
        labels,
        is_stream: true,
        strategy: Some("balanced"),
        reason: Some("share"),
        outcome: "served",
        error: "",
        attempts: 1,
        upstream: Some(upstream),
        first_token_us: Some(210_000),
        duration_us: 800_500,
        baselines: vec![
            ("configured", cost * 5),
            ("split", cost * 2),
            ("all:runpod-8b", cost),
            ("all:cerebras-8b", cost * 5),
        ],
        config_version: "5f0c2a91",
    };
    // Without a wait: what is measured is the store.
    drop(ledger.append(&[Entry::Intent(intent)]));
    drop(ledger.append(&[Entry::Attempt(attempt), Entry::Request(request)]));
}
