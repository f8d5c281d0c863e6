//! `[[tags]]`: what requests may say that they are for, so that spend can be told apart by it.
//!
//! Only declared names are taken: a name that was misspelt would be a row of its own in every report, and names from
//! clients would have no end.

mod declared;

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use crate::value::any_of;
pub(crate) use declared::{read, read_defaults};

/// Most tags that may be declared.
const MOST: usize = 16;
/// The longest value, in bytes.
const LONGEST_VALUE: usize = 64;
const VALUE: &str = "1 to 64 letters, digits and . _ - : / @ +; not first: - @ +";

/// A tag that requests may carry.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tag {
    /// The only values that it may have; `None` for any.
    values: Option<Vec<String>>,
    /// Whether a request without it is refused.
    is_required: bool,
}

/// The tags that a configuration declares, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags(BTreeMap<String, Tag>);

/// What a request is tagged with: values by the names of tags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagSet(BTreeMap<String, String>);

/// Why tags are refused. What clients sent is shown shortened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// A name that is not declared.
    #[error("the tag {name:?} is not declared: {}", .declared.as_deref().map_or_else(|| "no tags are".to_owned(), |names| format!("there are {names}")))]
    Undeclared {
        /// The name.
        name: String,
        /// Those that are declared, if any are.
        declared: Option<String>,
    },
    /// It is no pair.
    #[error("{0:?} is not name=value: write tags as feature=search,env=prod")]
    NotAPair(String),
    /// A value that is no value of any tag.
    #[error("{value:?} is no value of the tag {name:?}: {VALUE}")]
    Value {
        /// The tag.
        name: String,
        /// The value.
        value: String,
    },
    /// A value that its tag does not list.
    #[error("{value:?} is no value of the tag {name:?}: it may be {known}")]
    Unlisted {
        /// The tag.
        name: String,
        /// The value.
        value: String,
        /// Those that it lists.
        known: String,
    },
    /// Two values for one tag.
    #[error("the tag {0:?} is given twice")]
    Twice(String),
    /// A value that is no string.
    #[error("the tag {0:?} must be a string")]
    NotAString(String),
    /// A tag that every request needs.
    #[error("the tag {0:?} is required: send it in the header x-llm-router-tags, or in 'metadata'")]
    Missing(String),
}

impl Tags {
    /// Whether none is declared.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The declared names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Reads `name=value` pairs with commas in between, each with a declared name.
    ///
    /// # Errors
    /// If it is something else.
    pub fn pairs(&self, text: &str) -> Result<TagSet, TagError> {
        let mut tags = TagSet::default();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| TagError::NotAPair(shown(pair)))?;
            self.add(&mut tags, name.trim(), value.trim())?;
        }
        Ok(tags)
    }

    /// Reads the members of an object, with `None` for a value that is no string: names that are not declared say
    /// something else to somebody else.
    ///
    /// # Errors
    /// If a declared name has no value that it may have.
    pub fn members<T: AsRef<str>>(
        &self,
        members: impl IntoIterator<Item = (T, Option<T>)>,
    ) -> Result<TagSet, TagError> {
        let mut tags = TagSet::default();
        for (name, value) in members {
            let name = name.as_ref();
            if self.0.contains_key(name) {
                let value = value.ok_or_else(|| TagError::NotAString(name.to_owned()))?;
                self.add(&mut tags, name, value.as_ref())?;
            }
        }
        Ok(tags)
    }

    /// What a request is tagged with, in the form of the ledger: `first` wins over those after it. `None` without any.
    ///
    /// # Errors
    /// If a required tag is missing.
    pub fn resolve(&self, sources: [&TagSet; 3]) -> Result<Option<Arc<str>>, TagError> {
        let mut text = String::new();
        for (name, tag) in &self.0 {
            match sources.iter().find_map(|tags| tags.0.get(name)) {
                Some(value) => {
                    let comma = if text.is_empty() { "" } else { "," };
                    // Writing to a string does not fail.
                    let _ = write!(text, "{comma}{name}={value}");
                }
                None if tag.is_required => return Err(TagError::Missing(name.clone())),
                None => {}
            }
        }
        Ok((!text.is_empty()).then(|| text.into()))
    }

    /// Those of `tags` that are declared with their values: what is kept elsewhere may be older than the declaration.
    #[must_use]
    pub fn known(&self, tags: &TagSet) -> TagSet {
        let known = tags.0.iter().filter(|(name, value)| self.check(name, value).is_ok());
        TagSet(known.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    fn add(&self, tags: &mut TagSet, name: &str, value: &str) -> Result<(), TagError> {
        self.check(name, value)?;
        match tags.0.insert(name.to_owned(), value.to_owned()) {
            Some(_) => Err(TagError::Twice(name.to_owned())),
            None => Ok(()),
        }
    }

    /// Whether a request may have this.
    ///
    /// # Errors
    /// If it may not.
    pub fn check(&self, name: &str, value: &str) -> Result<(), TagError> {
        let tag = self.declared(name)?;
        if !is_value(value) {
            return Err(TagError::Value { name: name.to_owned(), value: shown(value) });
        }
        match &tag.values {
            Some(values) if values.iter().all(|known| known != value) => {
                let known = any_of(&values.iter().map(String::as_str).collect::<Vec<_>>());
                Err(TagError::Unlisted { name: name.to_owned(), value: shown(value), known })
            }
            _ => Ok(()),
        }
    }
}

impl Tags {
    /// Whether a name is declared.
    ///
    /// # Errors
    /// With those that are, if it is not.
    pub fn check_name(&self, name: &str) -> Result<(), TagError> {
        self.declared(name).map(drop)
    }

    fn declared(&self, name: &str) -> Result<&Tag, TagError> {
        self.0.get(name).ok_or_else(|| {
            let names: Vec<_> = self.names().collect();
            let declared = (!names.is_empty()).then(|| names.join(", "));
            TagError::Undeclared { name: shown(name), declared }
        })
    }
}

impl TagSet {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Names and values in what [`Tags::resolve`] made, in the order of the names.
pub fn tag_pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(',').filter_map(|pair| pair.split_once('='))
}

/// Without commas and `=`, so that the form of the ledger has one reading, and nothing that a spreadsheet takes for a formula.
fn is_value(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/@+".contains(&byte);
    (1..=LONGEST_VALUE).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with(['-', '@', '+'])
}

/// As much of a client's own text as an error repeats.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests;
