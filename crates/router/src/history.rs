//! The history of a request: which targets have had a call of it, and which will get no more.

use provider::Adjustment;
use smallvec::SmallVec;

use crate::{
    facts::Named,
    share::{Earned, FEW},
};

/// Most attempts on one upstream.
const MAX_ATTEMPTS_EACH: u32 = 3;

/// The history of a request.
#[derive(Debug)]
pub(crate) struct History {
    targets: SmallVec<[Past; FEW]>,
    /// What is changed of the request in further calls to a target, because it has refused it as it was.
    adjusted: Vec<(usize, Adjustment)>,
    /// Attempts at all targets.
    attempts: u32,
    /// The prompt overflowed a context of that many tokens.
    overflowed: Option<u64>,
    debit: Option<Debit>,
    /// The target that the client named.
    named: Option<Named>,
    /// Whether no other target is asked after the first one.
    no_fallback: bool,
    /// The target that was asked first, if it is to be the only one.
    only: Option<usize>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Past {
    attempts: u8,
    is_ruled_out: bool,
    /// It was called again on a fresh connection.
    is_reconnected: bool,
}

/// Who is debited for a request.
#[derive(Debug, Clone)]
pub(crate) struct Debit {
    /// The target that was to serve it first.
    pub(crate) first: usize,
    /// The target that was to serve it last, and is debited for it.
    pub(crate) last: usize,
    /// What the targets earned with it.
    pub(crate) earned: Earned,
    /// Whether no target was left out because it is too dear for the client, or does not serve such calls.
    pub(crate) is_among_all: bool,
}

impl History {
    pub(crate) fn new(targets: usize, named: Option<Named>, no_fallback: bool) -> Self {
        let targets = SmallVec::from_elem(Past::default(), targets);
        Self {
            targets,
            adjusted: Vec::new(),
            attempts: 0,
            overflowed: None,
            debit: None,
            named,
            no_fallback,
            only: None,
        }
    }

    /// The target that the client named.
    pub(crate) fn named(&self) -> Option<usize> {
        self.named.map(|named| named.target)
    }

    /// Whether a target may serve as far as the client's own choice goes.
    pub(crate) fn allows(&self, target: usize) -> bool {
        self.named.is_none_or(|named| named.falls_back || named.target == target)
            && self.only.is_none_or(|only| only == target)
    }

    /// How many attempts were made.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How often a target was asked.
    pub(crate) fn attempts_at(&self, target: usize) -> u32 {
        self.targets[target].attempts.into()
    }

    /// Whether a target was not asked yet.
    pub(crate) fn is_fresh(&self, target: usize) -> bool {
        self.attempts_at(target) == 0
    }

    /// Whether no further call of the request goes to a target: it refused it for good, or has had the most attempts
    /// allowed.
    pub(crate) fn is_ruled_out(&self, target: usize) -> bool {
        self.targets[target].is_ruled_out
    }

    /// The context that the prompt is known to overflow.
    pub(crate) fn overflow(&self) -> Option<u64> {
        self.overflowed
    }

    pub(crate) fn debit(&self) -> Option<&Debit> {
        self.debit.as_ref()
    }

    /// A target is asked.
    pub(crate) fn attempted(&mut self, target: usize) {
        self.attempts += 1;
        if self.no_fallback {
            self.only.get_or_insert(target);
        }
        let past = &mut self.targets[target];
        past.attempts = past.attempts.saturating_add(1);
        past.is_ruled_out |= u32::from(past.attempts) >= MAX_ATTEMPTS_EACH;
    }

    /// A target is debited for the request for the first time, with which the targets earned so much; `is_among_all`: none was left
    /// out because it is too dear for the client, or does not serve such calls.
    pub(crate) fn debited(&mut self, target: usize, earned: Earned, is_among_all: bool) {
        self.debit = Some(Debit { first: target, last: target, earned, is_among_all });
    }

    /// The debit moves to another target.
    pub(crate) fn debit_moved(&mut self, target: usize) {
        if let Some(debit) = &mut self.debit {
            debit.last = target;
        }
    }

    /// Whether any target could still be asked for the first time.
    pub(crate) fn has_fresh(&self) -> bool {
        (0..self.targets.len()).any(|target| self.is_fresh(target) && self.allows(target))
    }

    /// Whether a target may be called again at once with this adjustment: once for each kind.
    pub(crate) fn adjust(&mut self, target: usize, adjustment: &Adjustment) -> bool {
        let past = &mut self.targets[target];
        if past.is_ruled_out {
            return false;
        }
        match adjustment {
            Adjustment::FreshConnection => !std::mem::replace(&mut past.is_reconnected, true),
            Adjustment::Without(_) | Adjustment::Limit(_) | Adjustment::Fit(_) => {
                let is_first = self.adjusted(target).is_none();
                if is_first {
                    self.adjusted.push((target, adjustment.clone()));
                }
                is_first
            }
        }
    }

    /// What to change of the request in every further call to a target, because it has refused it as it was.
    pub(crate) fn adjusted(&self, target: usize) -> Option<&Adjustment> {
        self.adjusted.iter().find(|(of, _)| *of == target).map(|(_, adjustment)| adjustment)
    }

    pub(crate) fn rule_out(&mut self, target: usize) {
        self.targets[target].is_ruled_out = true;
    }

    pub(crate) fn overflowed(&mut self, context_tokens: Option<u64>) {
        self.overflowed = self.overflowed.max(context_tokens);
    }
}
