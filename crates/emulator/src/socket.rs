//! A second handle on a client's socket. Handlers cannot close the connection, so the faults that cut it act on
//! this handle, which is made as the connection is accepted.

use std::{
    any::Any,
    io::Write,
    net::{Shutdown, TcpStream},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_web::{dev::Extensions, rt::net};

/// A handle on a client's connection.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    is_used: AtomicBool,
}

impl Socket {
    /// Keeps a handle of a new connection with its requests. Out of descriptors, the connection goes without; faults
    /// then spare it.
    pub(crate) fn keep(connection: &dyn Any, extensions: &mut Extensions) {
        let Some(stream) = connection.downcast_ref::<net::TcpStream>() else { return };
        if let Ok(copy) = stream.as_fd().try_clone_to_owned() {
            extensions.insert(Arc::new(Self { stream: TcpStream::from(copy), is_used: AtomicBool::new(false) }));
        }
    }

    /// Records a request on the connection. Returns whether it is the first one.
    pub(crate) fn is_first_request(&self) -> bool {
        !self.is_used.swap(true, Ordering::Relaxed)
    }

    /// Closes the connection in order, now.
    pub(crate) fn close(&self) {
        // A connection already gone is what was wanted.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Sends bytes past the server and closes the connection.
    pub(crate) fn close_after(&self, bytes: &[u8]) {
        let _ = (&self.stream).write_all(bytes);
        self.close();
    }

    /// Makes the coming close a reset instead of an orderly end.
    pub(crate) fn reset_on_close(&self) {
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}
