//! Authentication: client keys, known by their SHA-256, looked up by it and compared in constant time, and the
//! operators' token. Every failure is counted and logged; an address that sends many gets a 429 instead of a 401.

mod failures;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use actix_web::{
    HttpRequest,
    http::header::{AUTHORIZATION, HeaderMap, HeaderName},
};
use provider::MemoryBudget;
use secrecy::ExposeSecret;
use settings::{AuthMode, Config, Key, TagSet, WishSet};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use failures::Denied;
pub(crate) use failures::{Credential, Failures, RecordedFailure};

use crate::{
    app::{App, Live},
    error::ApiError,
    limits::{Limiter, Limiters},
    permits::PermitPool,
};

/// A client key with the state of its limits.
pub(crate) struct ClientKey {
    pub(crate) id: Option<Arc<str>>,
    pub(crate) team: Option<Arc<str>>,
    /// Whether it may name the upstream that is to serve.
    pub(crate) may_choose_upstream: bool,
    /// What counts its requests, whatever they ask for.
    pub(crate) limiters: Vec<Arc<Limiter>>,
    /// The memory budget of its bodies and answers.
    pub(crate) memory: MemoryBudget,
    /// Its batches whose answer is not complete.
    pub(crate) open_batches: Arc<PermitPool>,
    /// What its requests are tagged with where they say nothing else.
    pub(crate) tags: TagSet,
    /// What it may want for single requests.
    pub(crate) may_wish: WishSet,
    /// What it may ask for by name; `None` is everything.
    models: Option<HashSet<String>>,
    /// `None` while `auth.mode` is `none`.
    sha256: Option<[u8; 32]>,
}

impl ClientKey {
    /// The key of every request while `auth.mode` is `none`.
    fn anonymous(memory: &MemoryBudget, most_batches: usize) -> Self {
        Self {
            id: None,
            team: None,
            may_choose_upstream: true,
            limiters: Vec::new(),
            memory: memory.clone(),
            open_batches: PermitPool::new(most_batches),
            tags: TagSet::default(),
            may_wish: WishSet::ALL,
            models: None,
            sha256: None,
        }
    }

    fn new(key: &Key, limiters: &Limiters, memory: &MemoryBudget, most_batches: usize, old: Option<&Keyring>) -> Self {
        let part = (most_batches / PARTS).max(1);
        let before = old.and_then(|old| old.keys.values().find(|known| known.id.as_deref() == Some(&key.id)));
        Self {
            id: Some(key.id.as_str().into()),
            team: Some(key.team.as_str().into()),
            may_choose_upstream: key.may_choose_upstream,
            limiters: limiters.of_key(&key.id, &key.team),
            memory: before.map_or_else(|| memory.part(PARTS), |known| known.memory.clone()),
            open_batches: before.map_or_else(|| PermitPool::new(part), |known| known.open_batches.clone()),
            tags: key.tags.clone(),
            may_wish: key.may_wish,
            models: key.models.as_ref().map(|models| models.iter().cloned().collect()),
            sha256: Some(key.sha256),
        }
    }

    /// Whether it may ask for everything.
    pub(crate) fn may_use_all(&self) -> bool {
        self.models.is_none()
    }

    /// Whether it may ask for the model, task or ensemble of this name.
    pub(crate) fn may_use(&self, name: &str) -> bool {
        self.models.as_ref().is_none_or(|models| models.contains(name))
    }
}

/// The header that clients of Anthropic's API put their key into.
pub(crate) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The part of the memory budget and of the open batches that one key may have: one in so many.
const PARTS: usize = 4;

/// The keys in force.
pub(crate) struct Keyring {
    keys: HashMap<[u8; 32], Arc<ClientKey>>,
    /// The key of every request while `auth.mode` is `none`.
    anonymous: Option<Arc<ClientKey>>,
}

