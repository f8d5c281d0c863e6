//! What rows are grouped by, and which calls are asked about.

use std::fmt;

use clap::Args;
use ledger::{Dimension, Query};
use settings::{Config, TagError, is_plain_name};

/// Whose calls are asked about; all, without any option.
#[derive(Args, Default)]
pub(super) struct Selection {
    /// Of this team alone.
    #[arg(long, value_name = "NAME")]
    team: Option<String>,
    /// Of calls with this tag alone; once for each.
    #[arg(long, value_name = "NAME=VALUE", value_parser = tag)]
    tag: Vec<(String, String)>,
}

impl Selection {
    /// Sets what has this name on the command line: `team`, or adds a `tag`.
    ///
    /// # Errors
    /// With what it must be.
    pub(super) fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        match name {
            "team" => self.team = Some(text.to_owned()),
            _ => self.tag.push(tag(text)?),
        }
        Ok(())
    }

    /// For [`ledger::Query`].
    pub(super) fn of(&self) -> Vec<(Dimension, String)> {
        let team = self.team.iter().map(|team| (Dimension::Team, team.clone()));
        team.chain(self.tag.iter().map(|(name, value)| (Dimension::Tag(name.clone()), value.clone()))).collect()
    }
}

impl fmt::Display for Selection {
    /// As words of a sentence, with a space before them; nothing for all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(team) = &self.team {
            write!(f, " of team {team:?}")?;
        }
        for (nth, (name, value)) in self.tag.iter().enumerate() {
            write!(f, " {} {name}={value}", if nth == 0 { "with" } else { "and" })?;
        }
        Ok(())
    }
}

fn tag(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, value)| is_plain_name(name) && !value.is_empty());
    pair.map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(|| "a tag, such as env=prod".to_owned())
}

/// Refuses tags that no request can have. Without a configuration, nobody knows which these are.
///
/// # Errors
/// With the tags that are declared.
pub(super) fn check_tags(query: &Query, config: Option<&Config>) -> Result<(), TagError> {
    let Some(Config { tags, .. }) = config else { return Ok(()) };
    query.by.iter().chain(query.of.iter().map(|(dimension, _)| dimension)).try_for_each(|dimension| match dimension {
        Dimension::Tag(name) => tags.check_name(name),
        _ => Ok(()),
    })
}

/// What an answer has, whoever served it.
const OF_ANSWERS: [Dimension; 5] =
    [Dimension::Team, Dimension::Key, Dimension::Model, Dimension::Route, Dimension::Day];
/// What a call has beside that.
const OF_CALLS: [Dimension; 2] = [Dimension::Upstream, Dimension::Role];
/// Before the name of a tag.
const TAG: &str = "tag:";

/// What calls are grouped by.
pub(super) fn of_calls(text: &str) -> Result<Dimension, String> {
    dimension(text, OF_ANSWERS.into_iter().chain(OF_CALLS))
}

/// What answers are grouped by.
pub(super) fn of_answers(text: &str) -> Result<Dimension, String> {
    dimension(text, OF_ANSWERS)
}

fn dimension(text: &str, known: impl IntoIterator<Item = Dimension>) -> Result<Dimension, String> {
    if let Some(name) = text.strip_prefix(TAG).filter(|name| is_plain_name(name)) {
        return Ok(Dimension::Tag(name.to_owned()));
    }
    let known: Vec<_> = known.into_iter().collect();
    let found = known.iter().find(|dimension| dimension.to_string() == text).cloned();
    let names = || known.iter().map(Dimension::to_string).collect::<Vec<_>>().join(", ");
    found.ok_or_else(|| format!("one of {}, or tag:NAME, such as tag:feature", names()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_apart_by_a_tag_or_by_what_calls_have() {
        assert_eq!(of_calls("upstream"), Ok(Dimension::Upstream));
        assert_eq!(of_answers("tag:feature"), Ok(Dimension::Tag("feature".to_owned())));
        for (text, says) in [
            (of_answers("upstream"), "one of team, key, model, route, day, or tag:NAME"),
            (of_calls("tag:"), "such as tag:feature"),
            (of_calls("tag:it's"), "such as tag:feature"),
            (of_calls("tag"), "one of team, key, model, route, day, upstream, role, or tag:NAME"),
        ] {
            let error = text.expect_err("refused");
            assert!(error.contains(says), "{error}");
        }
    }
}
