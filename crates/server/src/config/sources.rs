//! What a configuration was read from, to notice when it changes.

use std::{collections::BTreeMap, fmt, fs, path::Path, path::PathBuf};

use sha2::{Digest, Sha256};

type Mark = [u8; 32];

/// Marks of the file's text and of the files with secrets that it names, as they were when the configuration was read.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Sources {
    text: Mark,
    /// `None` for a file that could not be read.
    secrets: BTreeMap<PathBuf, Option<Mark>>,
}

impl Sources {
    pub(super) fn new(text: &str, secrets: BTreeMap<PathBuf, Option<Mark>>) -> Self {
        Self { text: mark(text), secrets }
    }

    /// Whether any of them says something else by now, where `path` is the configuration's file. A file that is gone is no
    /// change: it may be about to be replaced.
    pub(crate) fn have_changed(&self, path: &Path) -> bool {
        let differs = |path: &Path, was: Option<Mark>| read(path).is_some_and(|now| Some(now) != was);
        differs(path, Some(self.text)) || self.secrets.iter().any(|(path, was)| differs(path, *was))
    }

    /// The secrets that differ in `newer`, a line each, which says nothing of what they are.
    pub(crate) fn changes(&self, newer: &Self) -> Vec<String> {
        let differs = |(path, now): &(&PathBuf, &Option<Mark>)| self.secrets.get(*path).is_some_and(|was| was != *now);
        newer
            .secrets
            .iter()
            .filter(differs)
            .map(|(path, _)| format!("contents of {}: changed", path.display()))
            .collect()
    }
}

impl fmt::Debug for Sources {
    /// Without the marks: that of a short secret could be guessed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("secrets", &self.secrets.keys()).finish_non_exhaustive()
    }
}

/// The mark of a text.
pub(super) fn mark(text: impl AsRef<[u8]>) -> Mark {
    Sha256::digest(text).into()
}

fn read(path: &Path) -> Option<Mark> {
    fs::read(path).ok().map(mark)
}
