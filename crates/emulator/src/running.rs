//! A running emulator. It lives on a thread and a runtime of its own, so that it can be started from a test of any
//! runtime and from inside the router's.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use actix_web::{
    App, HttpServer,
    dev::{Server, ServerHandle},
    rt::System,
    web,
};

use crate::{
    call_log::CallLogs,
    face::Face,
    fault::{Fault, Rule},
    http,
    settings::Settings,
    socket::Socket,
    state::State,
};

const LARGEST_BODY: usize = 64 << 20;
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// A running emulator; it stops when dropped.
#[derive(Debug)]
pub struct Emulator {
    state: Arc<State>,
    addr: SocketAddr,
    handle: ServerHandle,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Emulator {
    /// Starts an emulator, which listens by the time this returns.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let listener = TcpListener::bind(settings.address)?;
        let addr = listener.local_addr()?;
        let threads = settings.threads.max(1);
        let state = Arc::new(State::new(settings));
        let (sender, receiver) = mpsc::channel();
        let shared = Arc::clone(&state);
        let thread = thread::Builder::new().name("emulator".into()).spawn(move || {
            System::new().block_on(async move {
                let server = server(listener, threads, shared)?;
                // The receiver is gone only if the thread that starts the emulator has panicked; the server is not
                // needed then.
                let _ = sender.send(server.handle());
                server.await
            })
        })?;
        let Ok(handle) = receiver.recv() else {
            let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("emulator thread panicked")));
            return Err(ended.err().unwrap_or_else(|| io::Error::other("emulator did not start")));
        };
        Ok(Self { state, addr, handle, thread: Some(thread) })
    }

    /// The address it listens on.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://HOST:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Base URL of the load-balancing endpoint.
    pub fn runpod_lb_base(&self) -> String {
        format!("{}/lb/v1", self.url())
    }

    /// Base URL of the queue endpoint's OpenAI route; any endpoint id will do, and all share one queue.
    pub fn runpod_queue_base(&self, endpoint: &str) -> String {
        format!("{}/v2/{endpoint}/openai/v1", self.url())
    }

    /// Base URL of RunPod's management API.
    pub fn management_base(&self) -> String {
        format!("{}/v2", self.url())
    }

    /// Base URL of Cerebras.
    pub fn cerebras_base(&self) -> String {
        format!("{}/cerebras/v1", self.url())
    }

    /// A base URL on a port without a listener, so that the kernel refuses connections.
    pub fn refusing_base() -> io::Result<String> {
        let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        Ok(format!("http://{addr}/v1"))
    }

    /// Orders a fault for every request from now on, in place of all rules of the face.
    pub fn control(&self, face: Face, fault: Fault) {
        self.set_rules(face, vec![fault.into()]);
    }

    /// Breaks off every request that is under way at a face, as when its workers are gone: streams are cut, and what waits is
    /// answered as without a worker.
    pub fn sever(&self, face: Face) {
        self.state.sever(face);
    }

    /// Replaces the rules of a face; the first that applies to a request decides its fault.
    pub fn set_rules(&self, face: Face, rules: Vec<Rule>) {
        self.state.set_rules(face, rules);
    }

    /// The rules of a face, with the counts still left.
    pub fn rules(&self, face: Face) -> Vec<Rule> {
        self.state.rules(face)
    }

    /// Sets how many further workers are reported as throttled and as unhealthy.
    pub fn report_workers(&self, face: Face, throttled: usize, unhealthy: usize) {
        self.state.report_workers(face, throttled, unhealthy);
    }

    /// Takes all faults away and restores workers and quota; the call logs are kept.
    pub fn reset(&self) {
        self.state.reset();
    }

    /// What was served until now.
    pub fn call_logs(&self) -> CallLogs {
        self.state.call_logs()
    }

    /// Waits until the emulator has stopped by itself, which it only does on an error.
    pub fn wait(mut self) -> io::Result<()> {
        match self.thread.take() {
            Some(thread) => thread.join().unwrap_or_else(|_| Err(io::Error::other("emulator thread panicked"))),
            None => Ok(()),
        }
    }

    /// Stops at once: open connections are dropped.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // The order is given by the call; the future only shows when it is done, and the thread's end shows that as
        // well.
        drop(self.handle.stop(false));
        // A server that failed has nothing left to stop.
        let _ = thread.join();
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.end();
    }
}

fn server(listener: TcpListener, threads: usize, state: Arc<State>) -> io::Result<Server> {
    let state = web::Data::from(state);
    let app = move || {
        let limit = web::PayloadConfig::new(LARGEST_BODY);
        App::new().app_data(state.clone()).app_data(limit).default_service(web::to(http::serve))
    };
    let server = HttpServer::new(app)
        .on_connect(Socket::keep)
        .workers(threads)
        .disable_signals()
        .shutdown_timeout(1)
        .keep_alive(KEEP_ALIVE)
        .tcp_nodelay(true)
        // Without this, a client that disconnects goes unnoticed until the answer is written.
        .h1_allow_half_closed(false)
        .listen(listener)?;
    Ok(server.run())
}
