//! The clients' connections: how many, how long each may take for what, and what every request has in common.
//!
//! Actix limits the time of a connection's first head only, and its own stream type cannot be replaced in its `HttpServer`.
//! So the listener is put together here from actix' parts, around a stream that is watched.

mod closed;
mod connection;
mod held;
mod panics;
mod peers;
mod requests;
mod stream;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix_http::{HttpService, KeepAlive, error::DispatchError};
use actix_server::Server;
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::{
    App as ActixApp,
    dev::AppConfig,
    rt::net::TcpStream,
    web::{self, ServiceConfig},
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::time::Instant;

pub(crate) use closed::Reason;
pub(crate) use connection::Connection;
pub(crate) use held::Held;
pub(crate) use panics::log_panics;
pub(crate) use peers::client;

use crate::app::App;
use closed::{ClosingLog, Closings};
use connection::Times;
use peers::Peers;
use stream::Watched;

/// How long a kept connection may be without a request.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How much longer than the router the kernel waits for a client that takes nothing.
const KERNEL_STALL: Duration = Duration::from_secs(10);
/// How long the rest of a request is read after its answer was sent before it was whole.
const LINGER: Duration = Duration::from_secs(1);
/// Connections that wait to be accepted: a burst of clients beyond them has to try again.
const BACKLOG: i32 = 4096;

/// One of the two listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listener {
    /// For clients.
    Public,
    /// For operators.
    Admin,
}

impl Listener {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Public, Self::Admin];

    /// The name in metrics and logs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Admin => "admin",
        }
    }
}

/// Opens a listener's socket.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves `routes` on `socket`, until the server is stopped.
pub(crate) fn serve(
    listener: Listener,
    app: &Arc<App>,
    socket: TcpListener,
    workers: usize,
    routes: fn(&mut ServiceConfig),
) -> io::Result<Server> {
    let address = socket.local_addr()?;
    let most = app.live().server.connections.most;
    let acceptor = Acceptor {
        app: app.clone(),
        peers: Arc::default(),
        closings: Arc::new(ClosingLog::new(listener, app.metrics.clone())),
    };
    let app = app.clone();
    let connections = move || {
        let (acceptor, app) = (acceptor.clone(), app.clone());
        let data = web::Data::new(app.clone());
        let app = ActixApp::new()
            .app_data(data)
            .wrap_fn(move |request, service| requests::watch(listener, app.clone(), request, service))
            .configure(routes);
        let app = app.into_factory().map_err(|error| error.error_response());
        let http = HttpService::build()
            // Those times are the watched stream's.
            .keep_alive(KeepAlive::Os)
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(LINGER)
            // By default actix does not notice that a client disconnects, and its answer would be generated, and paid
            // for, to the end.
            .h1_allow_half_closed(false)
            .local_addr(address)
            .on_connect_ext(|stream: &Watched<TcpStream>, data| {
                data.insert(stream.connection().clone());
            })
            .h1(map_config(app, |()| AppConfig::default()));
        fn_service(move |stream: TcpStream| {
            let entered = acceptor.accept(stream).map_err(DispatchError::Io);
            async move { entered }
        })
        .and_then(http)
    };
    let server = Server::build()
        .workers(workers)
        .max_concurrent_connections(most.div_ceil(workers))
        .disable_signals()
        .listen(listener.as_str(), socket, connections)?;
    Ok(server.run())
}

/// Accepts connections within the limit of their peer.
#[derive(Clone)]
struct Acceptor {
    app: Arc<App>,
    peers: Arc<Peers>,
    closings: Arc<ClosingLog>,
}

impl Acceptor {
    fn accept(&self, stream: TcpStream) -> io::Result<(Watched<TcpStream>, Option<SocketAddr>)> {
        let limits = &self.app.live().server.connections;
        let address = stream.peer_addr().ok();
        let peer = address.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip().to_canonical());
        let Some(counted) = self.peers.enter(peer, limits.per_peer, &limits.trusted_proxies) else {
            self.closings.count(Reason::PeerLimit, peer);
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        tune(&stream, limits.write_stall);
        let times = Times { head: limits.head_read, idle: KEEP_ALIVE, stall: limits.write_stall };
        let connection = Rc::new(Connection::new(times, self.app.answering.clone(), Instant::now()));
        let closings = Closings { log: self.closings.clone(), peer };
        Ok((Watched::new(stream, connection, closings, counted), address))
    }
}

/// A connection that cannot be tuned works all the same. The kernel gives up data that it has taken and the client has
/// not acknowledged. It does so later than the router gives up its own, so that only one of the two closes the
/// connection.
fn tune(stream: &TcpStream, write_stall: Duration) {
    drop(stream.set_nodelay(true));
    drop(SockRef::from(stream).set_tcp_user_timeout(Some(write_stall + KERNEL_STALL)));
}
