//! Limits that all replicas count together.

use std::{sync::Arc, time::Duration};

/// So much a minute, and so much of it at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Calls, or tokens, a minute.
    pub per_minute: u32,
    /// Those that may be used at once.
    pub burst: u32,
}

/// The limits of a key, a team or a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Calls a minute.
    pub calls: Option<Rate>,
    /// Tokens a minute.
    pub tokens: Option<Rate>,
    /// Calls at a time.
    pub concurrent: Option<u32>,
}

/// What a request needs of one owner's limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// Whose limits they are, such as `key:web`.
    pub owner: Arc<str>,
    /// Which ones.
    pub limits: Limits,
    /// Calls that are counted.
    pub calls: u32,
    /// Calls that are under way from now on, until their end is told.
    pub begins: u32,
    /// Tokens that are reserved.
    pub tokens: u64,
}

/// Which limit has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// Calls a minute.
    Calls,
    /// Tokens a minute.
    Tokens,
    /// Calls at a time.
    Concurrency,
}

/// How far an owner's limits are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Time until the whole burst of calls is there.
    pub missing: Duration,
    /// Whole tokens that are left. More may be used than are there, so it may be below zero.
    pub tokens: i64,
    /// Time until one is there.
    pub token_wait: Duration,
    /// Calls under way, on all replicas.
    pub under_way: u32,
}

/// What became of a request's demands. States are in the order of the demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All of them are counted.
    Granted(Vec<State>),
    /// None of them is: one has no room.
    Refused {
        /// Its number in the order of the demands.
        demand: usize,
        /// Which limit it is.
        reached: Reached,
        /// How far all of them are used.
        states: Vec<State>,
    },
    /// The server did not answer in time: whoever asks decides by itself.
    Away,
}

impl Limits {
    /// As the script has them; 0 is no limit.
    pub(crate) fn numbers(&self) -> [u32; 5] {
        let [calls, tokens] =
            [self.calls, self.tokens].map(|rate| rate.map_or([0, 0], |rate| [rate.per_minute, rate.burst]));
        [calls[0], calls[1], tokens[0], tokens[1], self.concurrent.unwrap_or(0)]
    }
}

impl Verdict {
    /// From what the script returns; `None` if that is something else.
    pub(crate) fn read(reply: &[i64]) -> Option<Self> {
        let [verdict, refusing, states @ ..] = reply else { return None };
        let micros = |number: i64| Duration::from_micros(u64::try_from(number).unwrap_or(0));
        let state = |numbers: &[i64]| State {
            missing: micros(numbers[0]),
            tokens: numbers[1],
            token_wait: micros(numbers[2]),
            under_way: u32::try_from(numbers[3]).unwrap_or(u32::MAX),
        };
        let states: Vec<State> = states.chunks_exact(4).map(state).collect();
        let reached = match verdict {
            0 => return Some(Self::Granted(states)),
            1 => Reached::Calls,
            2 => Reached::Tokens,
            3 => Reached::Concurrency,
            _ => return None,
        };
        let demand = usize::try_from(*refusing).ok()?.checked_sub(1)?;
        (demand < states.len()).then_some(Self::Refused { demand, reached, states })
    }
}
