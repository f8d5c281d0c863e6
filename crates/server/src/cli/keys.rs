//! `keys` and `teams`: who may call, kept in the ledger's database.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use ledger::{KeyRecord, Location};
use serde_json::{Map, Value, json};
use settings::{Config, Secrets, process_env};

use super::{note, say};
use crate::{
    budgets::moment,
    clock,
    stored_keys::actions::{Actions, NewKey},
};

pub(super) const HELP: &str = "\
Keys are kept in the database that storage.url names, beside those of the file; a router that runs follows within a second.

  llm-router keys create search-web --config F --team search --budget 100/month --requests-per-minute 600
  llm-router keys rotate search-web --config F --overlap-hours 48
  llm-router teams set search --config F --budget 500/month@Europe/Berlin --tokens-per-minute 200000";

const MAY_WISH: &str = "What it may want for single requests by headers: strategy, deadline, max_cost, no_fallback or tags, \
                        once for each, or none. Where that was never said, all but strategy";

const HOUR_MS: i64 = 60 * 60 * 1000;

/// What can be done with keys.
#[derive(Subcommand)]
pub(super) enum Keys {
    /// Make a key, and print its secret: it is shown this once.
    Create {
        /// Its name in logs and in the ledger.
        id: String,
        /// Who pays.
        #[arg(long)]
        team: String,
        /// Refuse it after so many days.
        #[arg(long, value_name = "DAYS")]
        expires_in_days: Option<u32>,
        #[command(flatten)]
        terms: KeyTerms,
        #[command(flatten)]
        database: Database,
    },
    /// List the keys in the database, without their secrets.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        database: Database,
    },
    /// Give a key another secret, and print it: it is shown this once. After a leak: --overlap-hours 0.
    Rotate {
        /// The key's name.
        id: String,
        /// How long the old secret is let in as well.
        #[arg(long, value_name = "HOURS", default_value_t = 24)]
        overlap_hours: u32,
        #[command(flatten)]
        database: Database,
    },
    /// Refuse a key from now on.
    Disable {
        /// The key's name.
        id: String,
        #[command(flatten)]
        database: Database,
    },
    /// Let a disabled key in again.
    Enable {
        /// The key's name.
        id: String,
        #[command(flatten)]
        database: Database,
    },
    /// Change what a key may use; what is not named stays as it is.
    Set {
        /// The key's name.
        id: String,
        /// Begin without limits, budgets, models, tags and wishes instead.
        #[arg(long)]
        reset: bool,
        #[command(flatten)]
        terms: KeyTerms,
        #[command(flatten)]
        database: Database,
    },
    /// List who changed which key or team, the newest first, as JSON lines.
    Audit {
        #[command(flatten)]
        database: Database,
    },
}

/// What can be done with teams.
#[derive(Subcommand)]
pub(super) enum Teams {
    /// Say what the keys of a team may use together; what is not named stays as it is.
    Set {
        /// The team of a key.
        id: String,
        /// Begin without limits and budgets instead.
        #[arg(long)]
        reset: bool,
        #[command(flatten)]
        terms: Terms,
        #[command(flatten)]
        database: Database,
    },
    /// List the teams in the database, as JSON lines.
    List {
        #[command(flatten)]
        database: Database,
    },
}

/// Where keys are kept.
#[derive(Args)]
pub(super) struct Database {
    /// The configuration, whose storage.url names the database.
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
}

/// What keys and teams have in common.
#[derive(Args)]
pub(super) struct Terms {
    /// Most calls a minute.
    #[arg(long, value_name = "NUMBER")]
    requests_per_minute: Option<u32>,
    /// Most tokens a minute, of prompts and answers.
    #[arg(long, value_name = "NUMBER")]
    tokens_per_minute: Option<u32>,
    /// Most calls at the same time.
    #[arg(long, value_name = "NUMBER")]
    concurrent: Option<u32>,
    /// Most US dollars per day, week or month, such as 100/month or 5/day@Europe/Berlin; once for each period.
    #[arg(long, value_name = "USD/PERIOD[@ZONE]")]
    budget: Vec<String>,
    /// Raise the budget of a period until a day, such as 150/month@2026-12-01.
    #[arg(long, value_name = "USD/PERIOD@DAY")]
    raise: Vec<String>,
}

