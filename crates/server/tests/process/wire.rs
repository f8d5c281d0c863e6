//! An upstream that is a socket: what it does with a connection is a function, and what it reads is recorded.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use parking_lot::Mutex;

/// What was read of each connection.
#[derive(Clone, Default)]
pub(crate) struct Record(Arc<Mutex<Vec<Vec<u8>>>>);

impl Record {
    pub(crate) fn push(&self, bytes: &[u8]) {
        self.0.lock().push(bytes.to_vec());
    }

    /// How many connections came.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    pub(crate) fn all(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().concat()).into_owned()
    }
}

/// Serves each connection on a thread of its own; `serve` records what it read. The threads end with the test's process.
pub(crate) fn listen(serve: impl Fn(TcpStream, &Record) + Clone + Send + 'static) -> (SocketAddr, Record) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, record) = (listener.local_addr().unwrap(), Record::default());
    let records = record.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (serve, record) = (serve.clone(), records.clone());
            thread::spawn(move || serve(stream, &record));
        }
    });
    (addr, record)
}
