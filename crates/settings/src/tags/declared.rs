//! Tags as a file declares them, and as its keys have them.

use std::collections::BTreeMap;

use super::{MOST, Tag, TagSet, Tags, VALUE, is_value};
use crate::{
    problem::Problem,
    reader::Table,
    value::{Item, Text},
};

const VALUES: &str = "an array of values, such as [\"search\", \"chat\"], or nothing for any";

/// The declared tags.
pub(crate) fn read(root: &mut Table<'_>) -> Tags {
    let mut tags = Tags::default();
    for mut table in root.tables("tags").unwrap_or_default() {
        let path = table.at("name");
        let name = table.required("name", "what requests call it, such as \"feature\"").and_then(Text::name);
        let (values, is_required) = (values(&mut table), table.flag("required", false));
        if let Some(name) = name {
            let shown = format!("{name:?}");
            if tags.0.insert(name, Tag { values, is_required }).is_some() {
                let problem = Problem::new(path, "is the name of another tag too", "one [[tags]] for each name");
                table.context.report(problem.value(shown));
            }
        }
        table.finish();
    }
    if tags.0.len() > MOST {
        let problem = Problem::new("tags", "are too many", format!("{MOST} tags at most"));
        root.context.report(problem.hint("every row of the ledger carries them"));
    }
    tags
}

fn values(table: &mut Table<'_>) -> Option<Vec<String>> {
    let items = table.take("values")?.list(VALUES)?;
    if items.is_empty() {
        table.context.report(Problem::new(table.at("values"), "is empty", VALUES));
    }
    Some(items.into_iter().filter_map(Item::text).filter_map(|text| value(&text)).collect())
}

fn value(text: &Text<'_>) -> Option<String> {
    if is_value(&text.value) { Some(text.value.clone()) } else { text.refuse("is no value of a tag", VALUE, None) }
}

/// `tags` of a key: what its requests have that say nothing else. Against `declared`, where what is declared is known.
pub(crate) fn read_defaults(table: &mut Table<'_>, declared: Option<&Tags>) -> TagSet {
    let mut tags = BTreeMap::new();
    let Some(mut table) = table.table("tags") else { return TagSet::default() };
    for (name, item) in table.take_rest() {
        let Some(text) = item.text() else { continue };
        let Some(value) = value(&text) else { continue };
        if let Some(error) = declared.and_then(|declared| declared.check(&name, &value).err()) {
            text.refuse::<()>("does not fit [[tags]]", error.to_string(), None);
        }
        tags.insert(name, value);
    }
    TagSet(tags)
}