impl Keyring {
    /// The keys of `config`, counted by `limiters`. A key that `old` knew keeps its part of the memory and its batches.
    pub(crate) fn new(config: &Config, limiters: &Limiters, memory: &MemoryBudget, old: Option<&Self>) -> Self {
        let anonymous = match config.auth {
            AuthMode::Keys => None,
            AuthMode::None => Some(Arc::new(ClientKey::anonymous(memory, config.server.max_open_batches))),
        };
        let most_batches = config.server.max_open_batches;
        let key = |key: &Key| (key.sha256, Arc::new(ClientKey::new(key, limiters, memory, most_batches, old)));
        let keys: HashMap<_, _> = config.keys.iter().map(key).collect();
        for key in keys.values() {
            key.open_batches.resize((most_batches / PARTS).max(1));
        }
        Self { keys, anonymous }
    }

    /// A key that was let in earlier as it is now; `None` if it is not in force any more.
    pub(crate) fn current(&self, key: &ClientKey) -> Option<Arc<ClientKey>> {
        match &key.sha256 {
            Some(sha256) => self.keys.get(sha256).filter(|now| now.id == key.id).cloned(),
            None => self.anonymous.clone(),
        }
    }

    /// Whose request this is.
    fn find(&self, headers: &HeaderMap) -> Result<Arc<ClientKey>, Denied> {
        if let Some(anonymous) = &self.anonymous {
            return Ok(anonymous.clone());
        }
        let token = bearer(headers).or_else(|| api_key(headers)).ok_or(Denied::Missing)?;
        if token.len() > Key::MAX_BYTES {
            return Err(Denied::Wrong);
        }
        let digest: [u8; 32] = Sha256::digest(token).into();
        // The time of the lookup depends only on the digest of what was sent, and a caller cannot choose a digest.
        let found = self.keys.get_key_value(&digest).filter(|(stored, _)| bool::from(stored.ct_eq(&digest)));
        found.map(|(_, key)| key.clone()).ok_or(Denied::Wrong)
    }
}

/// What stands behind `Bearer` in the request's `Authorization`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then(|| token.trim_ascii())
}

/// What the header of Anthropic's API holds. A bearer's token wins over it: a client that is set up for both has a key of
/// Anthropic's own here.
fn api_key(headers: &HeaderMap) -> Option<&[u8]> {
    let key = headers.get(&API_KEY)?.as_bytes().trim_ascii();
    (!key.is_empty()).then_some(key)
}

/// Whose request this is. A key that is known is let in whatever others sent from the same address.
pub(crate) fn client(app: &App, live: &Live, request: &HttpRequest) -> Result<Arc<ClientKey>, ApiError> {
    live.keyring.find(request.headers()).map_err(|denied| {
        let may_be_stored = app.stored_keys.as_ref().is_some_and(|stored_keys| !stored_keys.is_known());
        if may_be_stored && denied == Denied::Wrong {
            return ApiError::keys_unknown();
        }
        let unknown = match denied {
            Denied::Missing => ApiError::no_key(),
            Denied::Wrong => ApiError::wrong_key(),
        };
        refuse(app, request, Credential::Key, denied).map_or(unknown, ApiError::too_many_wrong_keys)
    })
}

/// Lets operators in; compared in constant time.
pub(crate) fn operator(app: &App, request: &HttpRequest) -> Result<(), ApiError> {
    let live = app.live();
    let token = live.server.admin_token.as_ref().ok_or_else(ApiError::admin_is_off)?;
    let denied = match bearer(request.headers()) {
        Some(sent) if bool::from(sent.ct_eq(token.expose_secret().as_bytes())) => return Ok(()),
        Some(_) => Denied::Wrong,
        None => Denied::Missing,
    };
    let wait = refuse(app, request, Credential::AdminToken, denied);
    Err(wait.map_or_else(ApiError::no_admin_token, ApiError::too_many_wrong_keys))
}

/// Records that a request is refused. Returns how long its sender should wait, if that is one of many.
fn refuse(app: &App, request: &HttpRequest, credential: Credential, denied: Denied) -> Option<Duration> {
    let peer = request.peer_addr().map(|peer| peer.ip());
    let recorded = app.failures.record(denied, peer, Instant::now());
    let (credential, reason) = (credential.as_str(), recorded.reason());
    app.metrics.authentication_failed(credential, reason);
    if let Some(suppressed) = recorded.log {
        let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
        tracing::warn!(
            peer,
            credential,
            reason,
            suppressed,
            "a request was refused: its key or token is missing or unknown"
        );
    }
    recorded.wait
}

#[cfg(test)]
mod tests;
