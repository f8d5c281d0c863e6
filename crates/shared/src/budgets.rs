//! What each replica may spend of a budget.

use std::sync::Arc;

/// What a replica reports of one window of a budget, and asks for. Amounts are in nano-dollars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Identifies the budget in this process.
    pub id: u64,
    /// Names the window of the budget for all replicas.
    pub name: Arc<str>,
    /// The number of this report, which grows with each that says something new.
    pub number: u64,
    /// What was spent since the report before.
    pub spent: u64,
    /// What the replica keeps of what it holds, beside what it has spent.
    pub keeps: u64,
    /// What it would like to hold beyond that.
    pub more: u64,
    /// What it needs of that.
    pub needs: u64,
    /// The limit.
    pub limit: u64,
    /// What all have spent, as far as the ledger says; `None` while that is being asked.
    pub known: Option<u64>,
    /// When the window ends, in milliseconds since 1970.
    pub until_ms: i64,
}

/// How far a budget is used by all replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// What this replica holds of it: it may reserve and spend so much without asking again.
    pub held: u64,
    /// What is spent; `None` until one of the replicas knows, and then the report counts for nothing.
    pub spent: Option<u64>,
    /// What the other replicas hold.
    pub others: u64,
    /// Whether more is granted, where anything is left: not while nobody knows what is held or spent.
    pub grants: bool,
}

impl Held {
    /// One for each hold, from what the script returns.
    pub(crate) fn read(reply: &[i64]) -> Vec<Self> {
        let amount = |number: i64| u64::try_from(number).unwrap_or(0);
        let held = |numbers: &[i64]| Self {
            held: amount(numbers[0]),
            spent: u64::try_from(numbers[1]).ok(),
            others: amount(numbers[2]),
            grants: numbers[3] == 1,
        };
        reply.chunks_exact(4).map(held).collect()
    }
}
