//! What a request asks for by name: a public model, a task, an ensemble, or an upstream past the strategy.

use std::{collections::BTreeMap, sync::Arc};

use router::{Ensemble, Table};

use crate::{
    auth::ClientKey,
    config::{Config, ENSEMBLE},
    error::ApiError,
};

/// How a model's name begins that means a task.
const TASK: &str = "task/";

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
    /// What the router knows by this name.
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

/// What a request says about what it wants.
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

    /// The names of tasks and ensembles, which can be asked for as models.
    pub(crate) fn models(&self) -> impl Iterator<Item = String> {
        self.tasks.keys().map(|task| format!("{TASK}{task}")).chain(self.ensembles.keys().cloned())
    }

    /// What is asked for.
    pub(crate) fn resolve(
        &self,
        requested: Requested<'_>,
        table: &Table,
        key: &ClientKey,
    ) -> Result<Resolved, ApiError> {
        if let Some(task) = requested.task {
            return self.task(task);
        }
        let Some(name) = requested.model else { return self.unnamed(table) };
        if let Some(ensemble) = self.ensembles.get(name) {
            return Ok(Resolved::Ensemble(ensemble.clone()));
        }
        match table.choose(name) {
            Some(choice) if choice.is_direct() && !key.may_choose_upstream => Err(ApiError::direct_not_allowed()),
            Some(_) => Ok(Resolved::Named),
            None => match name.strip_prefix(TASK) {
                Some(task) => self.task(task),
                None if name.starts_with(ENSEMBLE) => Err(ApiError::no_such_ensemble(name, self.ensembles.keys())),
                None => Err(Self::unknown(name, table)),
            },
        }
    }

    fn task(&self, task: &str) -> Result<Resolved, ApiError> {
        match self.tasks.get(task).or_else(|| self.tasks.get(Self::DEFAULT)) {
            Some(name) => Ok(self.of_task(name)),
            None => Err(ApiError::no_such_task(task, self.tasks.keys().map(String::as_str))),
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
    fn unnamed(&self, table: &Table) -> Result<Resolved, ApiError> {
        if let Some(name) = self.tasks.get(Self::DEFAULT) {
            return Ok(self.of_task(name));
        }
        let mut models = table.models();
        match (models.next(), models.next()) {
            (Some(only), None) => Ok(Resolved::Other(only.as_str().to_owned())),
            _ => Err(ApiError::nothing_named()),
        }
    }

    /// Why `name` is nothing: an upstream's id in front of it was probably meant so.
    fn unknown(name: &str, table: &Table) -> ApiError {
        let upstream = name.split_once('/').and_then(|(id, _)| {
            let found = table.upstreams().find(|upstream| upstream.spec.id.as_str() == id)?;
            let public =
                table.targets().filter(|(_, targets)| targets.iter().any(|target| target.spec.id == found.spec.id));
            Some((id, public.map(|(model, _)| model.as_str()).collect::<Vec<_>>()))
        });
        match upstream {
            Some((id, models)) => ApiError::no_such_model_there(id, &models),
            None => ApiError::no_such_model(name),
        }
    }
}
