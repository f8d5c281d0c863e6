//! What a request asks for by name: a public model, a task, or an upstream past the strategy.

use std::collections::BTreeMap;

use router::Table;

use crate::{auth::ClientKey, config::Config, error::ApiError};

/// How a model's name begins that means a task.
const TASK: &str = "task/";

/// The names that are not the table's own.
pub(crate) struct Names {
    /// Models by task, in alphabetical order, the default among them.
    tasks: BTreeMap<String, String>,
}

/// What a request says about what it wants.
#[derive(Clone, Copy, Default)]
pub(crate) struct Asked<'a> {
    /// The model's name, if there is one.
    pub(crate) model: Option<&'a str>,
    /// The task, if one is named apart from the model; it wins over the model.
    pub(crate) task: Option<&'a str>,
}

impl Names {
    /// The task that takes the place of those that are not known.
    const DEFAULT: &'static str = "default";

    pub(crate) fn new(config: &Config) -> Self {
        Self { tasks: config.tasks.clone() }
    }

    /// The names under which tasks can be asked for as models.
    pub(crate) fn task_names(&self) -> impl Iterator<Item = String> {
        self.tasks.keys().map(|task| format!("{TASK}{task}"))
    }

    /// The name for the router of what is asked for; `None` if that is the model as it is named.
    pub(crate) fn resolve(&self, asked: Asked<'_>, table: &Table, key: &ClientKey) -> Result<Option<String>, ApiError> {
        if let Some(task) = asked.task {
            return self.task(task).map(Some);
        }
        let Some(name) = asked.model else { return self.unnamed(table).map(Some) };
        match table.choose(name) {
            Some(choice) if choice.is_direct() && !key.may_choose_upstream => Err(ApiError::direct_not_allowed()),
            Some(_) => Ok(None),
            None => match name.strip_prefix(TASK) {
                Some(task) => self.task(task).map(Some),
                None => Err(Self::unknown(name, table)),
            },
        }
    }

    fn task(&self, task: &str) -> Result<String, ApiError> {
        let found = self.tasks.get(task).or_else(|| self.tasks.get(Self::DEFAULT));
        found.cloned().ok_or_else(|| ApiError::no_such_task(task, self.tasks.keys().map(String::as_str)))
    }

    /// What serves a request that names nothing.
    fn unnamed(&self, table: &Table) -> Result<String, ApiError> {
        if let Some(model) = self.tasks.get(Self::DEFAULT) {
            return Ok(model.clone());
        }
        let mut models = table.models();
        match (models.next(), models.next()) {
            (Some(only), None) => Ok(only.as_str().to_owned()),
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
