//! `[tasks]`: names for purposes, so that applications need not know models.

use std::collections::BTreeMap;

use super::{
    problem::{Problem, did_you_mean},
    reader::Table,
    types::Model,
};

pub(super) fn read(root: &mut Table<'_>, models: &[Model]) -> BTreeMap<String, String> {
    let Some(mut table) = root.table("tasks") else { return BTreeMap::new() };
    let mut tasks = BTreeMap::new();
    for (task, item) in table.take_rest() {
        let is_plain = task.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !is_plain || task.is_empty() || task.len() > 64 {
            let expected = "1 to 64 letters, digits, dots, dashes and underscores";
            table.context.report(Problem::new(table.at(&task), "is not a task's name", expected));
        }
        let Some(model) = item.text() else { continue };
        if models.iter().any(|known| known.name.as_str() == model.value) {
            tasks.insert(task, model.value);
            continue;
        }
        let hint = did_you_mean(&model.value, models.iter().map(|known| known.name.as_str()));
        model.refuse::<()>("is not the name of a model", "the name of one of [[models]]", hint);
    }
    tasks
}
