//! Client keys and teams beside those of a configuration file, in the ledger's database: made, rotated, disabled and expired while
//! routers run. A secret is kept as its SHA-256. Every change is in an audit table, whose latest number is the revision: who sees
//! the same revision has seen every change.

use crate::{
    report::Parameter::{self, Number, Text},
    store::{Access, Location, Sql, Statements, StoreError, sql},
};

/// Who changed something, and when.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// As the audit table names it.
    pub actor: &'a str,
    /// In milliseconds since 1970.
    pub at_ms: i64,
}

/// A key as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its name.
    pub id: String,
    /// Who pays.
    pub team: String,
    /// What it may use, as JSON.
    pub terms: String,
    /// When it was made, in milliseconds since 1970.
    pub created_at_ms: i64,
    /// From when on it is refused, if ever.
    pub expires_at_ms: Option<i64>,
    /// Since when it is refused, if it is disabled.
    pub disabled_at_ms: Option<i64>,
    /// Its secrets; more than one while it is rotated.
    pub secrets: Vec<SecretRecord>,
}

/// A secret of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRecord {
    /// SHA-256 of it, in hexadecimal digits.
    pub sha256: String,
    /// From when on it is refused, if ever, in milliseconds since 1970.
    pub expires_at_ms: Option<i64>,
}

/// A team as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamRecord {
    /// Its name.
    pub id: String,
    /// What its keys may use together, as JSON.
    pub terms: String,
}

/// All keys and teams of a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    /// The number of the latest change.
    pub revision: i64,
    /// By name.
    pub keys: Vec<KeyRecord>,
    /// By name.
    pub teams: Vec<TeamRecord>,
}

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// From 1 on, without gaps.
    pub number: i64,
    /// In milliseconds since 1970.
    pub at_ms: i64,
    /// Who made it.
    pub actor: String,
    /// What was done, such as `key_created`.
    pub action: String,
    /// The name of the key or the team.
    pub subject: String,
    /// What is in force since then, as JSON; never a secret.
    pub detail: String,
}

