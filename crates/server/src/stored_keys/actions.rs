//! What operators do with keys and teams, by the admin API or the command line.

use ledger::{Change, KeyError, KeyRecord, Keys, Location, SecretRecord, StoreError};
use settings::{Budget, Config, Problems, TagError};
use sha2::{Digest as _, Sha256};

use crate::clock;

/// Before a secret, so that scanners of repositories find it.
const PREFIX: &str = "sk-lr-";
/// The longest name, as in the configuration file.
const MAX_NAME: usize = 64;
/// The longest that an old secret is let in beside the new one: thirty days.
const LONGEST_OVERLAP_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// A key that is to be made.
#[derive(Debug, Clone)]
pub(crate) struct NewKey {
    pub(crate) id: String,
    pub(crate) team: String,
    /// What it may use, as JSON.
    pub(crate) terms: String,
    /// From when on it is refused, in milliseconds since 1970.
    pub(crate) expires_at_ms: Option<i64>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActionError {
    /// A name that would be odd in logs and metrics.
    #[error("{0:?} is no name: 1 to 64 letters, digits, dots, dashes and underscores")]
    Name(String),
    /// Something is wrong with what the key may use.
    #[error("{0}")]
    Terms(Problems),
    /// A budget could not count what calls to an upstream cost.
    #[error(
        "a budget needs the price of every upstream, and {0:?} has none for some of its calls: give it cost (list_usd_per_million beside gpu_seconds; audio_seconds or requests for transcriptions)"
    )]
    Unpriced(String),
    /// The file has one of that name, which holds.
    #[error("the configuration file has a {0}, which holds: change it there")]
    InFile(String),
    /// A key for something that there is not.
    #[error("{0:?} is no name to ask for: a model, alias, task/… or ensemble/… of the configuration")]
    Unknown(String),
    /// A tag that requests may not have.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// Two secrets for longer than anybody needs to change over.
    #[error("an old secret may be let in for 720 hours at most")]
    Overlap,
    /// It would expire at once.
    #[error("it would expire in the past")]
    Expired,
    /// The operating system has no random numbers.
    #[error("no random numbers: {0}")]
    Chance(String),
    /// The database has one already, or none, or failed.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

impl From<StoreError> for ActionError {
    fn from(error: StoreError) -> Self {
        Self::Keys(error.into())
    }
}

/// Who acts, and where. Blocks: not for a thread that relays.
pub(crate) struct Actions<'a> {
    location: &'a Location,
    /// The configuration of the file.
    config: &'a Config,
    /// As the audit table names it.
    actor: &'a str,
    now_ms: i64,
}

impl<'a> Actions<'a> {
    pub(crate) fn new(location: &'a Location, config: &'a Config, actor: &'a str) -> Self {
        Self { location, config, actor, now_ms: clock::now_ms() }
    }

    /// Makes a key. Returns its secret, which is shown this once.
    pub(crate) fn create(&self, key: NewKey) -> Result<String, ActionError> {
        check_name(&key.id)?;
        check_name(&key.team)?;
        self.check_key(&key.terms)?;
        self.check_not_in_file(&key.id)?;
        if key.expires_at_ms.is_some_and(|expires_at_ms| expires_at_ms <= self.now_ms) {
            return Err(ActionError::Expired);
        }
        let (secret, sha256) = new_secret()?;
        let record = KeyRecord {
            id: key.id,
            team: key.team,
            terms: key.terms,
            created_at_ms: self.now_ms,
            expires_at_ms: key.expires_at_ms,
            disabled_at_ms: None,
            secrets: vec![SecretRecord { sha256, expires_at_ms: None }],
        };
        self.keys()?.create(&record, self.change())?;
        Ok(secret)
    }

