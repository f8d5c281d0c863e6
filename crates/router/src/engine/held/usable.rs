//! Which upstreams a request that is held could be served by at all.

/// Which of the targets of its model could ever serve a request, free or not: a bit for each of the first 64 that could not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Usable(u64);

impl Usable {
    /// Of so many targets those of which `is_usable` says so.
    pub(crate) fn new(targets: usize, is_usable: impl Fn(usize) -> bool) -> Self {
        let bits = (0..targets).filter(|target| !is_usable(*target)).filter_map(Self::bit);
        Self(bits.fold(0, |all, bit| all | bit))
    }

    /// Whether a target is among them; of those beyond the first 64 that is not known.
    pub(super) fn contains(self, target: usize) -> bool {
        Self::bit(target).is_none_or(|bit| self.0 & bit == 0)
    }

    /// Whether every target of `other` is among them.
    pub(super) fn covers(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether nothing is known against any of them.
    pub(super) fn has_all(self) -> bool {
        self.0 == 0
    }

    fn bit(target: usize) -> Option<u64> {
        1_u64.checked_shl(u32::try_from(target).ok()?)
    }
}