/// Why keys cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is a key of that name already, disabled and expired ones included: the ledger's rows name keys.
    #[error("there is a key {0:?} already, or there was: take another name")]
    Exists(String),
    /// There is no such key, or team.
    #[error("there is no {0} here; those of the configuration file are changed in the file")]
    Unknown(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keys and teams in a database. Used by one thread at a time, where no runtime is.
pub struct Keys(Box<dyn Sql>);

impl Keys {
    /// Opens the database, and brings its tables up to date.
    ///
    /// # Errors
    /// If it cannot be reached or is no ledger.
    pub fn open(location: &Location) -> Result<Self, StoreError> {
        sql(location).map(Self)
    }

    /// The number of the latest change.
    pub fn revision(&mut self) -> Result<i64, StoreError> {
        let mut revision = 0;
        self.0.transaction(Access::Read, &mut |statements| {
            revision = latest(statements)?;
            Ok(())
        })?;
        Ok(revision)
    }

    /// All keys and teams.
    pub fn directory(&mut self) -> Result<Directory, StoreError> {
        let mut directory = Directory::default();
        self.0.transaction(Access::Read, &mut |statements| {
            directory = read(statements)?;
            Ok(())
        })?;
        Ok(directory)
    }

    /// Makes a key.
    ///
    /// # Errors
    /// If there is one of that name.
    pub fn create(&mut self, key: &KeyRecord, change: Change<'_>) -> Result<(), KeyError> {
        let expires = key.expires_at_ms.map_or_else(|| "null".to_owned(), |at_ms| at_ms.to_string());
        let team = serde_json::Value::from(key.team.as_str());
        let detail = format!("{{\"team\": {team}, \"expires_at_ms\": {expires}, \"terms\": {}}}", key.terms);
        self.change(change, "key_created", &key.id, &detail, |statements| {
            let sql = "INSERT INTO keys (id, team, terms, created_at_ms, expires_at_ms) VALUES ($1, $2, $3, $4, $5)
                ON CONFLICT DO NOTHING";
            let values =
                [text(&key.id), text(&key.team), text(&key.terms), Number(change.at_ms), key.expires_at_ms.into()];
            if statements.execute(sql, &values)? == 0 {
                return Err(KeyError::Exists(key.id.clone()));
            }
            key.secrets.iter().try_for_each(|secret| add_secret(statements, &key.id, secret, change))
        })
    }

    /// Gives a key another secret. The ones that it has are refused from `old_until_ms` on.
    pub fn rotate(
        &mut self,
        id: &str,
        secret: &SecretRecord,
        old_until_ms: i64,
        change: Change<'_>,
    ) -> Result<(), KeyError> {
        let detail = format!("{{\"old_until_ms\": {old_until_ms}}}");
        self.change(change, "key_rotated", id, &detail, |statements| {
            must_change(statements, "UPDATE keys SET terms = terms WHERE id = $1", &[text(id)], "key", id)?;
            let sql = "UPDATE key_secrets SET expires_at_ms = $1
                WHERE key_id = $2 AND (expires_at_ms IS NULL OR expires_at_ms > $3)";
            statements.execute(sql, &[Number(old_until_ms), text(id), Number(old_until_ms)])?;
            add_secret(statements, id, secret, change)
        })
    }

    /// Refuses a key from now on, or lets it in again.
    pub fn set_disabled(&mut self, id: &str, is_disabled: bool, change: Change<'_>) -> Result<(), KeyError> {
        let action = if is_disabled { "key_disabled" } else { "key_enabled" };
        self.change(change, action, id, "{}", |statements| {
            let at = is_disabled.then_some(change.at_ms);
            let sql = "UPDATE keys SET disabled_at_ms = $1 WHERE id = $2";
            must_change(statements, sql, &[at.into(), text(id)], "key", id)
        })
    }

    /// Changes what a key may use.
    pub fn set_terms(&mut self, id: &str, terms: &str, change: Change<'_>) -> Result<(), KeyError> {
        self.change(change, "key_changed", id, terms, |statements| {
            let sql = "UPDATE keys SET terms = $1 WHERE id = $2";
            must_change(statements, sql, &[text(terms), text(id)], "key", id)
        })
    }

    /// Says what the keys of a team may use together.
    pub fn set_team(&mut self, id: &str, terms: &str, change: Change<'_>) -> Result<(), KeyError> {
        self.change(change, "team_changed", id, terms, |statements| {
            let sql =
                "INSERT INTO teams (id, terms) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET terms = excluded.terms";
            statements.execute(sql, &[text(id), text(terms)])?;
            Ok(())
        })
    }

    /// The latest changes, the newest first.
    pub fn audit(&mut self, most: i64) -> Result<Vec<AuditRecord>, StoreError> {
        let mut records = Vec::new();
        self.0.transaction(Access::Read, &mut |statements| {
            let sql = "SELECT number, at_ms, actor, action, subject, detail FROM audit ORDER BY number DESC LIMIT $1";
            records = statements.query(sql, &[Number(most)])?.iter().filter_map(|row| audit_record(row)).collect();
            Ok(())
        })?;
        Ok(records)
    }

    /// Makes a change and writes it down, both or neither.
    fn change(
        &mut self,
        change: Change<'_>,
        action: &str,
        subject: &str,
        detail: &str,
        make: impl Fn(&mut dyn Statements) -> Result<(), KeyError>,
    ) -> Result<(), KeyError> {
        let mut outcome = Ok(());
        let done = self.0.transaction(Access::Change, &mut |statements| {
            match make(statements) {
                Ok(()) => {}
                Err(KeyError::Store(error)) => return Err(error),
                // Nothing was changed: what found nothing to change is the first statement.
                Err(error) => {
                    outcome = Err(error);
                    return Ok(());
                }
            }
            let number = latest(statements)? + 1;
            let sql =
                "INSERT INTO audit (number, at_ms, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5, $6)";
            let texts = [change.actor, action, subject, detail].map(text);
            let values: Vec<_> = [Number(number), Number(change.at_ms)].into_iter().chain(texts).collect();
            statements.execute(sql, &values).map(drop)
        });
        done?;
        outcome
    }
}

fn text(text: &str) -> Parameter {
    Text(text.to_owned())
}

fn latest(statements: &mut dyn Statements) -> Result<i64, StoreError> {
    let rows = statements.query("SELECT coalesce(max(number), 0) FROM audit", &[])?;
    Ok(rows.first().and_then(|row| row.first()).and_then(Parameter::number).unwrap_or_default())
}

fn add_secret(
    statements: &mut dyn Statements,
    key: &str,
    secret: &SecretRecord,
    change: Change<'_>,
) -> Result<(), KeyError> {
    let sql = "INSERT INTO key_secrets (sha256, key_id, created_at_ms, expires_at_ms) VALUES ($1, $2, $3, $4)";
    let values = [text(&secret.sha256), text(key), Number(change.at_ms), secret.expires_at_ms.into()];
    statements.execute(sql, &values)?;
    Ok(())
}

fn must_change(
    statements: &mut dyn Statements,
    sql: &str,
    values: &[Parameter],
    what: &str,
    name: &str,
) -> Result<(), KeyError> {
    match statements.execute(sql, values)? {
        0 => Err(KeyError::Unknown(format!("{what} {name:?}"))),
        _ => Ok(()),
    }
}

fn read(statements: &mut dyn Statements) -> Result<Directory, StoreError> {
    let revision = latest(statements)?;
    let sql = "SELECT id, team, terms, created_at_ms, expires_at_ms, disabled_at_ms FROM keys ORDER BY id";
    let mut keys: Vec<_> = statements.query(sql, &[])?.iter().filter_map(|row| key_record(row)).collect();
    let sql = "SELECT key_id, sha256, expires_at_ms FROM key_secrets ORDER BY created_at_ms, sha256";
    for row in statements.query(sql, &[])? {
        let [Text(id), Text(sha256), expires] = &row[..] else { continue };
        if let Some(key) = keys.iter_mut().find(|key| key.id == *id) {
            key.secrets.push(SecretRecord { sha256: sha256.clone(), expires_at_ms: expires.number() });
        }
    }
    let rows = statements.query("SELECT id, terms FROM teams ORDER BY id", &[])?;
    let team = |row: Vec<Parameter>| match &row[..] {
        [Text(id), Text(terms)] => Some(TeamRecord { id: id.clone(), terms: terms.clone() }),
        _ => None,
    };
    Ok(Directory { revision, keys, teams: rows.into_iter().filter_map(team).collect() })
}

fn key_record(row: &[Parameter]) -> Option<KeyRecord> {
    let [Text(id), Text(team), Text(terms), Number(created_at_ms), expires, disabled] = row else { return None };
    Some(KeyRecord {
        id: id.clone(),
        team: team.clone(),
        terms: terms.clone(),
        created_at_ms: *created_at_ms,
        expires_at_ms: expires.number(),
        disabled_at_ms: disabled.number(),
        secrets: Vec::new(),
    })
}

fn audit_record(row: &[Parameter]) -> Option<AuditRecord> {
    let [Number(number), Number(at_ms), Text(actor), Text(action), Text(subject), Text(detail)] = row else {
        return None;
    };
    let [actor, action, subject, detail] = [actor, action, subject, detail].map(Clone::clone);
    Some(AuditRecord { number: *number, at_ms: *at_ms, actor, action, subject, detail })
}
