//! What a request has been through: which targets were asked, and which will not be asked again.

/// Most attempts on one upstream.
const MAX_ATTEMPTS_EACH: u32 = 3;

/// What a request has been through.
#[derive(Debug)]
pub(crate) struct History {
    targets: Vec<Past>,
    /// The prompt overflowed a context of that many tokens.
    overflowed: Option<u64>,
    charge: Option<Charge>,
    /// The target that the client named.
    named: Option<Named>,
}

/// A target that the client named, past the strategy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) target: usize,
    /// Whether others may serve when it fails.
    pub(crate) falls_back: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Past {
    attempts: u32,
    is_barred: bool,
}

/// Whom a request is charged to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Charge {
    /// The target that was to serve it first.
    pub(crate) first: usize,
    /// The target that was to serve it last, and pays for it.
    pub(crate) last: usize,
}

impl History {
    pub(crate) fn new(targets: usize, named: Option<Named>) -> Self {
        Self { targets: vec![Past::default(); targets], overflowed: None, charge: None, named }
    }

    /// The target that the client named.
    pub(crate) fn named(&self) -> Option<usize> {
        self.named.map(|named| named.target)
    }

    /// Whether a target may serve as far as the client's own choice goes.
    pub(crate) fn allows(&self, target: usize) -> bool {
        self.named.is_none_or(|named| named.falls_back || named.target == target)
    }

    /// How often a target was asked.
    pub(crate) fn attempts(&self, target: usize) -> u32 {
        self.targets[target].attempts
    }

    /// Whether a target was not asked yet.
    pub(crate) fn is_fresh(&self, target: usize) -> bool {
        self.attempts(target) == 0
    }

    /// Whether a target will not be asked again.
    pub(crate) fn is_barred(&self, target: usize) -> bool {
        self.targets[target].is_barred
    }

    /// The context that the prompt is known to overflow.
    pub(crate) fn overflow(&self) -> Option<u64> {
        self.overflowed
    }

    pub(crate) fn charge(&self) -> Option<Charge> {
        self.charge
    }

    /// A target is asked.
    pub(crate) fn attempted(&mut self, target: usize) {
        let past = &mut self.targets[target];
        past.attempts += 1;
        past.is_barred |= past.attempts >= MAX_ATTEMPTS_EACH;
    }

    /// A target is charged for the request.
    pub(crate) fn charged(&mut self, target: usize) {
        let first = self.charge.map_or(target, |charge| charge.first);
        self.charge = Some(Charge { first, last: target });
    }

    pub(crate) fn bar(&mut self, target: usize) {
        self.targets[target].is_barred = true;
    }

    pub(crate) fn overflowed(&mut self, context_tokens: Option<u64>) {
        self.overflowed = self.overflowed.max(context_tokens);
    }
}
