//! `[aliases]`: further names for models, so that clients keep the names that they know.

use std::collections::BTreeMap;

use crate::{
    models,
    problem::{Problem, did_you_mean},
    reader::Table,
    tasks::TASK_PREFIX,
    upstreams::Entry,
    value::{Text, is_model_name, quoted},
};

/// Stands at the end of a pattern for any further signs, or none.
const ANY: char = '*';
const EXPECTED: &str =
    "1 to 128 visible ASCII characters; a * at the end, and there alone, stands for any others, such as \"claude-*\"";

/// A further name, or a pattern of names, and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// As written: a name, or how names begin and `*`.
    pub name: String,
    /// The name of a model or an ensemble, or `task/` and a task.
    pub target: String,
}

impl Alias {
    /// How the names begin that it stands for, if it is a pattern.
    fn prefix(&self) -> Option<&str> {
        self.name.strip_suffix(ANY)
    }
}

/// The aliases, with distinct names. None of them is an alias of another one.
#[derive(Debug, Clone, Default)]
pub struct Aliases {
    exact: BTreeMap<String, Alias>,
    /// The longest first, so that the default, `*`, is the last.
    patterns: Vec<Alias>,
}

impl FromIterator<Alias> for Aliases {
    fn from_iter<T: IntoIterator<Item = Alias>>(all: T) -> Self {
        let (mut patterns, exact): (Vec<_>, Vec<_>) = all.into_iter().partition(|alias| alias.prefix().is_some());
        patterns.sort_by(|one, other| (other.name.len(), &one.name).cmp(&(one.name.len(), &other.name)));
        Self { exact: exact.into_iter().map(|alias| (alias.name.clone(), alias)).collect(), patterns }
    }
}

impl Aliases {
    /// Those that stand for `name`, the best first: the alias of this very name, then patterns, the longest first. A pattern stands for
    /// names that a model could have: 1 to 128 visible ASCII characters.
    pub fn matching(&self, name: &str) -> impl Iterator<Item = &Alias> {
        let is_like = |alias: &&Alias| alias.prefix().is_some_and(|prefix| name.starts_with(prefix));
        let patterns = self.patterns.iter().filter(move |alias| is_model_name(name) && is_like(alias));
        self.exact.get(name).into_iter().chain(patterns)
    }

    /// The aliases that are names, in alphabetical order.
    pub fn exact(&self) -> impl Iterator<Item = &Alias> {
        self.exact.values()
    }

    /// All of them: the names, in alphabetical order, and then the patterns, the longest first.
    pub fn iter(&self) -> impl Iterator<Item = &Alias> {
        self.exact().chain(&self.patterns)
    }

    /// Those that a key may be given by name. The default is not among them: `*` in a list of names would look like all.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|alias| alias.name.as_str()).filter(|name| *name != "*")
    }
}

/// The aliases, those with problems included: what names one of these is not blamed. `names` are those of models, ensembles and
/// tasks, in that form in which clients ask for them.
pub(crate) fn read(root: &mut Table<'_>, names: &[String], upstreams: &[Entry]) -> Aliases {
    let Some(mut table) = root.table("aliases") else { return Aliases::default() };
    let rest = table.take_rest();
    let mut aliases = Vec::new();
    let mut targets = Vec::new();
    for (name, item) in rest {
        if let Some(problem) = name_problem(&name, names, upstreams) {
            let problem = Problem { path: table.at(&name), ..problem };
            table.context.report(problem.value(quoted(&name)));
        }
        let target = item.text();
        aliases.push(Alias { name, target: target.as_ref().map_or_else(String::new, |target| target.value.clone()) });
        targets.extend(target);
    }
    for target in targets.iter().filter(|target| !names.contains(&target.value)) {
        refuse_target(target, names, &aliases);
    }
    aliases.into_iter().collect()
}

