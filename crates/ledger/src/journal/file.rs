//! The files of the journal: numbered from 0 in a folder that is locked for as long as its process lives.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use super::{Durability, JournalSettings, Position};

/// Begins each file. The last byte is the version of the format.
pub(super) const HEADER: &[u8; 8] = b"llrjrnl\x01";
const ENDING: &str = ".journal";
const LOCK: &str = "lock";
/// The ending of what could not be read and is kept for whoever looks into it.
const DAMAGED: &str = "damaged";

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
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK))?;
        lock.try_lock()?;
        Ok(Self { path, _lock: lock })
    }

    /// Takes over a folder that is there; `None` if its process lives, or it was never one of ours.
    fn adopt(path: PathBuf) -> io::Result<Option<Self>> {
        let lock = match OpenOptions::new().write(true).open(path.join(LOCK)) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { path, _lock: lock })),
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

    /// Forces the names of its files to the disk: a file whose name is not there is lost with its contents.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// Removes a file, or, if not all of it could be read, keeps it under another name.
    pub(crate) fn retire_file(&self, number: u64, is_damaged: bool) -> io::Result<()> {
        let path = self.file(number);
        let retired = if is_damaged { fs::rename(&path, path.with_extension(DAMAGED)) } else { fs::remove_file(&path) };
        match retired {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            retired => retired,
        }
    }

    /// Removes the folder, whose entries are in the store. Its files go in order, and the lock last: whoever finds a part of
    /// them finds the newest, and the ends of calls stand behind their intents.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for number in self.numbers()? {
            self.retire_file(number, false)?;
        }
        fs::remove_file(self.path.join(LOCK))?;
        fs::remove_dir(&self.path)
    }

    /// Keeps the folder under a name by which it is not found again.
    pub(crate) fn set_aside(&self) -> io::Result<PathBuf> {
        let path = self.path.with_extension(DAMAGED);
        fs::rename(&self.path, &path)?;
        Ok(path)
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The folders whose processes are gone. One that cannot be read is left alone, and logged.
pub(crate) fn orphans(parent: &Path) -> io::Result<Vec<Folder>> {
    let mut orphans = Vec::new();
    for entry in fs::read_dir(parent)? {
        let path = entry?.path();
        if !is_of_a_writer(&path) {
            continue;
        }
        match Folder::adopt(path.clone()) {
            Ok(folder) => orphans.extend(folder),
            Err(error) => {
                tracing::warn!(folder = %path.display(), %error, "a journal of an earlier process cannot be read");
            }
        }
    }
    Ok(orphans)
}

/// Whether it has the name that [`Folder::create`] gives. Nothing else is ever touched.
fn is_of_a_writer(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.len() == 16 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Files that may hold bytes which are not on the disk.
pub(super) type Unsynced = Arc<Mutex<Vec<Arc<File>>>>;

/// The files of this process, the newest of which is written to.
pub(super) struct Files {
    folder: Arc<Folder>,
    durability: Durability,
    file_bytes: u64,
    unsynced: Unsynced,
    number: u64,
    file: Arc<File>,
    bytes: u64,
    /// Whether it ends in bytes that were not written whole and could not be cut off: nothing is to follow them.
    is_broken: bool,
}

impl Files {
    pub(super) fn create(folder: Arc<Folder>, settings: &JournalSettings, unsynced: Unsynced) -> io::Result<Self> {
        let JournalSettings { durability, file_bytes, .. } = *settings;
        let file = create(&folder, 0, &unsynced)?;
        folder.sync()?;
        let bytes = HEADER.len() as u64;
        Ok(Self { folder, durability, file_bytes, unsynced, number: 0, file, bytes, is_broken: false })
    }

    /// Where they are.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes all of the bytes, or none of them. Returns the position after them.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<Position> {
        if self.bytes >= self.file_bytes || self.is_broken {
            self.begin_next()?;
        }
        let mut file = &*self.file;
        let written = file.write_all(bytes).and_then(|()| match self.durability {
            Durability::Process | Durability::Store => Ok(()),
            Durability::Disk => file.sync_data(),
        });
        if let Err(error) = written {
            // What is there of them would hide what comes after.
            self.is_broken = self.file.set_len(self.bytes).is_err();
            return Err(error);
        }
        self.bytes += bytes.len() as u64;
        Ok(Position { file: self.number, bytes: self.bytes })
    }

    /// Begins the next file. A number that could not be used once is passed over.
    fn begin_next(&mut self) -> io::Result<()> {
        self.number += 1;
        match create(&self.folder, self.number, &self.unsynced) {
            Ok(file) => {
                if self.durability == Durability::Disk {
                    self.folder.sync()?;
                }
                (self.file, self.bytes, self.is_broken) = (file, HEADER.len() as u64, false);
                Ok(())
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::AlreadyExists {
                    self.number -= 1;
                }
                Err(error)
            }
        }
    }
}

fn create(folder: &Folder, number: u64, unsynced: &Unsynced) -> io::Result<Arc<File>> {
    let path = folder.file(number);
    let mut file = OpenOptions::new().append(true).create_new(true).open(&path)?;
    if let Err(error) = file.write_all(HEADER) {
        drop(fs::remove_file(&path));
        return Err(error);
    }
    let file = Arc::new(file);
    unsynced.lock().push(file.clone());
    Ok(file)
}
