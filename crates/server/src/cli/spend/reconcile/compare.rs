//! The rows of a comparison, and what explains a difference.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use super::{
    bill::Line,
    recorded::{Day, Recorded},
};
use crate::cli::spend::{
    figures::{Figure, Grid},
    savings::percent,
};

/// How bill and ledger are compared.
pub(super) struct Comparison {
    /// The bill has all endpoints of RunPod, also those of which it has no line.
    pub(super) is_of_runpod: bool,
    pub(super) tolerance_percent: f64,
}

/// How a row has come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Ok,
    Differs,
    NotBilled,
    NotOnRecord,
    UnknownEndpoint,
}

impl Status {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Differs => "differs",
            Self::NotBilled => "not in the bill",
            Self::NotOnRecord => "not on record",
            Self::UnknownEndpoint => "unknown endpoint",
        }
    }
}

/// An endpoint on a day.
pub(super) struct Row {
    day: Date,
    endpoint: String,
    upstreams: String,
    billed: Option<Billed>,
    recorded: Day,
    status: Status,
}

/// What the bill says, in nano-dollars.
#[derive(Debug, Clone, Copy, Default)]
struct Billed {
    nano_usd: i128,
    other_nano_usd: i128,
}

impl Row {
    pub(super) fn is_fine(&self) -> bool {
        self.status == Status::Ok
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.status == Status::UnknownEndpoint
    }
}

impl Comparison {
    /// A row for each endpoint and day of the bill, and for each that is on record of an endpoint that the bill knows.
    pub(super) fn rows(&self, lines: &[Line], recorded: &Recorded) -> Vec<Row> {
        let mut billed: BTreeMap<(Date, String), Billed> = BTreeMap::new();
        for line in lines {
            let sum = billed.entry((line.day, line.endpoint.clone())).or_default();
            sum.nano_usd += line.nano_usd;
            sum.other_nano_usd += line.other_nano_usd;
        }
        let mut endpoints: BTreeSet<&str> = lines.iter().map(|line| line.endpoint.as_str()).collect();
        if self.is_of_runpod || endpoints.iter().any(|endpoint| recorded.of_runpod.contains(*endpoint)) {
            endpoints.extend(recorded.of_runpod.iter().map(String::as_str));
        }
        let mut keys: BTreeSet<(Date, String)> = billed.keys().cloned().collect();
        for endpoint in endpoints {
            keys.extend(recorded.days_of(endpoint).map(|day| (day, endpoint.to_owned())));
        }
        let row = |(day, endpoint): (Date, String)| {
            let upstreams = recorded.upstreams.get(&endpoint);
            let (billed, of_day) = (billed.get(&(day, endpoint.clone())).copied(), recorded.day(&endpoint, day));
            let status = self.status(upstreams.is_some(), billed, &of_day);
            let upstreams = upstreams.into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
            Row { day, endpoint, upstreams, billed, recorded: of_day, status }
        };
        keys.into_iter().map(row).collect()
    }

    fn status(&self, is_known: bool, billed: Option<Billed>, recorded: &Day) -> Status {
        let recorded = recorded.nano_usd.map(i128::from);
        match (is_known, billed.map(|billed| billed.nano_usd), recorded) {
            (false, _, _) => Status::UnknownEndpoint,
            (true, None | Some(0), None | Some(0)) => Status::Ok,
            (true, None, Some(_)) => Status::NotBilled,
            (true, Some(_), None) => Status::NotOnRecord,
            (true, Some(billed), Some(recorded)) if self.is_within(billed, recorded) => Status::Ok,
            (true, Some(_), Some(_)) => Status::Differs,
        }
    }

    /// Whether the difference is at most so many percent of the bill. A nano-dollar is rounding.
    #[expect(clippy::cast_precision_loss, reason = "a comparison with a tolerance")]
    fn is_within(&self, billed: i128, recorded: i128) -> bool {
        let difference = (billed - recorded).abs();
        difference <= 1 || difference as f64 * 100.0 <= self.tolerance_percent * billed.abs() as f64
    }
}

/// The rows as a grid.
pub(super) fn grid(rows: &[Row]) -> Grid {
    let label = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let labels = |row: &Row| vec![label(&row.day.to_string()), label(&row.endpoint), label(&row.upstreams)];
    Grid {
        labels: ["day", "endpoint", "upstream"].map(str::to_owned).to_vec(),
        columns: vec![
            "billed_usd",
            "recorded_usd",
            "difference_usd",
            "difference_percent",
            "unobserved_s",
            "unobserved_usd",
            "starts",
            "rounding_usd",
            "left_calls",
            "status",
            "explanation",
        ],
        rows: rows.iter().map(|row| (labels(row), figures(row))).collect(),
        total: None,
        notes: Vec::new(),
    }
}

