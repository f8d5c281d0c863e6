//! The store of several replicas: tables in Postgres, written by one connection of each.

mod read;
mod sql;
mod write;

use std::{error::Error as _, fmt, io, iter, str::FromStr, sync::Arc, time::Duration};

use postgres::{Client, Config, GenericClient, config::Host, error::SqlState};
use rustls::ClientConfig;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres_rustls::MakeRustlsConnect;

pub(crate) use read::Reader;

use self::write::Prepared;
use super::{Rows, Store, StoreError};

/// The steps from no tables to the present ones, in order. A step is never changed: what differs is a step more.
const MIGRATIONS: &[&str] = &[
    include_str!("postgres/1.sql"),
    include_str!("postgres/2.sql"),
    include_str!("postgres/3.sql"),
    include_str!("postgres/4.sql"),
    include_str!("postgres/5.sql"),
    include_str!("postgres/6.sql"),
];
/// "llrl" in ASCII: the lock of those who bring the tables up to date.
const TABLES_LOCK: i64 = 0x6c6c_726c;
/// "llrk": the lock of those who change keys.
const KEYS_LOCK: i64 = 0x6c6c_726b;
/// "llru": the lock of the process that does the upkeep.
const UPKEEP_LOCK: i32 = 0x6c6c_7275;
const CONNECT: Duration = Duration::from_secs(5);
/// A server that does not acknowledge what was sent for so long is gone.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// For each statement, at the server: a lock that is never released must not stop the drain for ever.
const STATEMENT: &str = "30s";
/// How long a step waits for a lock, behind which everybody else waits for the table, and how often that is tried: less than an
/// opening takes.
const LOCK: &str = "3s";
const MOST_TRIES: u32 = 3;

/// Where a Postgres ledger is, as a URL or as `key=value` words of libpq.
#[derive(Clone)]
pub struct PostgresUrl(Box<Config>);

/// It is no address of a Postgres database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PostgresUrlError(String);

impl FromStr for PostgresUrl {
    type Err = PostgresUrlError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        // Certificates are always checked, which is what libpq has these words for.
        let url = url.replace("sslmode=verify-full", "sslmode=require").replace("sslmode=verify-ca", "sslmode=require");
        let mut config: Config = url.parse().map_err(|error| PostgresUrlError(cause(&error)))?;
        if config.get_hosts().is_empty() {
            return Err(PostgresUrlError("it names no host".to_owned()));
        }
        if config.get_dbname().is_none() {
            return Err(PostgresUrlError("it names no database".to_owned()));
        }
        if config.get_application_name().is_none() {
            config.application_name("llm-router");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        config.tcp_user_timeout(UNACKNOWLEDGED);
        config.keepalives_idle(UNACKNOWLEDGED);
        let options = config.get_options().unwrap_or_default();
        // First, so that what the URL says wins. The server is not to keep the locks of a client that is gone.
        let options = format!(
            "-c statement_timeout={STATEMENT} -c idle_in_transaction_session_timeout=15s -c tcp_keepalives_idle=10 \
             -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 {options}"
        );
        config.options(options.trim());
        Ok(Self(Box::new(config)))
    }
}

impl fmt::Display for PostgresUrl {
    /// Host and database alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        for (nth, host) in self.0.get_hosts().iter().enumerate() {
            let comma = if nth == 0 { "" } else { "," };
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}")?,
                Host::Unix(path) => write!(f, "{comma}{}", path.display())?,
            }
        }
        write!(f, "/{}", self.0.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

impl PostgresUrl {
    fn connect(&self) -> Result<Client, StoreError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = tls
            .and_then(BuilderVerifierExt::with_platform_verifier)
            .map_err(|error| StoreError::Postgres { message: format!("{self}: {error}"), is_out_of_reach: false })?;
        let tls = MakeRustlsConnect::new(tls.with_no_client_auth());
        self.0.connect(tls).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &postgres::Error) -> StoreError {
        // Not as the library writes it: that has the detail as well, which may quote a row.
        let said = error.as_db_error().map(|error| format!("{} ({})", error.message(), error.code().code()));
        let said = said.unwrap_or_else(|| cause(error));
        StoreError::Postgres { message: format!("{self}: {said}"), is_out_of_reach: is_out_of_reach(error) }
    }
}

/// What an error says, with its causes.
fn cause(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        said = format!("{said}: {cause}");
        next = cause.source();
    }
    said
}

/// The tables in a database, and a connection while there is one.
pub(crate) struct Postgres {
    url: PostgresUrl,
    client: Option<Client>,
    prepared: Prepared,
}

impl Postgres {
    /// Opens a database, and brings its tables up to date. One that cannot be reached now is tried again with the first rows:
    /// until then the journal keeps them.
    pub(crate) fn open(url: &PostgresUrl) -> Result<Self, StoreError> {
        let mut store = Self { url: url.clone(), client: None, prepared: Prepared::default() };
        match store.client().map(drop) {
            Err(error @ StoreError::Postgres { is_out_of_reach: true, .. }) => {
                tracing::error!(%error, "the ledger's database cannot be reached: its journal keeps the rows until it can");
            }
            opened => opened?,
        }
        Ok(store)
    }

    /// The same for one that must be there.
    pub(crate) fn connected(url: &PostgresUrl) -> Result<Self, StoreError> {
        let mut store = Self { url: url.clone(), client: None, prepared: Prepared::default() };
        store.client()?;
        Ok(store)
    }