/// What is wrong with the name of an alias.
fn name_problem(name: &str, names: &[String], upstreams: &[Entry]) -> Option<Problem> {
    let problem = |fault: &str, expected: &str| Some(Problem::new("", fault, expected));
    if let Some((before, after)) = name.split_once(ANY)
        && !after.is_empty()
    {
        return Some(problem("has a * before its end", EXPECTED)?.hint(format!("write \"{before}*\"")));
    }
    if !is_model_name(name) {
        return problem("is not the name of an alias", EXPECTED);
    }
    if let Some((fault, expected)) = models::reserved(name, upstreams) {
        return problem(fault, &expected);
    }
    if names.iter().any(|known| known == name) {
        let hint = "remove the alias: the model of this name answers".to_owned();
        return Some(problem("is the name of a model", "a name that no model has")?.hint(hint));
    }
    None
}

fn refuse_target(target: &Text<'_>, names: &[String], aliases: &[Alias]) {
    let expected = format!("the name of one of [[models]] or [[ensembles]], or {TASK_PREFIX} and one of [tasks]");
    if let Some(alias) = aliases.iter().find(|alias| alias.name == target.value) {
        let hint = names.contains(&alias.target).then(|| format!("write \"{}\"", alias.target));
        target.refuse::<()>("is an alias itself", expected, hint);
    } else {
        let hint = did_you_mean(&target.value, names.iter().map(String::as_str));
        target.refuse::<()>("is not the name of a model", expected, hint);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn aliases(names: &[&str]) -> Aliases {
        names.iter().map(|name| Alias { name: (*name).to_owned(), target: format!("for {name}") }).collect()
    }

    fn best<'a>(aliases: &'a Aliases, name: &str) -> Option<&'a str> {
        aliases.matching(name).next().map(|alias| alias.name.as_str())
    }

    #[test]
    fn the_exact_name_wins_then_the_longest_pattern_then_the_default() {
        let all = aliases(&["*", "claude-*", "gpt-4o", "claude-haiku-*", "gpt-4o*"]);
        for (name, wins) in [
            ("gpt-4o", "gpt-4o"),
            ("gpt-4o-mini", "gpt-4o*"),
            ("claude-haiku-4-5", "claude-haiku-*"),
            ("claude-opus-4-5", "claude-*"),
            ("claude-", "claude-*"),
            ("claude", "*"),
            ("Claude-opus", "*"),
        ] {
            assert_eq!(best(&all, name), Some(wins), "{name}");
        }
        let listed: Vec<_> = all.iter().map(|alias| alias.name.as_str()).collect();
        assert_eq!(listed, ["gpt-4o", "claude-haiku-*", "claude-*", "gpt-4o*", "*"]);
    }

    #[test]
    fn without_a_default_other_names_stand_for_nothing() {
        let some = aliases(&["claude-*", "gpt-4o"]);
        assert_eq!(best(&some, "gpt-4"), None);
        assert_eq!(best(&some, "claude"), None);
    }

    #[test]
    fn a_pattern_stands_for_nothing_that_no_model_could_be_called() {
        let all = aliases(&["*"]);
        for name in ["", "two words", "gpt\n4", "gpt-4ö", &"m".repeat(129)] {
            assert_eq!(best(&all, name), None, "{name:?}");
        }
        assert_eq!(best(&all, &"m".repeat(128)), Some("*"));
    }

    proptest! {
        /// Against the words of the rule: of all aliases that stand for a name, in whatever order they are written, none that comes later
        /// is exact, and none is longer.
        #[test]
        fn the_best_alias_is_exact_or_the_longest_that_begins_as_the_name_does(
            names in proptest::collection::hash_set("[ab]{0,4}\\*?", 1..12),
            name in "[ab]{1,5}",
        ) {
            let names: Vec<_> = names.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
            let all = aliases(&names);
            let stands = |alias: &&&str| alias.strip_suffix('*').is_some_and(|prefix| name.starts_with(prefix));
            let longest = names.iter().filter(stands).max_by_key(|alias| alias.len());
            let expected = names.iter().find(|alias| **alias == name).or(longest);
            prop_assert_eq!(best(&all, &name), expected.copied());
            let found: Vec<_> = all.matching(&name).collect();
            prop_assert!(found.windows(2).all(|pair| pair[0].prefix().is_none() || pair[0].name.len() > pair[1].name.len()));
        }
    }
}