fn figures(row: &Row) -> Vec<Figure> {
    let usd = |nano: Option<i128>| nano.map_or(Figure::Unknown, Figure::Usd);
    let (billed, recorded) = (row.billed.map(|billed| billed.nano_usd), row.recorded.nano_usd.map(i128::from));
    // Nothing on record is nothing that the router knows of: all that is billed is the difference.
    let difference = billed.map(|billed| billed - recorded.unwrap_or_default());
    let whole = billed.map(|billed| u64::try_from(billed.unsigned_abs()).unwrap_or(u64::MAX));
    let workers = row.recorded.workers;
    vec![
        usd(billed),
        usd(recorded),
        usd(difference),
        Figure::Percent(difference.and_then(|difference| percent(difference, whole?))),
        Figure::count_if(workers.map(|workers| workers.unobserved_ms.div_ceil(1000))),
        Figure::usd_if(workers.and_then(|workers| workers.unobserved_nano_usd)),
        Figure::count_if(workers.map(|workers| workers.starts)),
        Figure::usd_if(workers.map(|workers| workers.rounding_nano_usd)),
        Figure::Count(row.recorded.left_calls),
        Figure::Text(row.status.as_str().to_owned()),
        Figure::Text(explanation(row)),
    ]
}

const NOT_ON_RECORD: &str = "nobody counted its workers on that day: did the router run, could it read them (capacity_url), and is the \
                             upstream's cost of kind gpu_seconds?";

/// What may explain a difference, in words.
fn explanation(row: &Row) -> String {
    if row.is_unknown() {
        return "no upstream has this endpoint: --endpoint ID=UPSTREAM says which, --ignore-unknown leaves it out"
            .to_owned();
    }
    let usd = |nano: u64| format!("${}", Figure::usd(nano).text());
    let recorded = &row.recorded;
    let mut parts = Vec::new();
    match row.status {
        Status::NotOnRecord => parts.push(NOT_ON_RECORD.to_owned()),
        Status::NotBilled => parts.push("does the bill cover this day and this endpoint?".to_owned()),
        Status::Ok | Status::Differs | Status::UnknownEndpoint => {}
    }
    if let Some(workers) = recorded.workers.filter(|workers| workers.unobserved_ms >= 1000) {
        let cost = workers
            .unobserved_nano_usd
            .map_or_else(|| "cost unknown".to_owned(), |cost| format!("about {}", usd(cost)));
        parts.push(format!("workers not counted for {} s ({cost})", workers.unobserved_ms.div_ceil(1000)));
    }
    if let Some(workers) = recorded.workers.filter(|workers| workers.starts > 0) {
        parts.push(format!(
            "{} starts, rounded up by {} to give or take",
            workers.starts,
            usd(workers.rounding_nano_usd)
        ));
    }
    if recorded.is_counted_twice {
        parts.push("several upstreams have this endpoint: the higher figure is taken".to_owned());
    }
    if let Some(tokens) = &recorded.tokens {
        if tokens.estimated_nano_usd > 0 {
            parts.push(format!("{} estimated, because usage was not reported", usd(tokens.estimated_nano_usd)));
        }
        if tokens.unknown_nano_usd > 0 {
            parts.push(format!("{} reserved for calls whose end nobody knows", usd(tokens.unknown_nano_usd)));
        }
        if tokens.cached_tokens > 0 {
            parts.push(format!("{} cached tokens, which the bill may price otherwise", tokens.cached_tokens));
        }
        if tokens.unpriced_calls > 0 {
            parts.push(format!("{} calls without a price", tokens.unpriced_calls));
        }
    }
    if recorded.left_calls > 0 {
        parts.push(format!("{} calls that timed out or were left, and may have been billed", recorded.left_calls));
    }
    if recorded.unknown_calls > 0 {
        parts.push(format!("{} calls whose end nobody knows", recorded.unknown_calls));
    }
    if let Some(other) = row.billed.map(|billed| billed.other_nano_usd).filter(|other| *other != 0) {
        parts.push(format!("${} for disks and fees are billed beside this", Figure::Usd(other).text()));
    }
    if parts.is_empty() && row.status == Status::Differs {
        return "nothing on record explains it: is the price per second that of the endpoint's GPU?".to_owned();
    }
    parts.join("; ")
}
