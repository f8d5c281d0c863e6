//! Resolves the name in a request: a public model, a task, an ensemble, or an upstream past the strategy.

use std::{collections::BTreeMap, sync::Arc};

use dispatch::Table;
use provider::Head;
use router::{Ensemble, Pick};
use settings::{Config, ENSEMBLE_PREFIX, TASK_PREFIX};

use crate::{auth::ClientKey, error::ApiError};

/// The names that are not the table's own.
pub(crate) struct Names {
    /// Models and ensembles by task, in alphabetical order, the default among them.
    tasks: BTreeMap<String, String>,
    ensembles: BTreeMap<String, Arc<Ensemble>>,
}

/// What is to serve a request.
pub(crate) enum Resolved {
    /// What the request's body names.
    Named,
    /// What this name resolves to.
    Other(String),
    /// Several models.
    Ensemble(Arc<Ensemble>),
}

impl Resolved {
    /// What it is called; `named` is what the body names.
    pub(crate) fn name<'a>(&'a self, named: Option<&'a str>) -> &'a str {
        match self {
            Self::Named => named.unwrap_or_default(),
            Self::Other(name) => name,
            Self::Ensemble(ensemble) => &ensemble.name,
        }
    }

    /// How many calls a request with this head leads to: one for each answer, and one for each answer that a judge
    /// reads. Repeats are not counted, because the router decides on them.
    pub(crate) fn calls(&self, head: &Head) -> u32 {
        let calls = match self {
            Self::Named | Self::Other(_) => head.computed_choices(),
            Self::Ensemble(ensemble) => {
                let members = u64::try_from(ensemble.members.len()).unwrap_or(u64::MAX);
                let opinions = if matches!(ensemble.pick, Pick::Judge(_)) { members } else { 0 };
                head.computed_choices().saturating_mul(members).saturating_add(opinions)
            }
        };
        u32::try_from(calls).unwrap_or(u32::MAX).max(1)
    }

    /// The ensemble, if it is one.
    pub(crate) fn ensemble(&self) -> Option<&Ensemble> {
        match self {
            Self::Named | Self::Other(_) => None,
            Self::Ensemble(ensemble) => Some(ensemble),
        }
    }

    /// The name for the router, unless it is the one in the body; an ensemble is refused, for the reason that `refusal` gives.
    pub(crate) fn single(self, refusal: fn(&Ensemble) -> ApiError) -> Result<Option<String>, ApiError> {
        match self {
            Self::Named => Ok(None),
            Self::Other(name) => Ok(Some(name)),
            Self::Ensemble(ensemble) => Err(refusal(&ensemble)),
        }
    }
}

/// The model and the task that a request names.
#[derive(Clone, Copy, Default)]
pub(crate) struct Requested<'a> {
    /// The model's name, if there is one.
    pub(crate) model: Option<&'a str>,
    /// The task, if one is named apart from the model; it wins over the model.
    pub(crate) task: Option<&'a str>,
}

impl Names {
    /// The task that stands for those that are not known.
    const DEFAULT: &'static str = "default";

    pub(crate) fn new(config: &Config) -> Self {
        let ensembles = config.ensembles.iter().map(|it| (it.name.clone(), Arc::new(it.clone()))).collect();
        Self { tasks: config.tasks.clone(), ensembles }
    }

    /// The names of the tasks and ensembles that `key` may ask for as models.
    pub(crate) fn models(&self, key: &ClientKey) -> impl Iterator<Item = String> {
        let tasks = self.tasks_of(key).map(|task| format!("{TASK_PREFIX}{task}"));
        tasks.chain(self.ensembles_of(key).cloned())
    }

    /// The tasks that `key` may ask for: by their own names, or because it may use what they stand for.
    fn tasks_of(&self, key: &ClientKey) -> impl Iterator<Item = &str> {
        let tasks = self.tasks.iter().filter(|(task, name)| may_use_task(key, task, name));
        tasks.map(|(task, _)| task.as_str())
    }

