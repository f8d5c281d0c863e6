//! How many connections each address has open. A network of IPv6 that one client is given as a whole counts as one.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use ipnet::IpNet;
use parking_lot::Mutex;

/// Counts the connections of a listener by address.
#[derive(Default)]
pub(super) struct Peers(Mutex<HashMap<IpAddr, usize>>);

/// A connection that is counted for its address until this is dropped.
pub(super) struct Peer(Option<(Arc<Peers>, IpAddr)>);

impl Peers {
    /// Counts one more connection from `address`, unless it has `most`. Those of `trusted` are not counted.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr, most: usize, trusted: &[IpNet]) -> Option<Peer> {
        let address = address.to_canonical();
        if trusted.iter().any(|network| network.contains(&address)) {
            return Some(Peer(None));
        }
        let client = client(address);
        let mut open = self.0.lock();
        let count = open.entry(client).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Peer(Some((self.clone(), client))))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let Some((peers, client)) = &self.0 else { return };
        let mut open = peers.0.lock();
        let Some(count) = open.get_mut(client) else { return };
        *count -= 1;
        if *count == 0 {
            open.remove(client);
        }
    }
}

/// What counts as one client: an address or, of IPv6, a network of 64 bits, since a client may choose the rest itself.
pub(crate) fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_has_its_part_and_gives_it_back() {
        let peers = Arc::new(Peers::default());
        let enter = |text| peers.enter(address(text), 2, &[]);
        let held = [enter("192.0.2.1"), enter("::ffff:192.0.2.1")];
        assert!(held.iter().all(Option::is_some) && enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
        drop(held);
        assert!(enter("192.0.2.1").is_some());
        assert!(peers.0.lock().is_empty(), "an address without a connection is forgotten");
    }

    #[test]
    fn a_network_of_one_client_is_one_peer() {
        let peers = Arc::new(Peers::default());
        let _held = peers.enter(address("2001:db8::1"), 1, &[]).expect("free");
        assert!(peers.enter(address("2001:db8::2:3"), 1, &[]).is_none());
        assert!(peers.enter(address("2001:db8:0:1::1"), 1, &[]).is_some());
    }

    #[test]
    fn trusted_proxies_are_not_counted() {
        let peers = Arc::new(Peers::default());
        let trusted = ["10.0.0.0/8".parse().expect("a network"), IpNet::from(address("2001:db8::1"))];
        let enter = |text| peers.enter(address(text), 0, &trusted);
        let _held = [enter("10.1.2.3"), enter("::ffff:10.1.2.3"), enter("2001:db8::1")].map(|peer| peer.expect("free"));
        assert!(enter("11.0.0.1").is_none() && enter("2001:db8::2").is_none());
    }
}
