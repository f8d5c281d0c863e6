//! A report as it looks, for the description of the API.

use jiff::civil::date;
use ledger::{Baseline, Dimension, GpuReport, Query, Spend};

use super::{Report, figures::Format, gpu_cost::GpuCosts, grid, period::Days, savings, savings_billed::Billed};

impl Report {
    /// A report of one row by team, as JSON and as CSV.
    pub(crate) fn example(self) -> [String; 2] {
        let (query, labels) = (of_team(), vec![Some("search".to_owned())]);
        let spend = Spend {
            labels: labels.clone(),
            calls: 12,
            answers: 11,
            prompt_tokens: 4_100,
            completion_tokens: 900,
            cost_nano_usd: 100_000,
            wasted_nano_usd: 8_000,
            ..Spend::default()
        };
        let (rows, workers) = ([spend], GpuReport::default());
        let grid = match self {
            Self::Spend => {
                let mut grid = grid(&query, &rows);
                GpuCosts::new(&workers, &query.by).add_columns(&mut grid, &rows);
                grid
            }
            Self::Savings => {
                let policy = "all:cerebras-8b".to_owned();
                let baseline = Baseline { labels, policy, answers: 11, cost_nano_usd: 500_000 };
                let mut grid = savings::grid(&query, &rows, std::slice::from_ref(&baseline));
                let of_model =
                    Baseline { labels: vec![Some("search".to_owned()), Some("llama".to_owned())], ..baseline };
                Billed::new(&query, &workers, None, &rows, vec![of_model]).add_columns(&mut grid);
                grid
            }
        };
        let days = Days { first: date(2026, 11, 1), last: date(2026, 11, 30) };
        [Format::Json, Format::Csv].map(|format| format.text(days, &grid))
    }
}

fn of_team() -> Query {
    Query { by: vec![Dimension::Team], since_ms: 0, until_ms: 0, of: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_api_have_all_columns() {
        for (report, columns) in [
            (Report::Spend, "unpriced_calls,gpu_cost_usd,billed_usd,gpu_unshared_calls"),
            (Report::Savings, "saved_percent,billed_usd,baseline_billed_usd,billed_saved_usd"),
        ] {
            let [json, csv] = report.example();
            let document: serde_json::Value = serde_json::from_str(&json).expect("JSON");
            let header = csv.lines().next().expect("a header");
            assert!(header.contains(columns), "{header}");
            let row = document["rows"][0].as_object().expect("a row");
            assert!(header.split(',').all(|column| row.contains_key(column)), "{header}: {json}");
        }
    }
}