    /// Whether a team has limits or budgets, or more than one key: a name that was misspelt has neither.
    pub(crate) fn knows_team(&self, id: &str) -> Result<bool, ActionError> {
        let directory = self.keys()?.directory()?;
        let is_named = self.config.teams.iter().any(|team| team.id == id)
            || self.config.keys.iter().any(|key| key.team == id)
            || directory.teams.iter().any(|team| team.id == id);
        Ok(is_named || directory.keys.iter().filter(|key| key.team == id).count() > 1)
    }

    /// Gives a key another secret, which is returned and shown this once. The old one is let in for so long.
    pub(crate) fn rotate(&self, id: &str, overlap_ms: i64) -> Result<String, ActionError> {
        self.check_not_in_file(id)?;
        if overlap_ms > LONGEST_OVERLAP_MS {
            return Err(ActionError::Overlap);
        }
        let (secret, sha256) = new_secret()?;
        let record = SecretRecord { sha256, expires_at_ms: None };
        self.keys()?.rotate(id, &record, self.now_ms.saturating_add(overlap_ms), self.change())?;
        Ok(secret)
    }

    pub(crate) fn set_disabled(&self, id: &str, is_disabled: bool) -> Result<(), ActionError> {
        self.check_not_in_file(id)?;
        Ok(self.keys()?.set_disabled(id, is_disabled, self.change())?)
    }

    pub(crate) fn set_terms(&self, id: &str, terms: &str) -> Result<(), ActionError> {
        self.check_not_in_file(id)?;
        self.check_key(terms)?;
        Ok(self.keys()?.set_terms(id, terms, self.change())?)
    }

    pub(crate) fn set_team(&self, id: &str, terms: &str) -> Result<(), ActionError> {
        check_name(id)?;
        if self.config.teams.iter().any(|team| team.id == id) {
            return Err(ActionError::InFile(format!("team {id:?}")));
        }
        let terms_read = settings::team_terms(terms).map_err(ActionError::Terms)?;
        self.check_budgets(&terms_read.budgets)?;
        Ok(self.keys()?.set_team(id, terms, self.change())?)
    }

    fn check_key(&self, terms: &str) -> Result<(), ActionError> {
        let terms = settings::key_terms(terms).map_err(ActionError::Terms)?;
        let names = self.config.names();
        if let Some(unknown) = terms.models.iter().flatten().find(|name| !names.contains(name)) {
            return Err(ActionError::Unknown(unknown.clone()));
        }
        for (name, value) in terms.tags.iter() {
            self.config.tags.check(name, value)?;
        }
        self.check_budgets(&terms.budgets)
    }

    fn check_not_in_file(&self, id: &str) -> Result<(), ActionError> {
        let is_in_file = self.config.keys.iter().any(|key| key.id == id);
        if is_in_file { Err(ActionError::InFile(format!("key {id:?}"))) } else { Ok(()) }
    }

    /// A call without a price would be spent without an end.
    fn check_budgets(&self, budgets: &[Budget]) -> Result<(), ActionError> {
        match self.config.unpriced().next() {
            Some(upstream) if !budgets.is_empty() => Err(ActionError::Unpriced(upstream.to_string())),
            Some(_) | None => Ok(()),
        }
    }

    /// The keys themselves, for questions.
    pub(crate) fn keys(&self) -> Result<Keys, StoreError> {
        Keys::open(self.location)
    }

    fn change(&self) -> Change<'_> {
        Change { actor: self.actor, at_ms: self.now_ms }
    }
}

/// As the configuration file has it.
fn check_name(name: &str) -> Result<(), ActionError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_name = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_plain);
    if is_name { Ok(()) } else { Err(ActionError::Name(name.to_owned())) }
}

/// 256 random bits, and their SHA-256 in hexadecimal digits.
fn new_secret() -> Result<(String, String), ActionError> {
    let mut bits = [0_u8; 32];
    getrandom::fill(&mut bits).map_err(|error| ActionError::Chance(error.to_string()))?;
    let secret = format!("{PREFIX}{}", hex::encode(bits));
    let sha256 = hex::encode(Sha256::digest(&secret));
    Ok((secret, sha256))
}