    fn ensembles_of(&self, key: &ClientKey) -> impl Iterator<Item = &String> {
        self.ensembles.keys().filter(|name| key.may_use(name))
    }

    /// Whether any name stands for several models.
    pub(crate) fn has_ensembles(&self) -> bool {
        !self.ensembles.is_empty()
    }

    /// What is asked for. A name that the key may not use is answered like one that does not exist.
    pub(crate) fn resolve(
        &self,
        requested: Requested<'_>,
        table: &Table,
        key: &ClientKey,
    ) -> Result<Resolved, ApiError> {
        if let Some(task) = requested.task {
            return self.task(task, key);
        }
        let Some(name) = requested.model else { return self.unnamed(table, key) };
        if let Some(ensemble) = self.ensembles.get(name).filter(|_| key.may_use(name)) {
            return Ok(Resolved::Ensemble(ensemble.clone()));
        }
        match table.choose(name).filter(|choice| key.may_use(choice.model().as_str())) {
            Some(choice) if choice.is_direct() && !key.may_choose_upstream => Err(ApiError::direct_not_allowed()),
            Some(_) => Ok(Resolved::Named),
            None => match name.strip_prefix(TASK_PREFIX) {
                Some(task) => self.task(task, key),
                None if name.starts_with(ENSEMBLE_PREFIX) => {
                    Err(ApiError::no_such_ensemble(name, self.ensembles_of(key)))
                }
                None => Err(Self::unknown(name, table, key)),
            },
        }
    }

    fn task(&self, task: &str, key: &ClientKey) -> Result<Resolved, ApiError> {
        let found = self.tasks.get_key_value(task).or_else(|| self.tasks.get_key_value(Self::DEFAULT));
        match found.filter(|(task, name)| may_use_task(key, task, name)) {
            Some((_, name)) => Ok(self.of_task(name)),
            None => Err(ApiError::no_such_task(task, self.tasks_of(key))),
        }
    }

    /// What a task's entry stands for.
    fn of_task(&self, name: &str) -> Resolved {
        match self.ensembles.get(name) {
            Some(ensemble) => Resolved::Ensemble(ensemble.clone()),
            None => Resolved::Other(name.to_owned()),
        }
    }

    /// What serves a request that names nothing.
    fn unnamed(&self, table: &Table, key: &ClientKey) -> Result<Resolved, ApiError> {
        if let Some(name) = self.tasks.get(Self::DEFAULT).filter(|name| may_use_task(key, Self::DEFAULT, name)) {
            return Ok(self.of_task(name));
        }
        let mut models = table.models().map(|model| &model.spec.name).filter(|model| key.may_use(model.as_str()));
        match (models.next(), models.next()) {
            (Some(only), None) => Ok(Resolved::Other(only.as_str().to_owned())),
            _ => Err(ApiError::nothing_named()),
        }
    }

    /// The error for `name`, which names nothing. An upstream's id in front of it suggests a direct call.
    fn unknown(name: &str, table: &Table, key: &ClientKey) -> ApiError {
        let upstream = name.split_once('/').and_then(|(id, _)| {
            let found = table.upstreams().find(|upstream| upstream.spec.id.as_str() == id)?;
            let public =
                table.models().filter(|model| model.targets().iter().any(|target| target.spec.id == found.spec.id));
            let public = public.map(|model| model.spec.name.as_str()).filter(|model| key.may_use(model));
            Some((id, public.collect::<Vec<_>>()))
        });
        match upstream {
            // Which upstreams there are is not for a key that may use none of their models.
            Some((_, models)) if models.is_empty() && !key.may_use_all() => ApiError::no_such_model(name),
            Some((id, models)) => ApiError::no_such_model_there(id, &models),
            None => ApiError::no_such_model(name),
        }
    }
}

fn may_use_task(key: &ClientKey, task: &str, stands_for: &str) -> bool {
    key.may_use(stands_for) || key.may_use(&format!("{TASK_PREFIX}{task}"))
}
