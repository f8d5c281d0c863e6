//! Keys and teams in the ledger's database: a thread looks twice a second whether they have changed, so that a key that is
//! disabled stops within a second on every replica.

pub(crate) mod actions;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::Builder,
    time::Duration,
};

use ledger::{Directory, KeyRecord, Keys, Location, StoreError, TeamRecord};
use parking_lot::Mutex;
use settings::{StoredKey, TeamTerms};

use crate::{app::App, clock};

/// A key that is disabled is to be refused within a second.
const POLL: Duration = Duration::from_millis(400);
/// How long a start waits for the first answer.
const LONGEST_START: Duration = Duration::from_secs(5);
/// How long a change waits until it is in force here.
const LONGEST_REFRESH: Duration = Duration::from_secs(2);

/// The keys that may be used now, and the teams that have terms.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stored {
    pub(crate) keys: Vec<StoredKey>,
    pub(crate) teams: Vec<(String, TeamTerms)>,
    /// When that changes by itself, because something expires, in milliseconds since 1970.
    until_ms: Option<i64>,
}

impl Stored {
    /// What of a directory is in force at this moment. What cannot be read is left out, and logged.
    fn new(directory: &Directory, now_ms: i64) -> Self {
        let mut stored = Self::default();
        for key in &directory.keys {
            stored.add(key, now_ms);
        }
        for team in &directory.teams {
            stored.add_team(team);
        }
        stored
    }

    fn add(&mut self, key: &KeyRecord, now_ms: i64) {
        if key.disabled_at_ms.is_some() || !self.is_valid(key.expires_at_ms, now_ms) {
            return;
        }
        let terms = match settings::key_terms(&key.terms) {
            Ok(terms) => terms,
            Err(problems) => {
                return tracing::error!(key = key.id, %problems, "a key in the database cannot be read: it is refused");
            }
        };
        for secret in &key.secrets {
            let mut sha256 = [0; 32];
            if self.is_valid(secret.expires_at_ms, now_ms) && hex::decode_to_slice(&secret.sha256, &mut sha256).is_ok()
            {
                let (id, team) = (key.id.clone(), key.team.clone());
                self.keys.push(StoredKey { id, team, sha256, terms: terms.clone() });
            }
        }
    }

    /// The limits of a team. If they cannot be read, its keys are refused: they would be without any.
    fn add_team(&mut self, team: &TeamRecord) {
        match settings::team_terms(&team.terms) {
            Ok(terms) => self.teams.push((team.id.clone(), terms)),
            Err(problems) => {
                tracing::error!(team = team.id, %problems, "the limits of a team in the database cannot be read: its keys there are refused");
                self.keys.retain(|key| key.team != team.id);
            }
        }
    }

    /// Whether something is in force that may expire; remembers when it does.
    fn is_valid(&mut self, expires_at_ms: Option<i64>, now_ms: i64) -> bool {
        let Some(expires_at_ms) = expires_at_ms else { return true };
        if expires_at_ms <= now_ms {
            return false;
        }
        self.until_ms = Some(self.until_ms.map_or(expires_at_ms, |until_ms| until_ms.min(expires_at_ms)));
        true
    }
}

/// Follows the keys in the database, in a thread of its own.
pub(crate) struct Follower {
    location: Location,
    /// Whether they were read at least once.
    is_known: Arc<AtomicBool>,
    /// Ends the thread when it is dropped.
    asks: Mutex<Option<Sender<Asked>>>,
}

/// Somebody waits until the thread has looked once more.
type Asked = Sender<()>;

/// What the thread knows.
struct Seen {
    location: Location,
    connection: Option<Keys>,
    directory: Option<Directory>,
    until_ms: Option<i64>,
}

impl Follower {
    pub(crate) fn new(location: Location) -> Self {
        Self { location, is_known: Arc::default(), asks: Mutex::new(None) }
    }

