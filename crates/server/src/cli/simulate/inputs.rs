//! Everything that a simulation reads, with every mistake reported before anything runs.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use settings::{Config, ProviderSettings, Secrets, Target, Upstream};
use simulator::{
    DecisionLog, Model, PolicyFactory, Providers, Scenario, Trace, UpstreamSettings, baselines, engine, read_text,
};

use super::Arguments;
use crate::{cli::calibrate, clock};

/// What runs when nothing else is asked for.
const QUIET: &str = "steady";

/// What asks for every scenario that there is.
const ALL: &str = "all";

const NO_TRACE: &str = "\
give the requests to replay with --trace FILE: a CSV file, plain or gzip, with the columns t_s (seconds), input_tokens and
output_tokens, one line for each request, such as

  t_s,input_tokens,output_tokens
  0.00,374,44
  4.31,396,109

tests/traces/azure_llm_2023_conv.csv.gz is one hour of a real service";

/// A configuration that is judged.
#[derive(Debug)]
pub(super) struct EvaluatedConfig {
    /// What it is called in tables: its file's name.
    pub(super) name: String,
    /// The model whose targets get the requests.
    pub(super) model: String,
    config: Config,
}

/// Everything that a simulation needs.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) trace: Trace,
    pub(super) providers: Providers,
    pub(super) scenarios: Vec<Scenario>,
    pub(super) configs: Vec<EvaluatedConfig>,
    /// The configurations, then the baselines.
    pub(super) policies: Vec<PolicyFactory>,
    /// What the reader of the figures should know.
    pub(super) warnings: Vec<String>,
}

impl Inputs {
    pub(super) fn read(arguments: &Arguments) -> anyhow::Result<Self> {
        if arguments.traces.is_empty() {
            bail!(NO_TRACE);
        }
        if arguments.configs.is_empty() && !arguments.baselines {
            bail!("nothing to simulate: give a configuration with --config FILE, or --baselines");
        }
        let configs = configs(&arguments.configs, arguments.model.as_deref())?;
        let mut providers = calibrate::providers(arguments.providers.as_deref())?;
        let mut warnings = Vec::new();
        warnings.extend(take_slo(&mut providers, &configs));
        warnings.extend(other_prices(&configs, &providers));
        let model = arguments.model.as_deref().or_else(|| configs.first().map(|evaluated| evaluated.model.as_str()));
        let trace = requests(&arguments.traces, model, &mut warnings)?.compressed(arguments.speed)?;
        let scenarios = scenarios(arguments, &trace, &providers, &mut warnings)?;
        let mut policies = Vec::new();
        for EvaluatedConfig { name, model, config } in &configs {
            let factory = engine::policy_factory(name, config, model, &providers).with_context(|| name.clone())?;
            policies.push(factory);
        }
        if arguments.baselines {
            policies.extend(baselines(&providers));
        }
        Ok(Self { trace, providers, scenarios, configs, policies, warnings })
    }

    /// The configuration that the others are compared with, if there are several.
    pub(super) fn before(&self) -> Option<&str> {
        self.configs.first().filter(|_| self.configs.len() > 1).map(|first| first.name.as_str())
    }

    /// The configurations that the gates apply to: every one but the first, or the only one.
    pub(super) fn evaluated(&self) -> Vec<&str> {
        let first = usize::from(self.configs.len() > 1);
        self.configs.iter().skip(first).map(|evaluated| evaluated.name.as_str()).collect()
    }
}

fn text(file: &Path) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The requests of a trace, or of decision logs those for `model`.
fn requests(files: &[PathBuf], model: Option<&str>, warnings: &mut Vec<String>) -> anyhow::Result<Trace> {
    let mut log = DecisionLog::default();
    for file in files {
        let text = read_text(file)?;
        if files.len() == 1 && !DecisionLog::is_one(&text) {
            return Trace::parse(&Trace::name_of(file), &text).with_context(|| file.display().to_string());
        }
        log.merge(calibrate::parsed(file, &text)?);
    }
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    recorded(&Trace::name_of(&files[0]), log, model, warnings).with_context(|| names.join(", "))
}

fn recorded(
    name: &str,
    mut log: DecisionLog,
    model: Option<&str>,
    warnings: &mut Vec<String>,
) -> anyhow::Result<Trace> {
    if log.unreadable > 0 {
        warnings.push(format!("{} lines of the decision log could not be read and were left out", log.unreadable));
    }
    if let Some(model) = model {
        log = log.of_model(model)?;
    }
    Ok(log.trace(name)?)
}

/// The configurations, or everything that is wrong with any of them.
fn configs(files: &[PathBuf], model: Option<&str>) -> anyhow::Result<Vec<EvaluatedConfig>> {
    let names = names(files)?;
    let (mut evaluated, mut problems) = (Vec::new(), Vec::new());
    for (file, name) in files.iter().zip(names) {
        // The figures must not depend on the environment of the user who runs it.
        let config = settings::load_with(file, &|_| None, Secrets::Ignored);
        let config = config.map_err(anyhow::Error::from).map(|mut config| {
            config.set_prices(clock::now_ms());
            config
        });
        let model = config.and_then(|config| Ok((self::model(&config, model, &name)?, config)));
        match model {
            Ok((model, config)) => evaluated.push(EvaluatedConfig { name, model, config }),
            Err(error) => problems.push(error.to_string()),
        }
    }
    if problems.is_empty() { Ok(evaluated) } else { Err(anyhow!(problems.join("\n\n"))) }
}

