//! Calls whose use the upstream did not report: where a bill and the ledger may differ.

use crate::{
    Query, StoreError,
    report::{DAY_MS, Parameter, SERVED, Statement},
    store::Reports,
};

/// Calls to an upstream on a day whose use is not what the upstream reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsettled {
    /// The day (UTC), such as `2026-11-27`.
    pub day: String,
    /// The upstream.
    pub upstream: String,
    /// Calls that timed out, broke or were left, and may have been billed.
    pub left_calls: u64,
    /// Calls whose end nobody knows, because the router was killed.
    pub unknown_calls: u64,
}

/// Reads them, by day and upstream.
pub(crate) fn read(reports: &mut dyn Reports, query: &Query) -> Result<Vec<Unsettled>, StoreError> {
    let sql = format!(
        "SELECT day, upstream, count(*) FILTER (WHERE usage_source = 'estimated' AND NOT ({SERVED})),
            count(*) FILTER (WHERE usage_source = 'unknown')
        FROM attempts WHERE day BETWEEN $1 AND $2 AND ended_at_ms >= $3 AND ended_at_ms < $4
            AND usage_source IN ('estimated', 'unknown')
        GROUP BY day, upstream ORDER BY day, upstream"
    );
    let days = [query.since_ms, query.until_ms].map(|at| at.div_euclid(DAY_MS));
    let parameters = days.into_iter().chain([query.since_ms, query.until_ms]).map(Parameter::Number).collect();
    let rows = reports.ask(&Statement { sql, parameters })?;
    let unsettled = |row: Vec<Parameter>| {
        let [Parameter::Number(day), Parameter::Text(upstream), left, unknown] = &row[..] else { return None };
        let count = |number: &Parameter| number.number().unwrap_or_default().cast_unsigned();
        Some(Unsettled {
            day: crate::day(day * 24),
            upstream: upstream.clone(),
            left_calls: count(left),
            unknown_calls: count(unknown),
        })
    };
    Ok(rows.into_iter().filter_map(unsettled).collect())
}