/// What a key may use.
#[derive(Args)]
pub(super) struct KeyTerms {
    /// A model, alias, task/… or ensemble/… that it may ask for; once for each. Where that was never said, all.
    #[arg(long, value_name = "NAME")]
    model: Vec<String>,
    /// Let it name the upstream that is to serve.
    #[arg(long)]
    direct: bool,
    /// A tag that its requests have where they say nothing else; once for each.
    #[arg(long, value_name = "NAME=VALUE")]
    tag: Vec<String>,
    #[arg(long, value_name = "WISH", help = MAY_WISH)]
    may_wish: Vec<String>,
    #[command(flatten)]
    terms: Terms,
}

impl Terms {
    fn json(&self) -> anyhow::Result<Map<String, Value>> {
        let limits = [
            ("requests_per_minute", self.requests_per_minute),
            ("tokens_per_minute", self.tokens_per_minute),
            ("concurrent", self.concurrent),
        ];
        let limits = limits.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), limit?.into())));
        let limits: Map<_, _> = limits.collect();
        let mut budgets = self.budget.iter().map(|text| budget(text)).collect::<anyhow::Result<Vec<_>>>()?;
        for text in &self.raise {
            raise(text, &mut budgets)?;
        }
        let mut terms = Map::new();
        if !limits.is_empty() {
            terms.insert("limits".to_owned(), limits.into());
        }
        if !budgets.is_empty() {
            terms.insert("budgets".to_owned(), budgets.into());
        }
        Ok(terms)
    }
}

impl KeyTerms {
    fn json(&self) -> anyhow::Result<Map<String, Value>> {
        let mut terms = self.terms.json()?;
        if !self.model.is_empty() {
            terms.insert("models".to_owned(), self.model.clone().into());
        }
        if self.direct {
            terms.insert("direct".to_owned(), true.into());
        }
        let wishes: Vec<_> = self.may_wish.iter().filter(|wish| *wish != "none").cloned().collect();
        if !self.may_wish.is_empty() {
            terms.insert("may_wish".to_owned(), wishes.into());
        }
        let tags = self.tag.iter().map(|text| {
            let (name, value) =
                text.split_once('=').with_context(|| format!("{text:?} is no tag: such as env=prod"))?;
            Ok((name.to_owned(), value.into()))
        });
        let tags = tags.collect::<anyhow::Result<Map<_, _>>>()?;
        if !tags.is_empty() {
            terms.insert("tags".to_owned(), tags.into());
        }
        Ok(terms)
    }
}

fn budget(text: &str) -> anyhow::Result<Value> {
    let (usd, rest) = text.split_once('/').with_context(|| format!("{text:?} is no budget: such as 100/month"))?;
    Ok(match rest.split_once('@') {
        Some((per, zone)) => json!({"usd": usd, "per": per, "time_zone": zone}),
        None => json!({"usd": usd, "per": rest}),
    })
}

