//! Keys and teams that are kept in the ledger's database, beside those of the file. What they may use is JSON there, with the
//! same names as in the file, and is read by the same rules.

use std::collections::HashMap;

use config::Value;

use crate::{
    Budget, Problems, Secrets, TASK_PREFIX, TagSet, WishSet, budgets, keys, limits,
    reader::{Context, Table},
    tags,
    types::{Allowance, Config, Key, Team},
    wishes,
};

/// What a key may use: `models`, `direct`, `limits`, `budgets`, `tags` and `may_wish`, as in `[[keys]]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeyTerms {
    /// The names that it may ask for; `None` is all.
    pub models: Option<Vec<String>>,
    /// Whether it may name the upstream that is to serve.
    pub may_choose_upstream: bool,
    /// What it may use.
    pub limits: Allowance,
    /// What it may spend.
    pub budgets: Vec<Budget>,
    /// What its requests are tagged with where they say nothing else.
    pub tags: TagSet,
    /// What it may want for single requests.
    pub may_wish: WishSet,
}

/// What the keys of a team may use together: `limits` and `budgets`, as in `[[teams]]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TeamTerms {
    /// What they may use.
    pub limits: Allowance,
    /// What they may spend.
    pub budgets: Vec<Budget>,
}

/// A secret of a key that is kept.
#[derive(Debug, Clone)]
pub struct StoredKey {
    /// The key's name.
    pub id: String,
    /// Who pays.
    pub team: String,
    /// SHA-256 of the secret.
    pub sha256: [u8; 32],
    /// What it may use.
    pub terms: KeyTerms,
}

/// Reads what a key may use.
///
/// # Errors
/// With everything that is wrong with it.
pub fn key_terms(json: &str) -> Result<KeyTerms, Problems> {
    read(json, |table| KeyTerms {
        models: keys::models(table).map(|models| models.into_iter().map(|model| model.value).collect()),
        may_choose_upstream: table.flag("direct", false),
        limits: limits::read(table),
        budgets: budgets::read(table),
        tags: tags::read_defaults(table, None),
        may_wish: wishes::read(table),
    })
}

/// Reads what the keys of a team may use together.
///
/// # Errors
/// With everything that is wrong with it.
pub fn team_terms(json: &str) -> Result<TeamTerms, Problems> {
    read(json, |table| TeamTerms { limits: limits::read(table), budgets: budgets::read(table) })
}

fn read<T>(json: &str, read: impl FnOnce(&mut Table<'_>) -> T) -> Result<T, Problems> {
    let fail = |list| Problems { origin: "the key".to_owned(), list };
    // No variable is replaced: who may make keys must not read the router's environment.
    let context = Context::new(&|_| None, Secrets::Ignored);
    let entries = serde_json::from_str::<HashMap<String, Value>>(json).map_err(|error| {
        let problem = crate::Problem::new("", format!("is not what a key may use: {error}"), "a JSON object");
        fail(vec![problem])
    })?;
    let mut table = Table::new(&context, String::new(), entries);
    let terms = read(&mut table);
    table.finish();
    let (problems, _) = context.finish();
    if problems.is_empty() { Ok(terms) } else { Err(fail(problems)) }
}

impl Config {
    /// What a key may ask for by name: models, ensembles, tasks and aliases.
    pub fn names(&self) -> Vec<String> {
        let models = self.models.iter().map(|model| model.name.as_str().to_owned());
        let ensembles = self.ensembles.iter().map(|ensemble| ensemble.name.clone());
        let tasks = self.tasks.keys().map(|task| format!("{TASK_PREFIX}{task}"));
        models.chain(ensembles).chain(tasks).chain(self.aliases.names().map(str::to_owned)).collect()
    }

    /// The same configuration with keys and teams that are kept elsewhere. Where the file has one of the same name, that holds.
    #[must_use]
    pub fn with_stored(&self, stored: &[StoredKey], teams: &[(String, TeamTerms)]) -> Self {
        let mut config = self.clone();
        let in_file = |id: &str| self.keys.iter().any(|key| key.id == id);
        config.keys.extend(stored.iter().filter(|key| !in_file(&key.id)).map(|key| Key {
            id: key.id.clone(),
            team: key.team.clone(),
            sha256: key.sha256,
            limits: key.terms.limits.or_concurrent(keys::default_concurrent(&self.server)),
            budgets: key.terms.budgets.clone(),
            models: key.terms.models.clone(),
            may_choose_upstream: key.terms.may_choose_upstream,
            tags: self.tags.known(&key.terms.tags),
            may_wish: key.terms.may_wish,
        }));
        let in_file = |id: &str| self.teams.iter().any(|team| team.id == id);
        config.teams.extend(teams.iter().filter(|(id, _)| !in_file(id)).map(|(id, terms)| Team {
            id: id.clone(),
            limits: terms.limits,
            budgets: terms.budgets.clone(),
        }));
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Wish;

    #[test]
    fn terms_are_read_by_the_rules_of_the_file() {
        let json = r#"{"models": ["llama"], "limits": {"requests_per_minute": 60, "burst": 5},
            "budgets": [{"usd": "100", "per": "month", "time_zone": "Europe/Berlin"}]}"#;
        let terms = key_terms(json).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!((terms.models.as_deref(), terms.may_choose_upstream), (Some(&["llama".to_owned()][..]), false));
        assert_eq!((terms.limits.burst.map(u32::from), terms.budgets[0].limit.0), (Some(5), 100_000_000_000));
        let tagged = key_terms(r#"{"tags": {"env": "prod"}}"#).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(tagged.tags.iter().collect::<Vec<_>>(), [("env", "prod")]);
        let wishes =
            key_terms(r#"{"may_wish": ["strategy"]}"#).unwrap_or_else(|problems| panic!("{problems}")).may_wish;
        assert!(wishes.contains(Wish::Strategy) && !wishes.contains(Wish::Deadline));
        assert_eq!(key_terms("{}").ok(), Some(KeyTerms::default()));
        for (json, says) in [
            (r#"{"limit": {}}"#, "did you mean \"limits\""),
            (r#"{"budgets": [{"usd": "x", "per": "day"}]}"#, "budgets[0].usd"),
            (r#"{"models": ["${HOME}"]}"#, "HOME"),
            (r#"{"tags": {"env": "a b"}}"#, "tags.env"),
            (r#"{"may_wish": ["stratgy"]}"#, "did you mean \"strategy\""),
            ("[]", "a JSON object"),
        ] {
            let problems = key_terms(json).expect_err(json).to_string();
            assert!(problems.contains(says), "{json}: {problems}");
        }
        assert!(team_terms(r#"{"direct": true}"#).is_err());
    }
}
