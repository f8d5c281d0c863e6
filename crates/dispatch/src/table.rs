//! The routing table together with the adapters of its upstreams and the engine of each group of models.

use std::{ops::Deref, sync::Arc};

use provider::{Provider, Time};
use router::{Engine, Model, ModelSpec, Snapshot, SpareRepeats, Status, TableError, Upstream, UpstreamSpec, Weight};

use crate::group::{Group, Waiting};

/// A routing table. It dereferences to [`router::Table`], which holds the configuration.
pub struct Table {
    routes: router::Table,
    /// The adapters, in the order of the upstreams.
    providers: Vec<Arc<dyn Provider>>,
    /// The engines, by the numbers of the groups.
    groups: Vec<Arc<Group>>,
    /// Repeats for all groups of the process.
    spare: Arc<SpareRepeats>,
}

impl Table {
    /// Makes a table of the configuration called `version`. The state of upstreams and models with a name that
    /// `predecessor` has is kept, and is shared with the requests that are still served by it. Tables are made one
    /// after the other.
    pub fn new(
        version: &str,
        upstreams: Vec<(UpstreamSpec, Arc<dyn Provider>)>,
        models: Vec<ModelSpec>,
        predecessor: Option<&Self>,
    ) -> Result<Self, TableError> {
        let (specs, providers) = upstreams.into_iter().unzip();
        let routes = router::Table::new(version, specs, models, predecessor.map(|old| &old.routes))?;
        let mut groups = vec![None; routes.groups()];
        if let Some(old) = predecessor {
            take_over(&mut groups, &routes, old);
        }
        let spare = predecessor.map(|old| old.spare.clone()).unwrap_or_default();
        let new = || Arc::new(Group::new(spare.clone()));
        let groups = groups.into_iter().map(|group: Option<Arc<Group>>| group.unwrap_or_else(new)).collect();
        let table = Self { routes, providers, groups, spare };
        if let Some(old) = predecessor {
            table.carry_over(old);
        }
        Ok(table)
    }

    /// Carries over the deficits of models whose targets differ from those in `old`, and drops state that is used no
    /// more.
    fn carry_over(&self, old: &Self) {
        for model in self.models() {
            if let Some(old) = old.model(model.spec.name.as_str()) {
                self.with(model.group, |engine| engine.carry_over(model, old));
            }
        }
        self.groups.iter().for_each(|group| group.with(Engine::forget_unused));
    }

    /// Passes the configuration of its upstreams to the engines.
    pub(crate) fn configure(&self, now: Time) {
        for upstream in self.upstreams() {
            self.with(upstream.group, |engine| engine.configure(upstream, now));
        }
    }

    /// Does `work` with the engine of a group.
    pub(crate) fn with<R>(&self, group: usize, work: impl FnOnce(&mut Engine) -> R) -> R {
        self.groups[group].with(work)
    }

    /// Does `work` with the engine of a group, after which a request may wait, or waits no more.
    pub(crate) fn with_waiting<R>(&self, group: usize, work: impl FnOnce(&mut Engine, &mut Waiting) -> R) -> R {
        self.groups[group].with_waiting(work)
    }

    /// The adapter of an upstream.
    pub(crate) fn provider(&self, upstream: &Upstream) -> &dyn Provider {
        &*self.providers[upstream.index]
    }

    /// An upstream at this moment, as operators see it.
    pub fn status(&self, upstream: &Upstream, now: Time) -> Status {
        self.with(upstream.group, |engine| engine.status(upstream, now))
    }

    /// An upstream at this moment, as a decision sees it. `stream` chooses between the times of streamed and whole answers.
    pub fn snapshot(&self, upstream: &Upstream, stream: bool, now: Time) -> Snapshot {
        self.with(upstream.group, |engine| engine.snapshot(upstream, stream, now))
    }

