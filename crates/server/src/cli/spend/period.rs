//! Which days are asked about, in UTC.

use std::fmt;

use anyhow::bail;
use clap::Args;
use jiff::{civil::Date, tz::TimeZone};
use ledger::Query;

use crate::clock;

/// Some days. Without any option, this month up to today.
#[derive(Args, Default)]
pub(super) struct Period {
    /// A month in UTC, such as 2026-10, or "last".
    #[arg(long, value_name = "YYYY-MM", value_parser = month, conflicts_with_all = ["since", "until"])]
    month: Option<Month>,
    /// The first day. Without it, the first of the last day's month.
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    since: Option<Date>,
    /// The last day. Without it, today.
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    until: Option<Date>,
}

/// The first and the last day.
#[derive(Clone, Copy)]
pub(super) struct Days {
    pub(super) first: Date,
    pub(super) last: Date,
}

impl Period {
    /// Sets what has this name on the command line: `month`, `since` or `until`.
    ///
    /// # Errors
    /// With what it must be.
    pub(super) fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        match name {
            "month" => self.month = Some(month(text)?),
            "since" => self.since = Some(day(text)?),
            _ => self.until = Some(day(text)?),
        }
        Ok(())
    }

    pub(super) fn days(&self) -> anyhow::Result<Days> {
        if let Some(month) = self.month {
            if self.since.is_some() || self.until.is_some() {
                bail!("month stands alone, without since and until");
            }
            let first = match month {
                Month::Of(first) => first,
                Month::Last => today()?.first_of_month().yesterday()?.first_of_month(),
            };
            return Ok(Days { first, last: first.last_of_month() });
        }
        let last = match self.until {
            Some(last) => last,
            None => today()?,
        };
        let first = self.since.unwrap_or_else(|| last.first_of_month());
        if first > last {
            bail!("since, {first}, is after the last day, {last}");
        }
        Ok(Days { first, last })
    }
}

impl Days {
    /// All that ended on these days.
    pub(super) fn query(self) -> anyhow::Result<Query> {
        let (since_ms, until_ms) = (begin_ms(self.first)?, begin_ms(self.last.tomorrow()?)?);
        Ok(Query { by: Vec::new(), since_ms, until_ms, of: Vec::new() })
    }

    /// Every one of them, in order.
    pub(super) fn each(self) -> impl Iterator<Item = Date> {
        std::iter::successors(Some(self.first), |day| day.tomorrow().ok()).take_while(move |day| *day <= self.last)
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last } = self;
        if first == last { write!(f, "{first} (UTC)") } else { write!(f, "{first} to {last} (UTC)") }
    }
}

/// A month.
#[derive(Clone, Copy)]
enum Month {
    /// The one that begins on this day.
    Of(Date),
    /// The one before this one.
    Last,
}

fn month(text: &str) -> Result<Month, String> {
    if text == "last" {
        return Ok(Month::Last);
    }
    let is_month = text.len() == 7;
    let first = format!("{text}-01").parse().ok().filter(|_| is_month);
    first.map(Month::Of).ok_or_else(|| "a month, such as 2026-10, or last".to_owned())
}

fn day(text: &str) -> Result<Date, String> {
    let day = text.parse().ok().filter(|_| text.len() == 10);
    day.ok_or_else(|| "a day, such as 2026-10-31".to_owned())
}

pub(super) fn today() -> anyhow::Result<Date> {
    let now = jiff::Timestamp::from_millisecond(clock::now_ms())?;
    Ok(TimeZone::UTC.to_datetime(now).date())
}

/// When a day begins, in milliseconds since 1970.
fn begin_ms(day: Date) -> anyhow::Result<i64> {
    Ok(TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0))?.as_millisecond())
}
