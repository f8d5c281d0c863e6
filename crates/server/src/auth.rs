//! Client keys: known by their SHA-256, looked up by it, compared in constant time.

use std::{collections::HashMap, sync::Arc};

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use provider::MemoryBudget;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    config::{AuthMode, Config, Key},
    error::ApiError,
    limits::KeyLimiter,
};

/// A client key at work.
pub(crate) struct ClientKey {
    pub(crate) id: Option<Arc<str>>,
    pub(crate) team: Option<Arc<str>>,
    /// What it is known by; `None` where no key is asked for.
    digest: Option<[u8; 32]>,
    /// Whether it may name the upstream that is to serve.
    pub(crate) may_choose_upstream: bool,
    pub(crate) limiter: Arc<KeyLimiter>,
    /// What its bodies and answers are counted in.
    pub(crate) memory: MemoryBudget,
}

/// The part of the memory budget that the requests of one key may take: one in so many.
const MEMORY_PARTS: usize = 4;

/// The keys in force.
pub(crate) struct Keyring {
    keys: HashMap<[u8; 32], Arc<ClientKey>>,
    /// Who everyone is where no key is asked for.
    anyone: Option<Arc<ClientKey>>,
}

impl Keyring {
    /// The keys of `config`. A key that `old` knew with the same limits keeps its counts.
    pub(crate) fn new(config: &Config, memory: &MemoryBudget, old: Option<&Self>) -> Self {
        let anyone = match config.auth {
            AuthMode::Keys => None,
            AuthMode::None => Some(Arc::new(ClientKey {
                id: None,
                team: None,
                digest: None,
                may_choose_upstream: true,
                limiter: Arc::default(),
                memory: memory.clone(),
            })),
        };
        let keys = config.keys.iter().map(|key| (key.sha256, Arc::new(client_key(key, memory, old)))).collect();
        Self { keys, anyone }
    }

    /// A key that was let in earlier as it is now; `None` if it is not in force any more.
    pub(crate) fn current(&self, key: &ClientKey) -> Option<Arc<ClientKey>> {
        match &key.digest {
            Some(digest) => self.keys.get(digest).filter(|now| now.id == key.id).cloned(),
            None => self.anyone.clone(),
        }
    }

    /// Whose request this is.
    pub(crate) fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<ClientKey>, ApiError> {
        if let Some(anyone) = &self.anyone {
            return Ok(anyone.clone());
        }
        let header = headers.get(AUTHORIZATION).ok_or_else(ApiError::no_key)?.as_bytes();
        let token = match header {
            [scheme @ .., _] if scheme.len() >= 7 && scheme[..7].eq_ignore_ascii_case(b"bearer ") => {
                header[7..].trim_ascii()
            }
            _ => return Err(ApiError::no_key()),
        };
        let digest: [u8; 32] = Sha256::digest(token).into();
        // The lookup's time depends on the digest only, which the caller cannot steer towards a stored one.
        let found = self.keys.get_key_value(&digest).filter(|(stored, _)| bool::from(stored.ct_eq(&digest)));
        found.map(|(_, key)| key.clone()).ok_or_else(ApiError::wrong_key)
    }
}

fn client_key(key: &Key, memory: &MemoryBudget, old: Option<&Keyring>) -> ClientKey {
    let before = old.and_then(|old| old.keys.values().find(|known| known.id.as_deref() == Some(&key.id)));
    let same = before.filter(|known| known.limiter.has_limits(key.limits)).map(|known| known.limiter.clone());
    ClientKey {
        id: Some(key.id.as_str().into()),
        team: Some(key.team.as_str().into()),
        digest: Some(key.sha256),
        may_choose_upstream: key.may_choose_upstream,
        memory: before.map_or_else(|| memory.part(MEMORY_PARTS), |known| known.memory.clone()),
        limiter: same.unwrap_or_else(|| Arc::new(KeyLimiter::new(key.limits))),
    }
}
