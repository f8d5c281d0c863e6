//! A server, and replicas that use it.

use std::{
    net::TcpListener,
    num::NonZeroU32,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread::sleep,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use shared::{Held, Hold, Node, Settings, Shared, Turn, View};

/// How long what a replica holds is valid.
pub(crate) const VALIDITY: Duration = Duration::from_secs(4);

/// A `redis-server` on a port of its own, which is gone with it.
pub(crate) struct Server {
    port: u16,
    process: Option<Child>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let mut server = Self { port, process: None };
        server.restart();
        server
    }

    /// Starts it without data.
    pub(crate) fn restart(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--port", &self.port.to_string()]).stdout(Stdio::null());
        self.process = Some(command.spawn().expect("redis-server is installed"));
        until("the server answers", || self.client().get_connection().is_ok());
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it is a process of ours");
            process.wait().expect("it ends");
        }
    }

    pub(crate) fn flush(&self) {
        redis::cmd("FLUSHALL").exec(&mut self.client().get_connection().expect("it answers")).expect("it does so");
    }

    /// It answers nobody for so long.
    pub(crate) fn pause(&self, time: Duration) {
        let mut command = redis::cmd("CLIENT");
        command.arg("PAUSE").arg(time.as_millis().to_string());
        command.exec(&mut self.client().get_connection().expect("it answers")).expect("it does so");
    }

    fn client(&self) -> redis::Client {
        redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).expect("a url")
    }

    /// A replica that is connected.
    pub(crate) fn replica(&self, replica: u64) -> Replica {
        let connected = self.replica_of_absent(replica);
        until("it is connected", || !connected.shared.is_away());
        connected
    }

    /// A replica that has to wait for the server.
    pub(crate) fn replica_of_absent(&self, replica: u64) -> Replica {
        let url = format!("redis://127.0.0.1:{}", self.port).into();
        let replicas = NonZeroU32::new(2).expect("not 0");
        let settings = Settings { url, prefix: "test".into(), replica, replicas, validity: VALIDITY };
        let shared = Arc::new(Shared::new(&settings).expect("a url"));
        let told = Arc::<Mutex<Told>>::default();
        shared.start(Box::new(Scripted(told.clone()))).expect("a thread");
        Replica { shared, told }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A replica, and what it reports and learns.
pub(crate) struct Replica {
    pub(crate) shared: Arc<Shared>,
    told: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    state: Vec<u8>,
    holds: Vec<Hold>,
    held: Vec<Held>,
    /// How often it learned that the server is away.
    away: u32,
}

impl Replica {
    pub(crate) fn publish(&self, state: &[u8]) {
        self.told.lock().state = state.to_vec();
    }

    /// How often it has learned that the server is away.
    pub(crate) fn away(&self) -> u32 {
        self.told.lock().away
    }

    /// Reports this of a budget, and returns the answer.
    pub(crate) async fn hold(&self, hold: Hold) -> Option<Held> {
        {
            let mut told = self.told.lock();
            (told.holds, told.held) = (vec![hold.clone()], Vec::new());
        }
        self.shared.need(vec![(hold.id, hold.needs)]).await;
        let mut told = self.told.lock();
        told.holds.clear();
        told.held.first().copied()
    }
}

struct Scripted(Arc<Mutex<Told>>);

impl Node for Scripted {
    fn state(&mut self) -> Vec<u8> {
        self.0.lock().state.clone()
    }

    fn learn(&mut self, view: &View) {
        self.0.lock().away += u32::from(view.is_away);
    }

    fn holds(&mut self, turn: Turn, _needs: &[(u64, u64)]) -> Vec<Hold> {
        if turn == Turn::Needed { self.0.lock().holds.clone() } else { Vec::new() }
    }

    fn held(&mut self, held: &[Held]) {
        self.0.lock().held = held.to_vec();
    }
}

/// Waits for something that takes 20 s at most.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}: not within 20 s");
        sleep(Duration::from_millis(20));
    }
}