/// What is in force with more: limits one by one, budgets by their period.
fn merged(before: Option<Value>, more: Map<String, Value>, is_reset: bool) -> anyhow::Result<String> {
    if more.is_empty() && !is_reset {
        bail!("nothing to change: give limits, budgets, models, tags or wishes, or --reset");
    }
    let mut terms = before.and_then(|before| before.as_object().cloned()).unwrap_or_default();
    for (name, value) in more {
        match (terms.get_mut(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => old.extend(new),
            (Some(Value::Array(old)), Value::Array(new)) if name == "budgets" => {
                old.retain(|budget| new.iter().all(|new| new["per"] != budget["per"]));
                old.extend(new);
            }
            (_, value) => drop(terms.insert(name, value)),
        }
    }
    Ok(Value::Object(terms).to_string())
}

/// Raises the budget of the same period.
fn raise(text: &str, budgets: &mut [Value]) -> anyhow::Result<()> {
    let parts = text.split_once('/').and_then(|(usd, rest)| Some((usd, rest.split_once('@')?)));
    let (usd, (per, until)) =
        parts.with_context(|| format!("{text:?} raises nothing: such as 150/month@2026-12-01"))?;
    let budget = budgets.iter_mut().find(|budget| budget["per"] == per);
    let budget = budget.with_context(|| format!("{text:?} raises no budget: give --budget USD/{per} as well"))?;
    budget["raised"] = json!({"usd": usd, "until": until});
    Ok(())
}

/// The database that a configuration names, and the configuration.
struct Opened {
    location: Location,
    config: Config,
    actor: String,
}

impl Database {
    fn open(&self) -> anyhow::Result<Opened> {
        let config = settings::load_with(&self.config, &process_env, Secrets::Optional)?;
        let Some(storage) = &config.storage else {
            bail!("{} has no storage.url: without it there are no keys but those of the file", self.config.display());
        };
        let location = crate::ledger::location(&storage.location)?;
        let user = process_env("USER").or_else(|| process_env("LOGNAME"));
        let actor = format!("command line, {}", user.as_deref().unwrap_or("unknown user"));
        Ok(Opened { location, config, actor })
    }
}

impl Opened {
    fn actions(&self) -> Actions<'_> {
        Actions::new(&self.location, &self.config, &self.actor)
    }
}

/// Does it, and prints what came of it.
pub(super) fn run(command: &Keys) -> anyhow::Result<()> {
    match command {
        Keys::Create { id, team, expires_in_days, terms, database } => {
            let expires_at_ms = expires_in_days.map(|days| clock::now_ms() + i64::from(days) * 24 * HOUR_MS);
            let terms = Value::Object(terms.json()?).to_string();
            let new = NewKey { id: id.clone(), team: team.clone(), terms, expires_at_ms };
            let opened = database.open()?;
            let secret = opened.actions().create(new)?;
            note("this is the only time that the key is shown");
            if !opened.actions().knows_team(team)? {
                note(&format!("no other key is of team {team:?}, and it has no limits or budgets: is the name right?"));
            }
            Ok(say(&secret)?)
        }
        Keys::List { json, database } => {
            let directory = database.open()?.actions().keys()?.directory()?;
            let lines: Vec<_> =
                directory.keys.iter().map(|key| if *json { document(key) } else { line(key) }).collect();
            Ok(say(&lines.join("\n"))?)
        }
        Keys::Rotate { id, overlap_hours, database } => {
            let overlap_ms = i64::from(*overlap_hours) * HOUR_MS;
            let secret = database.open()?.actions().rotate(id, overlap_ms)?;
            note(&format!(
                "this is the only time that the key is shown; the old one is let in for {overlap_hours} hours"
            ));
            Ok(say(&secret)?)
        }
        Keys::Disable { id, database } => {
            database.open()?.actions().set_disabled(id, true)?;
            note(&format!("{id} is refused, within a second"));
            Ok(())
        }
        Keys::Enable { id, database } => {
            database.open()?.actions().set_disabled(id, false)?;
            note(&format!("{id} is let in again, with the secrets that it has: rotate it if one of them leaked"));
            Ok(())
        }
        Keys::Set { id, reset, terms, database } => {
            let opened = database.open()?;
            let directory = opened.actions().keys()?.directory()?;
            let before = directory.keys.iter().find(|key| key.id == *id && !reset).map(|key| parsed(&key.terms));
            let terms = merged(before, terms.json()?, *reset)?;
            opened.actions().set_terms(id, &terms)?;
            note(&format!("{id} may use {terms} now"));
            Ok(())
        }
        Keys::Audit { database } => {
            let changes = database.open()?.actions().keys()?.audit(i64::MAX)?;
            let lines = changes.iter().map(|change| {
                json!({"number": change.number, "at": moment(change.at_ms), "actor": change.actor, "action": change.action,
                    "subject": change.subject, "detail": parsed(&change.detail)})
                .to_string()
            });
            Ok(say(&lines.collect::<Vec<_>>().join("\n"))?)
        }
    }
}

