//! What is left out of a request, for the header that says so.

/// Names of fields, of types of tools and of types of items, each once and in the order in which they were met.
#[derive(Debug, Default)]
pub(super) struct Dropped(Vec<&'static str>);

impl Dropped {
    /// Adds a name.
    pub(super) fn name(&mut self, name: &'static str) {
        if !self.0.contains(&name) {
            self.0.push(name);
        }
    }

    /// Adds the name that `table` has for `kind`, or `otherwise`: a text of the client's own stands in no header.
    pub(super) fn name_in(&mut self, table: &[&'static str], kind: &str, otherwise: &'static str) {
        self.name(table.iter().find(|known| **known == kind).copied().unwrap_or(otherwise));
    }

    /// All of them.
    pub(super) fn into_names(self) -> Vec<String> {
        self.0.into_iter().map(str::to_owned).collect()
    }
}
