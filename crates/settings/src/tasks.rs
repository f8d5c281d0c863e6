//! `[tasks]`: names for purposes, so that applications need not know models.

use std::collections::BTreeMap;

use crate::{
    problem::{Problem, did_you_mean},
    reader::Table,
};

/// How a task is asked for as a model: by this and its name.
pub const TASK_PREFIX: &str = "task/";

/// What each task asks for, which is one of `names`.
pub(crate) fn read(root: &mut Table<'_>, names: &[String]) -> BTreeMap<String, String> {
    let Some(mut table) = root.table("tasks") else { return BTreeMap::new() };
    let mut tasks = BTreeMap::new();
    for (task, item) in table.take_rest() {
        let is_plain = task.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !is_plain || task.is_empty() || task.len() > 64 {
            let expected = "1 to 64 letters, digits, dots, dashes and underscores";
            table.context.report(Problem::new(table.at(&task), "is not a task's name", expected));
        }
        let model = item.text();
        if let Some(model) = model.as_ref().filter(|model| !names.contains(&model.value)) {
            let hint = did_you_mean(&model.value, names.iter().map(String::as_str));
            let expected = "the name of one of [[models]] or [[ensembles]]";
            model.refuse::<()>("is not the name of a model", expected, hint);
        }
        tasks.insert(task, model.map_or_else(String::new, |model| model.value));
    }
    tasks
}