/// The same for teams.
pub(super) fn run_teams(command: &Teams) -> anyhow::Result<()> {
    match command {
        Teams::Set { id, reset, terms, database } => {
            let opened = database.open()?;
            let directory = opened.actions().keys()?.directory()?;
            let before = directory.teams.iter().find(|team| team.id == *id && !reset).map(|team| parsed(&team.terms));
            let terms = merged(before, terms.json()?, *reset)?;
            opened.actions().set_team(id, &terms)?;
            note(&format!("the keys of {id} together may use {terms} now"));
            Ok(())
        }
        Teams::List { database } => {
            let directory = database.open()?.actions().keys()?.directory()?;
            let line = |team: &ledger::TeamRecord| json!({"id": team.id, "terms": parsed(&team.terms)}).to_string();
            Ok(say(&directory.teams.iter().map(line).collect::<Vec<_>>().join("\n"))?)
        }
    }
}

fn line(key: &KeyRecord) -> String {
    let state = match (key.disabled_at_ms, key.expires_at_ms) {
        (Some(at_ms), _) => format!("disabled {}", moment(at_ms)),
        (None, Some(at_ms)) if at_ms <= clock::now_ms() => format!("expired {}", moment(at_ms)),
        (None, Some(at_ms)) => format!("expires {}", moment(at_ms)),
        (None, None) => "in force".to_owned(),
    };
    format!("{:<24} {:<16} {:<32} {:<10} {}", key.id, key.team, state, secrets(key), key.terms)
}

/// How many secrets are let in.
fn secrets(key: &KeyRecord) -> String {
    let now_ms = clock::now_ms();
    let is_valid = |expires_at_ms: Option<i64>| expires_at_ms.is_none_or(|expires_at_ms| expires_at_ms > now_ms);
    match key.secrets.iter().filter(|secret| is_valid(secret.expires_at_ms)).count() {
        1 => "1 secret".to_owned(),
        count => format!("{count} secrets"),
    }
}

fn document(key: &KeyRecord) -> String {
    json!({"id": key.id, "team": key.team, "terms": parsed(&key.terms), "created_at": moment(key.created_at_ms),
        "expires_at": key.expires_at_ms.map(moment), "disabled_at": key.disabled_at_ms.map(moment),
        "secrets": key.secrets.iter().map(|secret| json!({"expires_at": secret.expires_at_ms.map(moment)})).collect::<Vec<_>>()})
    .to_string()
}

/// What stands in the database is JSON, because it was checked before.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        terms: KeyTerms,
    }

    fn terms(line: &str) -> Value {
        let line = Line::parse_from(line.split_whitespace());
        line.terms.json().expect("terms").into()
    }

    #[test]
    fn wishes_are_those_that_are_named_or_nothing_or_left_as_they_are() {
        assert_eq!(terms("set --may-wish strategy --may-wish tags"), json!({"may_wish": ["strategy", "tags"]}));
        assert_eq!(terms("set --may-wish none"), json!({"may_wish": []}));
        assert_eq!(terms("set --direct"), json!({"direct": true}));
        let unknown = settings::key_terms(&terms("set --may-wish price").to_string()).expect_err("no such wish");
        assert!(unknown.to_string().contains("strategy, deadline, max_cost, no_fallback or tags"), "{unknown}");
    }
}
