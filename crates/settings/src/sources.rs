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
    pub(crate) fn new(text: impl AsRef<[u8]>, secrets: BTreeMap<PathBuf, Option<Mark>>) -> Self {
        Self { text: mark(text), secrets }
    }

    /// Whether any of them says something else by now, where `path` is the configuration's file. A file that is gone is no
    /// change: it may be about to be replaced.
    pub fn have_changed(&self, path: &Path) -> bool {
        let differs = |path: &Path, was: Option<Mark>| read(path).is_some_and(|now| Some(now) != was);
        differs(path, Some(self.text)) || self.secrets.iter().any(|(path, was)| differs(path, *was))
    }

    /// The secrets that differ in `newer`, a line each, which says nothing of what they are.
    pub fn changes(&self, newer: &Self) -> Vec<String> {
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
pub(crate) fn mark(text: impl AsRef<[u8]>) -> Mark {
    Sha256::digest(text).into()
}

fn read(path: &Path) -> Option<Mark> {
    fs::read(path).ok().map(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_secret_is_reported_by_its_file_alone() {
        let sources = |secret: &str| Sources::new("text", [("folder/key".into(), Some(mark(secret)))].into());
        let (old, new) = (sources("sk-old"), sources("sk-new"));
        assert_eq!(old.changes(&new), ["contents of folder/key: changed"]);
        assert_eq!(old.changes(&old), Vec::<String>::new());
        assert_eq!(format!("{old:?}"), "Sources { secrets: [\"folder/key\"], .. }");
    }

    #[test]
    fn what_is_gone_has_not_changed() {
        let folder = std::env::temp_dir().join(format!("llm-router-sources-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let (file, secret) = (folder.join("config.toml"), folder.join("key"));
        fs::write(&file, "text").expect("written");
        let sources = Sources::new("text", [(secret.clone(), Some(mark("key"))), (folder.join("later"), None)].into());
        assert!(!sources.have_changed(&file), "a secret is gone");
        fs::write(&secret, "key").expect("written");
        assert!(!sources.have_changed(&file));
        fs::write(&secret, "other").expect("written");
        assert!(sources.have_changed(&file));
        fs::remove_file(&secret).expect("removed");
        fs::write(folder.join("later"), "there now").expect("written");
        assert!(sources.have_changed(&file));
        fs::remove_file(folder.join("later")).expect("removed");
        fs::write(&file, "other text").expect("written");
        assert!(sources.have_changed(&file));
        fs::remove_dir_all(&folder).expect("removed");
        assert!(!sources.have_changed(&file));
    }
}
