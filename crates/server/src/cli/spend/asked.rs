//! A report that a query of the admin API asks for, with the parameters of the command line.

use ledger::{Dimension, Query, Snapshot, StoreError};
use settings::Config;

use super::{
    figures::Format,
    period::{Days, Period},
    savings,
    selection::{Selection, check_tags, of_answers, of_calls},
};

/// Which report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// As `llm-router spend`.
    Spend,
    /// As `llm-router savings`.
    Savings,
}

/// What is to be reported, and how.
pub(crate) struct Asked {
    report: Report,
    query: Query,
    days: Days,
    format: Format,
}

impl Asked {
    /// Reads the parts of a query.
    ///
    /// # Errors
    /// With what is wrong with it.
    pub(crate) fn of(report: Report, parts: &[(String, String)]) -> Result<Self, String> {
        let (mut period, mut selection) = (Period::default(), Selection::default());
        let (mut by, mut format) = (None, Format::Json);
        for (nth, (name, value)) in parts.iter().enumerate() {
            if name != "tag" && parts[..nth].iter().any(|(before, _)| before == name) {
                return Err(format!("{name} is there twice"));
            }
            let expects = |expected: String| format!("{name} must be {expected}");
            match name.as_str() {
                "by" => by = Some(report.dimensions(value).map_err(expects)?),
                "format" => format = Format::of(value).map_err(expects)?,
                "month" | "since" | "until" => period.set(name, value).map_err(expects)?,
                "team" | "tag" => selection.set(name, value).map_err(expects)?,
                _ => return Err(format!("there is no {name:?}")),
            }
        }
        let days = period.days().map_err(|error| error.to_string())?;
        let of_days = days.query().map_err(|error| error.to_string())?;
        let by = by.unwrap_or_else(|| report.usual_dimensions());
        Ok(Self { report, query: Query { by, of: selection.of(), ..of_days }, days, format })
    }

    /// Refuses tags that are not declared.
    ///
    /// # Errors
    /// With those that are.
    pub(crate) fn check(&self, config: &Config) -> Result<(), String> {
        check_tags(&self.query, Some(config)).map_err(|error| error.to_string())
    }

    /// Asks the ledger, which may take a while. The text of the report.
    ///
    /// # Errors
    /// If the ledger cannot be asked.
    pub(crate) fn text(&self, ledger: &mut Snapshot, config: &Config, now_ms: i64) -> Result<String, StoreError> {
        let grid = match self.report {
            Report::Spend => super::report(ledger, &self.query, Some(config), now_ms)?,
            Report::Savings => savings::report(ledger, &self.query, Some(config), now_ms)?.0,
        };
        Ok(self.format.text(self.days, &grid))
    }

    /// The type of the text.
    pub(crate) fn content_type(&self) -> &'static str {
        match self.format {
            Format::Json => "application/json",
            Format::Csv => "text/csv; charset=utf-8",
            Format::Table => "text/plain; charset=utf-8",
        }
    }
}

impl Report {
    /// What its rows are grouped by, unless somebody says otherwise.
    pub(super) fn usual_dimensions(self) -> Vec<Dimension> {
        match self {
            Self::Spend => vec![Dimension::Team, Dimension::Model],
            Self::Savings => vec![Dimension::Team],
        }
    }

    fn dimensions(self, list: &str) -> Result<Vec<Dimension>, String> {
        list.split(',')
            .map(|name| match self {
                Self::Spend => of_calls(name),
                Self::Savings => of_answers(name),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(report: Report, query: &[(&str, &str)]) -> Result<Asked, String> {
        let parts: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Asked::of(report, &parts)
    }

    #[test]
    fn a_query_takes_what_the_command_line_takes() {
        let query = [
            ("by", "day,tag:feature"),
            ("since", "2026-11-01"),
            ("until", "2026-11-02"),
            ("team", "search"),
            ("tag", "env=prod"),
            ("tag", "feature=chat"),
            ("format", "csv"),
        ];
        let Asked { query, days, format, .. } = asked(Report::Spend, &query).expect("a report");
        assert_eq!(query.by, [Dimension::Day, Dimension::Tag("feature".to_owned())]);
        assert_eq!(query.of.len(), 3);
        assert_eq!((query.until_ms - query.since_ms) / 3_600_000, 48);
        assert_eq!((days.to_string().as_str(), format), ("2026-11-01 to 2026-11-02 (UTC)", Format::Csv));
    }

    #[test]
    fn mistakes_are_named() {
        for (query, says) in [
            (&[("by", "color")][..], "by must be one of team"),
            (&[("by", "upstream")], "by must be one of team, key, model, route, day, or tag:NAME"),
            (&[("until", "2026-11")], "until must be a day"),
            (&[("month", "11")], "month must be a month"),
            (&[("month", "2026-11"), ("since", "2026-11-02")], "month stands alone"),
            (
                &[("since", "2026-11-02"), ("until", "2026-11-01")],
                "since, 2026-11-02, is after the last day, 2026-11-01",
            ),
            (&[("team", "a"), ("team", "b")], "team is there twice"),
            (&[("tag", "prod")], "tag must be a tag, such as env=prod"),
            (&[("format", "xml")], "format must be json, csv or table"),
            (&[("limit", "7")], "there is no \"limit\""),
        ] {
            let error = asked(Report::Savings, query).err().expect(says);
            assert!(error.contains(says), "{says}: {error}");
        }
    }

    #[test]
    fn tags_that_are_not_declared_are_refused_and_the_declared_ones_named() {
        let text = "[auth]\nmode = \"none\"\n[[tags]]\nname = \"feature\"\n[[upstreams]]\nid = \"a\"\nprovider = \"openai\"\n\
                    model = \"m\"\nbase_url = \"http://127.0.0.1:9/v1\"\napi_key_env = \"none\"\n[[models]]\n\
                    name = \"m\"\nstrategy = \"cost\"\ntargets = [{ upstream = \"a\" }]\n";
        let config = settings::parse(text, "x.toml", &|_| None).expect("a valid configuration");
        let check = |query| asked(Report::Spend, &[query]).expect("a report").check(&config);
        for query in [("by", "team,tag:featrue"), ("tag", "featrue=chat")] {
            assert_eq!(check(query), Err("the tag \"featrue\" is not declared: there are feature".to_owned()));
        }
        for query in [("by", "team,tag:feature"), ("tag", "feature=chat"), ("by", "day")] {
            assert_eq!(check(query), Ok(()));
        }
    }
}
