//! Bills: RunPod's answer, its records alone, or CSV.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use serde_json::Value;

/// What was billed of an endpoint for a day, or a part of one. Amounts are in nano-dollars; credits are negative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) endpoint: String,
    pub(super) day: Date,
    /// Worker time, if it is told apart, else all of it.
    pub(super) nano_usd: i128,
    /// The rest: disks and fees.
    pub(super) other_nano_usd: i128,
}

/// Names of fields, in lower case: RunPod's of both versions of its API, and plain ones.
const ENDPOINT: [&str; 4] = ["serverlessid", "endpointid", "endpoint", "upstream"];
const BEGIN: [&str; 4] = ["starttime", "time", "day", "date"];
const END: [&str; 1] = ["endtime"];
const TOTAL: [&str; 3] = ["totalamount", "amount", "billed_usd"];
const GPU: [&str; 1] = ["gpuamount"];

/// A record's fields as text.
type Fields = BTreeMap<String, String>;

/// Reads a file.
pub(super) fn parse(text: &str) -> anyhow::Result<Vec<Line>> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        bail!("it is empty");
    }
    if text.trim_start().starts_with(['{', '[']) {
        let document =
            serde_json::from_str(text).map_err(|error| anyhow::anyhow!("it begins like JSON and is none: {error}"))?;
        return of_json(&document);
    }
    of_csv(text)
}

/// Reads RunPod's answer, or the list in it.
pub(super) fn of_json(document: &Value) -> anyhow::Result<Vec<Line>> {
    let records = document.as_array().or_else(|| document["records"].as_array());
    let records = records.context("expected a list, or an object with a list \"records\", as RunPod answers")?;
    let field = |(name, value): (&String, &Value)| {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
        };
        Some((name.to_lowercase(), value))
    };
    let line = |(nth, record): (usize, &Value)| {
        let record = record.as_object().with_context(|| format!("record {}: expected an object", nth + 1))?;
        let fields: Fields = record.iter().filter_map(field).collect();
        line(&fields).map_err(|error| anyhow::anyhow!("record {}: {error:#}", nth + 1))
    };
    records.iter().enumerate().map(line).collect()
}

fn of_csv(text: &str) -> anyhow::Result<Vec<Line>> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let (_, header) = lines.next().context("it is empty")?;
    let header: Vec<String> = cells(header).iter().map(|name| name.trim().to_lowercase()).collect();
    for (names, of) in [(&ENDPOINT[..], "endpoint"), (&BEGIN[..], "day"), (&TOTAL[..], "amount")] {
        let is_there = header.iter().any(|name| names.contains(&name.as_str()));
        ensure!(is_there, "its first line names no column for the {of}: one of {}", names.join(", "));
    }
    let line = |(nth, text): (usize, &str)| {
        let cells = cells(text);
        let (found, expected) = (cells.len(), header.len());
        ensure!(found == expected, "line {}: {found} fields, but {expected} columns", nth + 1);
        let fields: Fields = header.iter().cloned().zip(cells).filter(|(_, value)| !value.trim().is_empty()).collect();
        line(&fields).map_err(|error| anyhow::anyhow!("line {}: {error:#}", nth + 1))
    };
    lines.map(line).collect()
}

/// The fields of a line of CSV, as RFC 4180 has it, without line breaks in them.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut characters = line.trim_end_matches('\r').chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => cells.push(std::mem::take(&mut cell)),
            character => cell.push(character),
        }
    }
    cells.push(cell);
    cells
}

fn line(fields: &Fields) -> anyhow::Result<Line> {
    let field = |names: &[&str]| names.iter().find_map(|name| fields.get(*name)).map(|text| text.trim());
    let needed = |names: &[&str]| field(names).with_context(|| format!("no field {}", names.join(" or ")));
    let amount = |text: &str| nano_usd(text).with_context(|| format!("{text:?} is no amount of US dollars"));
    let begin = needed(&BEGIN)?;
    let day = day(begin).with_context(|| format!("{begin:?} is no day or time, such as 2026-10-31"))?;
    if let (Some(begin), Some(end)) = (moment(begin), field(&END).and_then(moment)) {
        let is_short = end.as_second() - begin.as_second() <= 24 * 60 * 60;
        ensure!(is_short, "it is of more than a day: ask for bucketSize=day");
    }
    let total = amount(needed(&TOTAL)?)?;
    let nano_usd = field(&GPU).map(amount).transpose()?.unwrap_or(total);
    Ok(Line { endpoint: needed(&ENDPOINT)?.to_owned(), day, nano_usd, other_nano_usd: total - nano_usd })
}

fn moment(text: &str) -> Option<Timestamp> {
    let utc = |time: DateTime| TimeZone::UTC.to_timestamp(time).ok();
    text.parse().ok().or_else(|| text.parse().ok().and_then(utc))
}

fn day(text: &str) -> Option<Date> {
    if text.len() == 10 {
        return text.parse().ok();
    }
    Some(TimeZone::UTC.to_datetime(moment(text)?).date())
}

/// US dollars as nano-dollars, rounded half to even. As JSON has them, exponents included.
fn nano_usd(text: &str) -> Option<i128> {
    let text = text.strip_prefix('$').unwrap_or(text);
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |text| (-1, text));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let is_number = !whole.is_empty() && digits.len() <= 25 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let exponent: i32 = exponent.parse().ok().filter(|exponent| is_number && (-30..=9).contains(exponent))?;
    let digits: i128 = digits.parse().ok()?;
    let shift = 9 + exponent - i32::try_from(fraction.len()).ok()?;
    let power = 10_i128.checked_pow(shift.unsigned_abs())?;
    if shift >= 0 {
        return Some(sign * digits.checked_mul(power)?);
    }
    let (nano, rest) = (digits / power, digits % power);
    let rounds_up = rest * 2 > power || rest * 2 == power && nano % 2 == 1;
    Some(sign * (nano + i128::from(rounds_up)))
}

#[cfg(test)]
mod tests;
