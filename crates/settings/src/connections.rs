//! The keys of `[server]` about connections and the end of the service.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use crate::{reader::Table, types::ConnectionLimits, value::Text};

/// Longest time by default for which a stopping server still takes connections.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn limits(table: &mut Table<'_>) -> ConnectionLimits {
    let most: usize = table.int("max_connections", 1..=1_000_000).unwrap_or(25_000);
    let per_peer = table.int("max_connections_per_peer", 1..=1_000_000);
    ConnectionLimits {
        head_read: table.seconds("head_read_s", 1).unwrap_or(Duration::from_secs(20)),
        write_stall: table.seconds("write_stall_s", 1).unwrap_or(Duration::from_secs(30)),
        most,
        per_peer: per_peer.unwrap_or_else(|| most.div_ceil(4)),
        trusted_proxies: networks(table).unwrap_or_default(),
    }
}

/// How long a stop waits for requests, and how long of that connections are still taken, by default a sixth.
pub(crate) fn times_of_stop(table: &mut Table<'_>) -> (Duration, Duration) {
    let drain = table.seconds("drain_s", 0).unwrap_or(Duration::from_secs(30));
    let usual = GRACE.min(drain / 6);
    let grace = table.take("grace_s").and_then(|item| item.seconds_up_to(drain, "drain_s"));
    (drain, grace.unwrap_or(usual))
}

fn networks(table: &mut Table<'_>) -> Option<Vec<IpNet>> {
    let expected = "an array of addresses and networks, such as [\"10.0.0.0/8\", \"::1\"]";
    table.take("trusted_proxies")?.words(expected)?.into_iter().map(|text| network(&text)).collect()
}

fn network(text: &Text<'_>) -> Option<IpNet> {
    let address = text.value.parse::<IpAddr>().map(IpNet::from).ok();
    if let Some(network) = address.or_else(|| text.value.parse().ok()) {
        return Some(network);
    }
    let expected = "an IP address, or a network such as \"10.0.0.0/8\"";
    text.refuse("is neither an address nor a network", expected, None)
}
