//! Turns the configuration of an upstream or a model into the router's specification of it.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::LazyLock,
};

use router::{ModelSpec, UpstreamSpec};
use sha2::{Digest as _, Sha256};

use crate::types::{Config, Model, Upstream};

/// A random key of the hash, different in each process, so that the hash of an upstream's key reveals nothing about the
/// key.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl Upstream {
    /// What the router needs to know of it.
    pub fn spec(&self) -> UpstreamSpec {
        let api_key = self.api_key.as_ref().map(secrecy::ExposeSecret::expose_secret);
        UpstreamSpec {
            id: self.id.clone(),
            account: HASHER.hash_one((&self.base_url, api_key)),
            identity: self.identity(),
            provider_name: self.provider.as_str(),
            served_model: self.model.clone(),
            tariff: self.tariff.clone(),
            price_version: self.price_version.clone(),
            operations: self.operations.clone(),
            features: self.features,
            context_tokens: self.context_tokens,
            default_max_tokens: self.default_max_tokens,
            max_in_flight: self.max_in_flight,
            worker_slots: self.worker_slots,
            limits: self.limits,
            timeouts: router::Timeouts { first_token: self.timeouts.first_token, gap: self.timeouts.gap },
            capacity_poll: self.capacity_poll,
            warm_up_usd_per_hour: self.warm_up_usd_per_hour,
        }
    }

    /// What replicas know the upstream by, beside its name: a hash of its address and of the model there, but not of its key, for
    /// it leaves the process.
    fn identity(&self) -> u64 {
        let facts = [self.provider.as_str(), &self.base_url, &self.model].join("\n");
        Sha256::digest(facts).iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
    }
}

impl Model {
    /// What the router needs to know of it.
    pub fn spec(&self) -> ModelSpec {
        ModelSpec {
            name: self.name.clone(),
            strategy: self.strategy,
            slo_first_token: self.slo_ttft,
            baseline: self.baseline.clone(),
            deadline: self.deadline,
            early_headers: self.early_headers,
            reasoning_field: self.reasoning_field,
            hedge: self.hedge,
            targets: self.targets.iter().map(|target| (target.upstream.clone(), target.share)).collect(),
        }
    }
}

impl Config {
    /// The model of this public name.
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.name.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use router::UpstreamSpec;

    fn spec(id: &str, base_url: &str, model: &str, key: &'static str) -> UpstreamSpec {
        let text = format!(
            "[auth]\nmode = \"none\"\n[[upstreams]]\nid = \"{id}\"\nprovider = \"openai\"\nmodel = \"{model}\"\n\
             base_url = \"{base_url}\"\napi_key_env = \"KEY\"\n[[models]]\nname = \"m\"\nstrategy = \"cost\"\ntargets = [{{ upstream = \"{id}\" }}]\n"
        );
        let env = |name: &str| (name == "KEY").then(|| key.to_owned());
        let config = crate::parse(&text, "x.toml", &env).unwrap_or_else(|problems| panic!("{problems}"));
        config.upstreams[0].spec()
    }

    /// Replicas know an upstream by what it is, also while its key is replaced in one after the other.
    #[test]
    fn an_upstream_is_known_by_its_address_and_model_and_not_by_its_key() {
        const URL: &str = "https://host/v1";
        let spec_of = spec("a", URL, "m", "one");
        let rotated = spec("a", URL, "m", "two");
        assert_eq!(spec_of.identity, rotated.identity);
        assert_ne!(spec_of.account, rotated.account, "what is known of it here is of its key");
        assert_eq!(spec_of.identity, 11_901_681_154_153_123_015, "the same in every process and in every version");
        for other in [spec("a", "https://other/v1", "m", "one"), spec("a", URL, "n", "one")] {
            assert_ne!(spec_of.identity, other.identity);
        }
    }
}