    /// Where the keys are.
    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    /// Whether they were read since the start: before that, a key that is not in the file may still be one.
    pub(crate) fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Acquire)
    }

    /// Begins the thread, and waits for its first answer.
    pub(crate) fn start(&self, app: &Arc<App>) -> std::io::Result<()> {
        let (asks, asked) = channel::<Asked>();
        let (first, answered) = channel();
        let mut seen = Seen { location: self.location.clone(), connection: None, directory: None, until_ms: None };
        let (app, is_known) = (Arc::downgrade(app), self.is_known.clone());
        Builder::new().name("keys".into()).spawn(move || {
            let mut has_failed = false;
            let mut waiting = Some(first);
            loop {
                let Some(app) = app.upgrade() else { return };
                match seen.look(&app) {
                    Ok(()) => {
                        is_known.store(true, Ordering::Release);
                        if has_failed {
                            tracing::info!("the keys in the database can be read again");
                        }
                        has_failed = false;
                    }
                    Err(error) => {
                        if !has_failed {
                            tracing::error!(%error, "the keys in the database cannot be read: those that are known stay in force");
                        }
                        has_failed = true;
                        seen.connection = None;
                    }
                }
                drop(app);
                if let Some(waiting) = waiting.take() {
                    // Whoever waited may have gone.
                    waiting.send(()).unwrap_or_default();
                }
                waiting = match asked.recv_timeout(POLL) {
                    Ok(asked) => Some(asked),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return,
                };
            }
        })?;
        *self.asks.lock() = Some(asks);
        // Without an answer in time the router starts with the keys of its file.
        answered.recv_timeout(LONGEST_START).unwrap_or_default();
        Ok(())
    }

    /// Has the thread look at once, and waits for that, so that a change is in force on this replica when its maker is answered.
    /// Blocks.
    pub(crate) fn refresh(&self) {
        let (looked, has_looked) = channel();
        let is_asked = self.asks.lock().as_ref().is_some_and(|asks| asks.send(looked).is_ok());
        if is_asked {
            // If the database is slow, it is in force a little later.
            has_looked.recv_timeout(LONGEST_REFRESH).unwrap_or_default();
        }
    }

    /// Ends the thread soon. Nobody waits for it, because a database that hangs must not hold up a stop.
    pub(crate) fn stop(&self) {
        self.asks.lock().take();
    }
}

impl Seen {
    /// Puts in force what has changed. What expires does so also while the database is away.
    fn look(&mut self, app: &App) -> Result<(), StoreError> {
        let asked = self.ask();
        let now_ms = clock::now_ms();
        let is_due = self.until_ms.is_some_and(|until_ms| now_ms >= until_ms);
        if let Some(directory) = self.directory.as_ref().filter(|_| is_due || matches!(asked, Ok(true))) {
            let stored = Stored::new(directory, now_ms);
            self.until_ms = stored.until_ms;
            let (revision, secrets, teams) = (directory.revision, stored.keys.len(), stored.teams.len());
            tracing::info!(revision, secrets, teams, "keys of the database are in force");
            app.set_stored(stored);
        }
        asked.map(drop)
    }

    /// Looks into the database. Returns whether something was changed.
    fn ask(&mut self) -> Result<bool, StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Keys::open(&self.location)?,
        };
        let revision = connection.revision()?;
        let is_changed = self.directory.as_ref().is_none_or(|directory| directory.revision != revision);
        if is_changed {
            self.directory = Some(connection.directory()?);
        }
        self.connection = Some(connection);
        Ok(is_changed)
    }
}

#[cfg(test)]
mod tests {
    use ledger::SecretRecord;

    use super::*;

    fn key(id: &str, expires_at_ms: Option<i64>, secrets: &[Option<i64>]) -> KeyRecord {
        let secret = |(nth, expires_at_ms): (usize, &Option<i64>)| SecretRecord {
            sha256: format!("{nth:064x}"),
            expires_at_ms: *expires_at_ms,
        };
        KeyRecord {
            id: id.to_owned(),
            team: "t".to_owned(),
            terms: "{}".to_owned(),
            created_at_ms: 0,
            expires_at_ms,
            disabled_at_ms: None,
            secrets: secrets.iter().enumerate().map(secret).collect(),
        }
    }

    #[test]
    fn what_is_disabled_expired_or_unreadable_is_not_in_force() {
        let directory = Directory {
            revision: 7,
            keys: vec![
                key("rotated", None, &[Some(500), Some(1_500), None]),
                key("expired", Some(1_000), &[None]),
                key("expires", Some(1_200), &[None]),
                KeyRecord { disabled_at_ms: Some(1), ..key("disabled", None, &[None]) },
                KeyRecord { terms: "{\"limit\": 3}".to_owned(), ..key("odd", None, &[None]) },
            ],
            teams: vec![TeamRecord { id: "t".to_owned(), terms: "{}".to_owned() }],
        };
        let odd = TeamRecord { id: "t".to_owned(), terms: "{\"direct\": 1}".to_owned() };
        let unlimited = Stored::new(&Directory { teams: vec![odd], ..directory.clone() }, 1_000);
        assert_eq!(unlimited.keys.len(), 0, "no key without the limits of its team");
        let at = |now_ms| {
            let stored = Stored::new(&directory, now_ms);
            let ids: Vec<_> = stored.keys.iter().map(|key| key.id.clone()).collect();
            (ids, stored.until_ms)
        };
        assert_eq!(at(1_000), (["rotated", "rotated", "expires"].map(str::to_owned).to_vec(), Some(1_200)));
        assert_eq!(at(1_200), (["rotated", "rotated"].map(str::to_owned).to_vec(), Some(1_500)));
        assert_eq!(at(1_500), (vec!["rotated".to_owned()], None));
    }
}
