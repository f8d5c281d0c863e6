//! The connection to the server, and the scripts that it knows.

use std::time::Duration;

use redis::{Client, Connection, IntoConnectionInfo as _, Pipeline, RedisError, Value};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);
/// How long an answer may take: whoever waits for it has given up long before.
const ANSWER: Duration = Duration::from_secs(3);

/// What is done on the server.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Script {
    Count,
    Settle,
    Exchange,
    Hold,
    Correct,
    Leave,
}

const SOURCES: [&str; 6] = [
    include_str!("scripts/count.lua"),
    include_str!("scripts/settle.lua"),
    include_str!("scripts/exchange.lua"),
    include_str!("scripts/hold.lua"),
    include_str!("scripts/correct.lua"),
    include_str!("scripts/leave.lua"),
];

/// A server that can be connected to.
pub(crate) struct Server {
    client: Client,
}

/// A server that is connected.
pub(crate) struct Connected {
    connection: Connection,
    digests: Vec<String>,
}

impl Server {
    /// # Errors
    /// If `url` is none of a server.
    pub(crate) fn new(url: &str) -> Result<Self, RedisError> {
        let info = url.into_connection_info()?;
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        Ok(Self { client: Client::open(info.set_tcp_settings(tcp))? })
    }

    /// Where it is, without user and password.
    pub(crate) fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// Connects, and brings it the scripts.
    pub(crate) fn connect(&self) -> Result<Connected, RedisError> {
        let mut connection = self.client.get_connection_with_timeout(CONNECT)?;
        connection.set_read_timeout(Some(ANSWER))?;
        connection.set_write_timeout(Some(ANSWER))?;
        let mut load = redis::pipe();
        for source in SOURCES {
            load.cmd("SCRIPT").arg("LOAD").arg(source);
        }
        let digests = load.query(&mut connection)?;
        Ok(Connected { connection, digests })
    }
}

impl Connected {
    /// Adds a call of a script to what is sent next.
    pub(crate) fn add<'a>(&self, pipeline: &'a mut Pipeline, script: Script, keys: &[String]) -> &'a mut Pipeline {
        pipeline.cmd("EVALSHA").arg(&self.digests[script as usize]).arg(keys.len()).arg(keys)
    }

    /// Sends everything, and waits for all answers.
    ///
    /// # Errors
    /// If the connection broke, or one of the answers is an error. It cannot be used any more then.
    pub(crate) fn send(&mut self, pipeline: &Pipeline) -> Result<Vec<Value>, RedisError> {
        pipeline.query(&mut self.connection)
    }

    /// Whether keys are removed when the server's memory is full, which would look like a budget of which nothing is spent.
    pub(crate) fn evicts(&mut self) -> bool {
        // A service may refuse to show its configuration.
        let policy = redis::cmd("CONFIG").arg("GET").arg("maxmemory-policy").query::<Vec<String>>(&mut self.connection);
        policy.is_ok_and(|policy| policy.last().is_some_and(|policy| policy != "noeviction"))
    }
}
