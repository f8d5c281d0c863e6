//! Reads a journal from its beginning, while it is written or after its process has died.

use std::{
    fs::File,
    io::{self, Read as _},
};

use super::{
    Folder, Position,
    file::HEADER,
    frame::{self, Frame},
};
use crate::entry::Entry;

/// Bytes that are read at once.
const READ_BYTES: u64 = 1 << 20;

/// Reads entries in the order in which they were written.
pub(crate) struct Reader {
    /// The file that is read; `None` before it is opened.
    file: Option<File>,
    /// Where the next byte is read.
    at: Position,
    /// Bytes that were read, of which those before `handed_out` were handed out.
    bytes: Vec<u8>,
    handed_out: usize,
    /// Bytes that could not be read, since the last chunk.
    skipped: u64,
    /// The numbers of the files that they stand in.
    damaged: Vec<u64>,
}

/// Whole frames.
pub(crate) struct Chunk<'a> {
    bytes: &'a [u8],
    /// The number of the file that they stand in.
    pub(crate) file: u64,
    /// Bytes before them that could not be read.
    skipped: u64,
}

impl<'a> Chunk<'a> {
    /// Its size in the file, that of what could not be read before it included.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.len() as u64 + self.skipped
    }

    /// Its entries, each with its payload; `None` for one that cannot be understood.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Option<(Entry<'a>, &'a [u8])>> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let Frame::Whole(payload, length) = frame::first(rest) else { return None };
            rest = &rest[length..];
            Some(frame::decode(payload).map(|entry| (entry, payload)))
        })
    }
}

impl Reader {
    /// One that begins with the file of this number.
    pub(crate) fn new(file: u64) -> Self {
        let at = Position { file, bytes: 0 };
        Self { file: None, at, bytes: Vec::new(), handed_out: 0, skipped: 0, damaged: Vec::new() }
    }

    /// The numbers of the files of which a part could not be read.
    pub(crate) fn damaged(&self) -> &[u64] {
        &self.damaged
    }

    /// The next whole frames before `end`; `None` if there are none. What cannot be read is skipped up to the end of its
    /// file, and logged. A file that is missing was removed, with what stood in it in the store.
    pub(crate) fn next(&mut self, folder: &Folder, end: Position) -> io::Result<Option<Chunk<'_>>> {
        self.bytes.drain(..self.handed_out);
        self.handed_out = 0;
        loop {
            let is_last = self.at.file >= end.file;
            let read = match self.read(folder, if is_last { end.bytes } else { u64::MAX }) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && !is_last => 0,
                read => read?,
            };
            let (whole, problem) = whole_frames(&self.bytes);
            if whole > 0 {
                self.handed_out = whole;
                let skipped = std::mem::take(&mut self.skipped);
                return Ok(Some(Chunk { bytes: &self.bytes[..whole], file: self.at.file, skipped }));
            }
            let is_at_end = read == 0;
            if problem == Frame::Damaged || is_at_end && !self.bytes.is_empty() && !is_last {
                self.skip(folder);
            } else if !is_at_end {
                continue;
            }
            if is_last {
                return Ok(None);
            }
            self.file = None;
            self.at = Position { file: self.at.file + 1, bytes: 0 };
            self.bytes.clear();
        }
    }

    /// Gives up what was read of a file and is no frame.
    fn skip(&mut self, folder: &Folder) {
        let path = folder.file(self.at.file);
        tracing::error!(file = %path.display(), before = self.at.bytes, "a part of the ledger's journal cannot be read");
        self.skipped += self.bytes.len() as u64;
        self.damaged.push(self.at.file);
        self.bytes.clear();
    }

    /// Reads more bytes of the file, up to the position `end` in it. Returns how many.
    fn read(&mut self, folder: &Folder, end: u64) -> io::Result<u64> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let mut file = File::open(folder.file(self.at.file))?;
                self.at.bytes = check_header(&mut file)?;
                none.insert(file)
            }
        };
        let most = end.saturating_sub(self.at.bytes).min(READ_BYTES);
        let read = file.take(most).read_to_end(&mut self.bytes)? as u64;
        self.at.bytes += read;
        Ok(read)
    }
}

/// Reads the header of a file. Returns its length; 0 if the process died before it was written.
fn check_header(file: &mut File) -> io::Result<u64> {
    let mut header = Vec::new();
    file.take(HEADER.len() as u64).read_to_end(&mut header)?;
    if header.len() == HEADER.len() && header != *HEADER {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it was written by another version of llm-router"));
    }
    Ok(header.len() as u64)
}

/// How many of the bytes are whole frames, and what follows them.
fn whole_frames(bytes: &[u8]) -> (usize, Frame<'_>) {
    let mut whole = 0;
    loop {
        match frame::first(&bytes[whole..]) {
            Frame::Whole(_, length) => whole += length,
            other => return (whole, other),
        }
    }
}