    /// Every target's part of the requests to `model` at this moment.
    pub fn weights<'a>(&self, model: &'a Model, now: Time) -> Vec<Weight<'a>> {
        self.with(model.group, |engine| engine.weights(model, now))
    }
}

impl Deref for Table {
    type Target = router::Table;

    fn deref(&self) -> &router::Table {
        &self.routes
    }
}

/// Finds the groups of `old` that hold state of the upstreams and models of each group of `routes`. Several are joined,
/// since requests that are under way may still decide between upstreams that only `old` has together. For the same
/// reason, a group that the new table would divide stays one.
fn take_over(groups: &mut [Option<Arc<Group>>], routes: &router::Table, old: &Table) {
    let same = |upstream: &Upstream| old.upstreams().find(|known| known.spec.id == upstream.spec.id);
    let of_upstreams = routes.upstreams().filter_map(|upstream| Some((upstream.group, same(upstream)?.group)));
    let of_models = routes.models().filter_map(|model| Some((model.group, old.model(model.spec.name.as_str())?.group)));
    for (group, known) in of_upstreams.chain(of_models) {
        match &groups[group] {
            Some(group) => group.join(&old.groups[known]),
            None => groups[group] = Some(old.groups[known].joined()),
        }
    }
    for group in groups.iter_mut().flatten() {
        *group = group.joined();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Unreachable};

    fn table(models: &[(&str, &[&str])], old: Option<&Table>) -> Table {
        let upstreams = ["a", "b", "c"].map(|id| (testing::upstream(id), Arc::new(Unreachable) as Arc<dyn Provider>));
        let models = models.iter().map(|(name, targets)| testing::model(name, targets)).collect();
        Table::new("test", upstreams.into(), models, old).expect("a table")
    }

    fn in_flight(table: &Table, at: usize) -> u32 {
        let upstream = table.upstreams().nth(at).expect("an upstream");
        table.snapshot(upstream, true, Time::ZERO).in_flight
    }

    const APART: &[(&str, &[&str])] = &[("m", &["a"]), ("n", &["b"])];
    const TOGETHER: &[(&str, &[&str])] = &[("m", &["a"]), ("n", &["b", "a"]), ("o", &["c"])];

    /// A request of `table` is left by its client.
    fn leave(table: &Table, mut request: router::RequestState) {
        table.with(request.model().group, |engine| engine.left(&mut request, Time::ZERO));
    }

    /// Requests that began under any of the tables are counted under all of them, and end under all of them.
    #[test]
    fn groups_that_are_joined_and_divided_know_the_same() {
        let first = table(APART, None);
        let under_first = ["m", "n"].map(|model| testing::begun(&first, model));
        let second = table(TOGETHER, Some(&first));
        assert_eq!(second.groups(), 2);
        let third = table(APART, Some(&second));
        let under_third = testing::begun(&third, "m");
        for table in [&first, &second, &third] {
            assert_eq!([0, 1, 2].map(|at| in_flight(table, at)), [2, 1, 0]);
        }
        leave(&third, under_third);
        for request in under_first {
            leave(&first, request);
        }
        for table in [&first, &second, &third] {
            assert_eq!([0, 1, 2].map(|at| in_flight(table, at)), [0; 3]);
        }
    }

    #[test]
    fn nothing_is_lost_while_groups_are_joined() {
        for _ in 0..20 {
            let first = table(APART, None);
            let lasting = ["m", "n"].map(|model| testing::begun(&first, model));
            let second = std::thread::scope(|scope| {
                for model in ["m", "n"] {
                    let first = &first;
                    scope.spawn(move || (0..100).for_each(|_| leave(first, testing::begun(first, model))));
                }
                table(TOGETHER, Some(&first))
            });
            assert_eq!([0, 1].map(|at| in_flight(&second, at)), [1, 1]);
            for request in lasting {
                leave(&first, request);
            }
            assert_eq!([0, 1].map(|at| in_flight(&second, at)), [0, 0]);
        }
    }
}
