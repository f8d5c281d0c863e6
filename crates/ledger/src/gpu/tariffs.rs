//! Which calls are billed by the second of a worker.

use std::collections::HashMap;

/// How upstreams bill, as far as a configuration says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tariffs {
    /// Of each upstream the versions of its prices in the order of their dates, and whether they are for seconds of workers.
    of_upstreams: HashMap<String, Vec<(String, bool)>>,
}

impl Tariffs {
    /// Of pairs of an upstream and the versions of its prices in the order of their dates, each with whether it is for seconds of
    /// workers.
    pub fn new(of_upstreams: impl IntoIterator<Item = (String, Vec<(String, bool)>)>) -> Self {
        Self { of_upstreams: of_upstreams.into_iter().collect() }
    }

    /// The upstreams with a price for seconds of workers, in no order.
    pub fn of_workers(&self) -> impl Iterator<Item = &str> {
        let of_workers =
            self.of_upstreams.iter().filter(|(_, prices)| prices.iter().any(|(_, is_of_workers)| *is_of_workers));
        of_workers.map(|(upstream, _)| upstream.as_str())
    }

    /// Whether this price is for seconds of workers. One that is not configured any more was most likely of the same kind as the last
    /// one, unless that is for tokens and workers `were_counted`.
    pub(super) fn is_of_workers(&self, upstream: &str, version: Option<&str>, were_counted: bool) -> bool {
        let prices = self.of_upstreams.get(upstream).map(Vec::as_slice).unwrap_or_default();
        let known = prices.iter().find(|(known, _)| Some(known.as_str()) == version);
        known.map_or_else(
            || were_counted || prices.last().is_some_and(|(_, is_of_workers)| *is_of_workers),
            |(_, is_of_workers)| *is_of_workers,
        )
    }
}
