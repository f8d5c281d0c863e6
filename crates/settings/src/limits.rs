//! `limits` of a key, a team or a model.

use std::num::NonZeroU32;

use crate::{problem::Problem, reader::Table, types::Allowance};

/// The limits of what `owner` describes; without any if there is no such table.
pub(crate) fn read(owner: &mut Table<'_>) -> Allowance {
    let Some(mut table) = owner.table("limits") else { return Allowance::default() };
    let allowance = Allowance {
        requests_per_minute: limit(&mut table, "requests_per_minute", 1_000_000),
        burst: limit(&mut table, "burst", 1_000_000),
        tokens_per_minute: limit(&mut table, "tokens_per_minute", 1_000_000_000),
        token_burst: limit(&mut table, "token_burst", 1_000_000_000),
        concurrent: limit(&mut table, "concurrent", 1_000_000),
        is_concurrent_default: false,
    };
    let pairs = [
        ("burst", allowance.burst.is_some(), "requests_per_minute", allowance.requests_per_minute.is_some()),
        ("token_burst", allowance.token_burst.is_some(), "tokens_per_minute", allowance.tokens_per_minute.is_some()),
    ];
    for (burst, has_burst, rate, has_rate) in pairs {
        if has_burst && !has_rate {
            let problem = Problem::new(table.at(burst), format!("stands without {rate}"), "both, or neither");
            table.context.report(problem);
        }
    }
    table.finish();
    allowance
}

fn limit(table: &mut Table<'_>, key: &'static str, most: u64) -> Option<NonZeroU32> {
    table.int::<u32>(key, 1..=most).and_then(NonZeroU32::new)
}
