//! Our own engine as a policy: the code that decides in production, driven in virtual time.
//!
//! A [`settings::Config`] becomes the same table as in the server. The simulator's events become events of
//! [`router::Engine`], and the engine's actions become those of the simulator, with the limits on attempts and the
//! deadline of the model as in real time. No routing decision is made here.

mod calls;
mod driver;

use std::sync::Arc;

use router::{Table, TableError, UpstreamSpec};
use settings::{Config, ProviderSettings};

use crate::{
    baselines::PolicyFactory,
    providers::{Providers, UpstreamSettings},
};
use driver::Driver;

/// Why a configuration cannot be simulated.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// It has no model of that name.
    #[error("no model {name:?} in this configuration; it has {}", known.join(", "))]
    NoModel {
        /// The name that was given.
        name: String,
        /// The names of its models.
        known: Vec<String>,
    },
    /// No simulated upstream stands for one of the model's targets.
    #[error(
        "no simulated upstream stands for {id:?}, which is of provider {provider:?}: give one of them the id {id:?}; they \
         are {}",
        known.join(", ")
    )]
    NoUpstream {
        /// The upstream in the configuration.
        id: String,
        /// Its provider.
        provider: &'static str,
        /// The ids of the simulated upstreams.
        known: Vec<String>,
    },
    /// The table does not hold together.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// A policy that routes as `model` of `config` does, called `name` in reports. Its targets are the upstreams of
/// `providers` with their ids; a target without one is the only upstream of its provider's kind that is left.
///
/// # Errors
/// If there is no such model, or a target that no simulated upstream stands for.
pub fn policy_factory(
    name: &str,
    config: &Config,
    model: &str,
    providers: &Providers,
) -> Result<PolicyFactory, EngineError> {
    let known = || config.models.iter().map(|model| model.name.as_str().to_owned()).collect();
    let no_model = || EngineError::NoModel { name: model.to_owned(), known: known() };
    let spec = config.model(model).ok_or_else(no_model)?.spec();
    let targets = spec.targets.iter().filter_map(|(id, _)| config.upstreams.iter().find(|upstream| upstream.id == *id));
    let targets: Vec<_> = targets.collect();
    let upstreams = matched(&targets, &providers.upstreams)?;
    let has_capacity: Vec<bool> = targets.iter().map(|upstream| reports_capacity(&upstream.provider)).collect();
    // Simulated upstreams count what is used, not what is asked for.
    let spec_of = |upstream: &settings::Upstream| UpstreamSpec { default_max_tokens: None, ..upstream.spec() };
    let specs = || config.upstreams.iter().map(spec_of).collect();
    let table = Table::new(&config.version, specs(), vec![spec], None)?;
    let Some(model) = table.models().next().cloned() else { return Err(no_model()) };
    let upstreams: Arc<[calls::TargetUpstream]> = upstreams
        .into_iter()
        .zip(has_capacity)
        .map(|(upstream, reports_capacity)| calls::TargetUpstream { upstream, reports_capacity })
        .collect();
    Ok(PolicyFactory::new(name, move |setup| Driver::new(model.clone(), upstreams.clone(), setup.seed)))
}

/// Whether the router asks an upstream for its capacity.
fn reports_capacity(provider: &ProviderSettings) -> bool {
    matches!(provider, ProviderSettings::Runpod { capacity_url: Some(_), .. })
}

/// For each target, the number of the simulated upstream that stands for it.
fn matched(targets: &[&settings::Upstream], simulated: &[UpstreamSettings]) -> Result<Vec<usize>, EngineError> {
    let by_id = |target: &settings::Upstream| simulated.iter().position(|upstream| upstream.id == target.id.as_str());
    let taken: Vec<usize> = targets.iter().filter_map(|target| by_id(target)).collect();
    let by_kind = |target: &settings::Upstream| {
        let is_of_kind = |at: &usize| simulated[*at].kind() == target.provider.as_str() && !taken.contains(at);
        let mut found = (0..simulated.len()).filter(is_of_kind);
        let only = found.next().filter(|_| found.next().is_none());
        let same_kind = |other: &&&settings::Upstream| other.provider.as_str() == target.provider.as_str();
        let rivals = targets.iter().filter(|other| by_id(other).is_none()).filter(same_kind).count();
        only.filter(|_| rivals == 1)
    };
    let find = |target: &&settings::Upstream| {
        by_id(target).or_else(|| by_kind(target)).ok_or_else(|| EngineError::NoUpstream {
            id: target.id.as_str().to_owned(),
            provider: target.provider.as_str(),
            known: simulated.iter().map(|upstream| format!("{:?} ({})", upstream.id, upstream.kind())).collect(),
        })
    };
    targets.iter().map(find).collect()
}

#[cfg(test)]
mod tests;