/// What each is called: its file's name, or the whole path where two files have one name.
fn names(files: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let short = |file: &Path| file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    let is_alone = |name: &str| files.iter().filter(|file| short(file) == name).count() == 1;
    let names: Vec<String> = files
        .iter()
        .map(|file| Some(short(file)).filter(|name| is_alone(name)).unwrap_or_else(|| file.display().to_string()))
        .collect();
    let twice = names.iter().enumerate().find(|(place, name)| names[..*place].contains(name));
    match twice {
        Some((_, name)) => bail!("--config {name} is there twice: to compare, give two files"),
        None => Ok(names),
    }
}

/// The model that is meant.
fn model(config: &Config, wanted: Option<&str>, name: &str) -> anyhow::Result<String> {
    let known: Vec<&str> = config.models.iter().map(|model| model.name.as_str()).collect();
    let listed = known.join(", ");
    match (wanted, known.as_slice()) {
        (Some(wanted), known) if known.contains(&wanted) => Ok(wanted.to_owned()),
        (Some(wanted), _) => bail!("{name} has no model {wanted:?}; it has {listed}"),
        (None, [only]) => Ok((*only).to_owned()),
        (None, _) => bail!("{name} has several models: say with --model which one the requests ask for: {listed}"),
    }
}

/// The configurations say what is within the SLO, where they agree; a warning where they do not.
fn take_slo(providers: &mut Providers, configs: &[EvaluatedConfig]) -> Option<String> {
    let slos = configs.iter().filter_map(|evaluated| evaluated.config.model(&evaluated.model)?.slo_ttft);
    let slos: BTreeSet<u64> = slos.filter_map(|slo| u64::try_from(slo.as_nanos()).ok()).collect();
    match slos.into_iter().collect::<Vec<_>>().as_slice() {
        [] => None,
        [only] => {
            providers.slo_ttft = *only;
            None
        }
        _ => Some(format!(
            "the configurations have different slo.ttft_ms; all are evaluated by the {} s of the simulated providers",
            simulator::seconds(providers.slo_ttft)
        )),
    }
}

/// Where the simulated providers charge something else than a configuration says.
fn other_prices(configs: &[EvaluatedConfig], providers: &Providers) -> BTreeSet<String> {
    let targets = configs.iter().flat_map(|EvaluatedConfig { model, config, .. }| {
        let targets = config.model(model).map(|model| model.targets.as_slice()).unwrap_or_default();
        let upstream = |target: &Target| config.upstreams.iter().find(|upstream| upstream.id == target.upstream);
        targets.iter().filter_map(upstream)
    });
    let warning = |upstream: &Upstream| {
        let price = upstream.tariff.as_ref()?.list_price()?;
        let simulated = simulated_upstream(upstream, providers)?;
        (price != simulated.price).then(|| {
            format!(
                "{} has another price than the simulated {}, which stands for it; the figures are in the latter: --providers \
                 takes yours",
                upstream.id, simulated.id
            )
        })
    };
    targets.filter_map(warning).collect()
}

/// The simulated upstream of the same id, or the only one of its kind, as the engine takes them.
fn simulated_upstream<'a>(upstream: &Upstream, providers: &'a Providers) -> Option<&'a UpstreamSettings> {
    let is_of_kind = |simulated: &&UpstreamSettings| match (&simulated.model, &upstream.provider) {
        (Model::RunPod(_), ProviderSettings::Runpod { .. }) | (Model::Cerebras(_), ProviderSettings::Cerebras) => true,
        (Model::RunPod(_) | Model::Cerebras(_), _) => false,
    };
    let by_id = providers.upstreams.iter().find(|simulated| simulated.id == upstream.id.as_str());
    by_id.or_else(|| providers.upstreams.iter().find(is_of_kind))
}

/// What is to happen. Of all scenarios, those that do not fit the upstreams are left out with a warning; one that was
/// asked for by name is an error then.
fn scenarios(
    arguments: &Arguments,
    trace: &Trace,
    providers: &Providers,
    warnings: &mut Vec<String>,
) -> anyhow::Result<Vec<Scenario>> {
    let own = match &arguments.scenarios {
        Some(file) => Scenario::parse(&text(file)?).with_context(|| file.display().to_string())?,
        None => Vec::new(),
    };
    let names: Vec<&str> = arguments.scenario_names.iter().map(|name| name.trim()).collect();
    if names.is_empty() && !own.is_empty() {
        return fitting(own, trace, providers, |error| Err(error.into()));
    }
    let mut known = own;
    for shipped in Scenario::shipped()? {
        if known.iter().all(|scenario| scenario.name != shipped.name) {
            known.push(shipped);
        }
    }
    if names.contains(&ALL) {
        let found = fitting(known, trace, providers, |error| {
            warnings.push(format!("left out: {error}"));
            Ok(())
        });
        return found;
    }
    let names = if names.is_empty() { vec![QUIET] } else { names };
    if let Some(unknown) = names.iter().find(|name| known.iter().all(|scenario| scenario.name != **name)) {
        let known: Vec<&str> = known.iter().map(|scenario| scenario.name.as_str()).collect();
        bail!("no scenario {unknown:?}; there are {} and {}", ALL, known.join(", "));
    }
    known.retain(|scenario| names.contains(&scenario.name.as_str()));
    fitting(known, trace, providers, |error| Err(error.into()))
}

/// Those of `scenarios` that can be applied; `misfit` says what becomes of the others.
fn fitting(
    scenarios: Vec<Scenario>,
    trace: &Trace,
    providers: &Providers,
    mut misfit: impl FnMut(simulator::ScenarioError) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Scenario>> {
    let mut fitting = Vec::new();
    for scenario in scenarios {
        match scenario.apply(trace, providers) {
            Ok(_) => fitting.push(scenario),
            Err(error) => misfit(error)?,
        }
    }
    if fitting.is_empty() {
        bail!("no scenario fits the simulated providers");
    }
    Ok(fitting)
}
