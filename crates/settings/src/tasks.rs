//! `[tasks]`: names for purposes, so that applications need not know models.

use std::collections::BTreeMap;

use router::Ensemble;

use crate::{
    problem::{Problem, did_you_mean},
    reader::Table,
    types::Model,
};

/// How a task is asked for as a model: by this and its name.
pub const TASK_PREFIX: &str = "task/";

pub(crate) fn read(root: &mut Table<'_>, models: &[Model], ensembles: &[Ensemble]) -> BTreeMap<String, String> {
    let Some(mut table) = root.table("tasks") else { return BTreeMap::new() };
    let mut tasks = BTreeMap::new();
    for (task, item) in table.take_rest() {
        let is_plain = task.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !is_plain || task.is_empty() || task.len() > 64 {
            let expected = "1 to 64 letters, digits, dots, dashes and underscores";
            table.context.report(Problem::new(table.at(&task), "is not a task's name", expected));
        }
        let Some(model) = item.text() else { continue };
        let ensembles = ensembles.iter().map(|ensemble| ensemble.name.as_str());
        let mut names = models.iter().map(|model| model.name.as_str()).chain(ensembles);
        if names.clone().any(|known| known == model.value) {
            tasks.insert(task, model.value);
            continue;
        }
        let hint = did_you_mean(&model.value, names.by_ref());
        let expected = "the name of one of [[models]] or [[ensembles]]";
        model.refuse::<()>("is not the name of a model", expected, hint);
    }
    tasks
}
