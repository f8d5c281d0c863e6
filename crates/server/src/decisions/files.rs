//! The files of the decision log: lines of JSON, a new file when one is full or old, and only so many of them.
//!
//! A file is named by the moment at which it begins and never renamed, so that programs which follow or copy it keep
//! the right one. Its first line holds the version of the format and the configuration that was in force.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
};

use serde::Serialize;
use settings::DecisionLog;
use tokio::time::Instant;

use crate::clock;

/// The version of the lines.
const FORMAT: u32 = 1;
const PREFIX: &str = "decisions-";
const ENDING: &str = ".jsonl";

/// What the first line of a file says.
#[derive(Serialize)]
struct Head<'a> {
    format: u32,
    started_ts: f64,
    config_version: &'a str,
}

/// The files, the newest of which is written to.
pub(super) struct Files {
    settings: DecisionLog,
    current: Current,
}

/// The file that is written to.
struct Current {
    file: File,
    path: PathBuf,
    since: Instant,
    /// Bytes that are known to be whole lines.
    bytes: u64,
    /// Of these, the first line.
    head: u64,
}

impl Files {
    /// Begins the first file; the folder is made if it is not there.
    pub(super) fn open(settings: DecisionLog, config_version: &str) -> io::Result<Self> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", settings.folder.display()));
        fs::create_dir_all(&settings.folder).map_err(named)?;
        let current = Current::begin(&settings, config_version).map_err(named)?;
        let files = Self { settings, current };
        files.prune();
        Ok(files)
    }

    /// Files of which the first one is a device.
    #[cfg(test)]
    pub(super) fn onto(device: &std::path::Path, settings: DecisionLog) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).open(device)?;
        let current = Current { file, path: PathBuf::new(), since: Instant::now(), bytes: 0, head: 0 };
        Ok(Self { settings, current })
    }

    /// How many bytes of whole lines belong into the current file: none if it is old or the first line would not fit.
    pub(super) fn fitting(&self, lines: &[u8]) -> usize {
        let current = &self.current;
        let is_used = current.bytes > current.head;
        if is_used && current.since.elapsed() >= self.settings.max_file_age {
            return 0;
        }
        let room = self.settings.max_file_bytes.saturating_sub(current.bytes);
        match usize::try_from(room) {
            Ok(room) if room < lines.len() => memchr::memrchr(b'\n', &lines[..room]).map_or(0, |last| last + 1),
            _ => lines.len(),
        }
    }

    /// Begins the next file, unless this one has no records.
    pub(super) fn rotate(&mut self, config_version: &str) -> io::Result<()> {
        if self.current.bytes == self.current.head {
            return Ok(());
        }
        self.current = Current::begin(&self.settings, config_version)?;
        self.prune();
        Ok(())
    }

    /// Writes whole lines, or none of them.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let current = &mut self.current;
        let written = current.file.write_all(lines);
        if written.is_err() {
            // Half a line would spoil the next one. If it cannot be cut off either, readers skip it.
            drop(current.file.set_len(current.bytes));
        } else {
            current.bytes += lines.len() as u64;
        }
        written
    }

    /// Removes the oldest files beyond those that are kept. One that cannot be removed is tried again with the next file.
    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.settings.folder) else { return };
        let is_ours = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let stamp = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(ENDING));
            stamp.is_some_and(|stamp| !stamp.is_empty() && stamp.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let mut ours: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_ours).collect();
        ours.sort();
        let beyond = ours.len().saturating_sub(self.settings.keep_files);
        for old in &ours[..beyond] {
            drop(fs::remove_file(old));
        }
    }
}

/// Nothing is left of a file without records, or restarts would push out those that have some.
impl Drop for Files {
    fn drop(&mut self) {
        if self.current.bytes == self.current.head {
            drop(fs::remove_file(&self.current.path));
        }
    }
}

impl Current {
    fn begin(settings: &DecisionLog, config_version: &str) -> io::Result<Self> {
        let (mut file, path) = create(settings)?;
        let head = Head { format: FORMAT, started_ts: clock::unix_seconds(), config_version };
        let mut line = serde_json::to_vec(&head).unwrap_or_default();
        line.push(b'\n');
        if let Err(error) = file.write_all(&line) {
            drop(fs::remove_file(&path));
            return Err(error);
        }
        let bytes = line.len() as u64;
        Ok(Self { file, path, since: Instant::now(), bytes, head: bytes })
    }
}

/// Makes a file that was not there, named by this millisecond or the next one that is free.
fn create(settings: &DecisionLog) -> io::Result<(File, PathBuf)> {
    /// Files that begin in one millisecond.
    const TRIES: u64 = 1000;
    let now = clock::unix_millis();
    let mut outcome = Err(io::Error::from(io::ErrorKind::AlreadyExists));
    for stamp in now..now + TRIES {
        let path = settings.folder.join(format!("{PREFIX}{stamp:013}{ENDING}"));
        outcome = OpenOptions::new().append(true).create_new(true).open(&path).map(|file| (file, path));
        let is_taken = outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists);
        if !is_taken {
            break;
        }
    }
    outcome
}
