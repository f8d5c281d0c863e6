//! What operators do with keys and teams, by the admin API or the command line.

use ledger::{Change, KeyError, KeyRecord, Keys, Location, SecretRecord, StoreError};
use settings::Problems;
use sha2::{Digest as _, Sha256};

use crate::clock;

/// Before a secret, so that scanners of repositories find it.
const PREFIX: &str = "sk-lr-";
/// The longest name, as in the configuration file.
const MAX_NAME: usize = 64;

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
    /// As the audit table names it.
    actor: &'a str,
    now_ms: i64,
}

impl<'a> Actions<'a> {
    pub(crate) fn new(location: &'a Location, actor: &'a str) -> Self {
        Self { location, actor, now_ms: clock::now_ms() }
    }

    /// Makes a key. Returns its secret, which is shown this once.
    pub(crate) fn create(&self, key: NewKey) -> Result<String, ActionError> {
        check_name(&key.id)?;
        check_name(&key.team)?;
        settings::key_terms(&key.terms).map_err(ActionError::Terms)?;
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

    /// Gives a key another secret, which is returned and shown this once. The old one is let in for so long.
    pub(crate) fn rotate(&self, id: &str, overlap_ms: i64) -> Result<String, ActionError> {
        let (secret, sha256) = new_secret()?;
        let record = SecretRecord { sha256, expires_at_ms: None };
        self.keys()?.rotate(id, &record, self.now_ms.saturating_add(overlap_ms), self.change())?;
        Ok(secret)
    }

    pub(crate) fn set_disabled(&self, id: &str, is_disabled: bool) -> Result<(), ActionError> {
        Ok(self.keys()?.set_disabled(id, is_disabled, self.change())?)
    }

    pub(crate) fn set_terms(&self, id: &str, terms: &str) -> Result<(), ActionError> {
        settings::key_terms(terms).map_err(ActionError::Terms)?;
        Ok(self.keys()?.set_terms(id, terms, self.change())?)
    }

    pub(crate) fn set_team(&self, id: &str, terms: &str) -> Result<(), ActionError> {
        check_name(id)?;
        settings::team_terms(terms).map_err(ActionError::Terms)?;
        Ok(self.keys()?.set_team(id, terms, self.change())?)
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