    /// A connection to a database whose tables are up to date.
    fn client(&mut self) -> Result<&mut Client, StoreError> {
        let open = self.client.take().filter(|client| !client.is_closed());
        let client = if let Some(client) = open {
            client
        } else {
            self.prepared = Prepared::default();
            let mut client = self.url.connect()?;
            migrate(&mut client, &self.url)?;
            client
        };
        Ok(self.client.insert(client))
    }
}

/// Whether it may work by itself a little later. Not if somebody answered who said no: to the account, the database, its rights, or
/// what the tables are.
fn is_out_of_reach(error: &postgres::Error) -> bool {
    if let Some(error) = error.as_db_error() {
        // The classes of invalid authorization, invalid catalog, and syntax or access rules.
        return !["28", "3D", "42"].iter().any(|class| error.code().code().starts_with(class));
    }
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    // A certificate that is not trusted is invalid data.
    error.is_closed() || cause.is_some_and(|cause| cause.kind() != io::ErrorKind::InvalidData)
}

impl Store for Postgres {
    fn write(&mut self, rows: &Rows<'_>) -> Result<u64, StoreError> {
        let url = self.url.clone();
        self.client()?;
        let Self { client: Some(client), prepared, .. } = self else { return Ok(0) };
        let written = write::rows(client, prepared, rows).map_err(|error| url.failed(&error));
        if written.is_err() {
            // It may be in the middle of something.
            self.client = None;
        }
        written
    }
}

/// Takes the steps that the tables have not had. Of several processes, one at a time; who finds them up to date needs no right to
/// make tables, and no lock.
fn migrate(client: &mut Client, url: &PostgresUrl) -> Result<(), StoreError> {
    for _ in 0..MOST_TRIES {
        if steps(client, url)?.is_empty() || take_steps(client, url)? {
            return Ok(());
        }
    }
    Err(StoreError::Postgres {
        message: format!(
            "{url}: the tables cannot be brought up to date, because others have locked them: it is tried again; end long \
             reports, or wait for the router that does it"
        ),
        is_out_of_reach: true,
    })
}

/// Whether they could be taken: not if others hold a lock for too long.
fn take_steps(client: &mut Client, url: &PostgresUrl) -> Result<bool, StoreError> {
    let refused = |error: postgres::Error| match error.code() {
        Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(false),
        _ => Err(url.failed(&error)),
    };
    let lock = format!("SET LOCAL lock_timeout = '{LOCK}'; SELECT pg_advisory_xact_lock({TABLES_LOCK})");
    let table = "CREATE TABLE IF NOT EXISTS llm_router_ledger (version bigint NOT NULL); DELETE FROM llm_router_ledger";
    let version = format!("INSERT INTO llm_router_ledger VALUES ({})", MIGRATIONS.len());
    let mut transaction = client.transaction().map_err(|error| url.failed(&error))?;
    if let Err(error) = transaction.batch_execute(&lock) {
        return refused(error);
    }
    let steps = steps(&mut transaction, url)?;
    for sql in iter::once(table).chain(steps.iter().copied()).chain([version.as_str()]) {
        if let Err(error) = transaction.batch_execute(sql) {
            return refused(error);
        }
    }
    transaction.commit().map(|()| true).map_err(|error| url.failed(&error))
}

/// The steps that the tables have not had; an error if they are those of a newer version.
fn steps(client: &mut impl GenericClient, url: &PostgresUrl) -> Result<&'static [&'static str], StoreError> {
    let failed = |error: postgres::Error| url.failed(&error);
    // From the catalogue itself: what this connection has cached of it, and to_regclass believes, may be from before another router made
    // the tables while this one waited for its lock.
    let exists =
        "SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'llm_router_ledger' AND pg_table_is_visible(oid))";
    let found = client.query_one(exists, &[]).map_err(failed)?;
    let row = if found.get(0) {
        client.query_opt("SELECT version FROM llm_router_ledger", &[]).map_err(failed)?
    } else {
        None
    };
    let version = row.as_ref().map_or(0, |row| row.get::<_, i64>(0));
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    MIGRATIONS
        .get(done..)
        .ok_or_else(|| StoreError::Foreign(format!("{url}: this ledger was written by a newer version of llm-router")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_account() {
        for url in [
            "postgres://router:hunter2@db:5433/books?sslmode=require",
            "host=db user=router password=hunter2 dbname=books",
        ] {
            let parsed: PostgresUrl = url.parse().expect(url);
            assert_eq!(
                (parsed.to_string(), format!("{parsed:?}")),
                ("postgres://db/books".to_owned(), "PostgresUrl(postgres://db/books)".to_owned())
            );
            let error = parsed.failed(&"postgres://db?colour=red".parse::<Config>().expect_err("no such option"));
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn what_names_no_database_is_refused() {
        for (url, says) in [("postgres:///books", "no host"), ("postgres://db", "no database"), ("books", "")] {
            let error = url.parse::<PostgresUrl>().expect_err(url).to_string();
            assert!(error.contains(says), "{url}: {error}");
        }
    }

    /// Nobody listens there, so the first rows will connect; what cannot be right by itself is refused at the start.
    #[test]
    fn a_server_that_is_away_is_no_reason_not_to_start() {
        let away: PostgresUrl = "postgres://router@127.0.0.1:1/books".parse().expect("a URL");
        assert!(Postgres::open(&away).is_ok());
        assert!(Reader::open(&away, None).is_err());
    }
}
