//! `[[teams]]`: what all keys of a team may use together.

use crate::{
    budgets, limits,
    problem::{Problem, did_you_mean},
    reader::Table,
    types::{Key, Team},
    value::Text,
};

/// The teams that have limits or budgets of their own.
pub(crate) fn read(root: &mut Table<'_>, keys: &[Key]) -> Vec<Team> {
    let mut teams: Vec<Team> = Vec::new();
    for mut table in root.tables("teams").unwrap_or_default() {
        let path = table.at("id");
        let id = table.required("id", "the team of a key").and_then(|text| known(text, keys));
        let (limits, budgets) = (limits::read(&mut table), budgets::read(&mut table));
        if let Some(id) = id {
            if teams.iter().any(|team| team.id == id) {
                let problem = Problem::new(path, "is the id of another team too", "one [[teams]] for each team");
                table.context.report(problem.value(format!("{id:?}")));
            }
            teams.push(Team { id, limits, budgets });
        }
        table.finish();
    }
    teams
}

/// A team without keys is more likely a slip of the pen, and its limits would hold for nobody. Where keys have problems of
/// their own, nothing is known of their teams.
fn known(text: Text<'_>, keys: &[Key]) -> Option<String> {
    if keys.is_empty() || keys.iter().any(|key| key.team == text.value) {
        return text.name();
    }
    let hint = did_you_mean(&text.value, keys.iter().map(|key| key.team.as_str()));
    text.refuse("is the team of no key", "the team of one of [[keys]]", hint)
}
