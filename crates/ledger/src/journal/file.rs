//! The files of the journal: numbered from 0 in a folder that is locked for as long as its process lives.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use super::{Durability, Place};

/// A file that has grown to this is followed by the next one.
const FILE_BYTES: u64 = 16 << 20;
/// Begins each file. The last byte is the version of the format.
pub(super) const HEADER: &[u8; 8] = b"llrjrnl\x01";
const ENDING: &str = ".journal";
const LOCK: &str = "lock";

/// The folder of a process. The lock on it ends with the process.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder of the process that `writer` identifies.
    pub(super) fn create(parent: &Path, writer: u64) -> io::Result<Self> {
        let path = parent.join(format!("{writer:016x}"));
        fs::create_dir_all(&path)?;
        let lock = Self::lock(&path)?.ok_or_else(|| io::Error::new(io::ErrorKind::WouldBlock, "it is in use"))?;
        Ok(Self { path, _lock: lock })
    }

    /// Takes the lock on a folder; `None` if its process lives.
    fn lock(path: &Path) -> io::Result<Option<File>> {
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    pub(super) fn file(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:016}{ENDING}"))
    }

    /// The numbers of its files, ascending.
    pub(crate) fn numbers(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let stem = name.to_str().and_then(|name| name.strip_suffix(ENDING));
            numbers.extend(stem.and_then(|stem| stem.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Removes a file.
    pub(crate) fn remove_file(&self, number: u64) -> io::Result<()> {
        fs::remove_file(self.file(number))
    }

    /// Removes the folder. Its files are on record elsewhere.
    pub(crate) fn remove(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.path)
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The folders whose processes are gone. A folder that cannot be read is left alone, and logged.
pub(crate) fn orphans(parent: &Path) -> io::Result<Vec<Folder>> {
    let mut orphans = Vec::new();
    for entry in fs::read_dir(parent)? {
        let path = entry?.path();
        let is_writer =
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| u64::from_str_radix(name, 16).is_ok());
        if !is_writer || !path.is_dir() {
            continue;
        }
        match Folder::lock(&path) {
            Ok(Some(lock)) => orphans.push(Folder { path, _lock: lock }),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(folder = %path.display(), %error, "a journal of an earlier process cannot be read");
            }
        }
    }
    Ok(orphans)
}

/// Files that may hold bytes which are not on the disk.
pub(super) type Unsynced = Arc<Mutex<Vec<Arc<File>>>>;

/// The files of this process, the newest of which is written to.
pub(super) struct Files {
    folder: Arc<Folder>,
    durability: Durability,
    unsynced: Unsynced,
    number: u64,
    file: Arc<File>,
    bytes: u64,
}

impl Files {
    pub(super) fn create(folder: Arc<Folder>, durability: Durability, unsynced: Unsynced) -> io::Result<Self> {
        let file = create(&folder.file(0), &unsynced)?;
        Ok(Self { folder, durability, unsynced, number: 0, file, bytes: HEADER.len() as u64 })
    }

    /// Writes all of the bytes, or none of them. Returns the place after them.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<Place> {
        if self.bytes >= FILE_BYTES {
            self.file = create(&self.folder.file(self.number + 1), &self.unsynced)?;
            self.number += 1;
            self.bytes = HEADER.len() as u64;
        }
        let mut file = &*self.file;
        let written = file.write_all(bytes).and_then(|()| match self.durability {
            Durability::Process => Ok(()),
            Durability::Disk => file.sync_data(),
        });
        if let Err(error) = written {
            // What is there of them would hide what comes after.
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes += bytes.len() as u64;
        Ok(Place { file: self.number, bytes: self.bytes })
    }
}

fn create(path: &Path, unsynced: &Unsynced) -> io::Result<Arc<File>> {
    let mut file = OpenOptions::new().append(true).create_new(true).open(path)?;
    if let Err(error) = file.write_all(HEADER) {
        drop(fs::remove_file(path));
        return Err(error);
    }
    let file = Arc::new(file);
    unsynced.lock().push(file.clone());
    Ok(file)
}
