//! Where an upstream's address leads, judged by its host as written: to this machine, into a network of one's own, to the
//! machine's surroundings (metadata services), or to the public. Names are not resolved: that would make a configuration
//! valid on one machine and not on another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::Host;

/// The kind of network that a host is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostKind {
    /// Loopback, or a network of one's own: `http://` is as safe as that network.
    Private,
    /// A metadata service, which hands out the machine's credentials to programs on it, or any link-local address.
    Metadata,
    Public,
}

/// The metadata services that are reached by a name.
const METADATA_NAMES: [&str; 5] =
    ["metadata.google.internal", "metadata.goog", "metadata", "instance-data", "instance-data.ec2.internal"];
/// Those that are not link-local, of Alibaba, Oracle and Azure.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];
/// Those of Amazon and Google.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];
/// Ends of names that only a network of one's own resolves.
const PRIVATE_ENDS: [&str; 4] = [".localhost", ".local", ".internal", ".svc"];

impl HostKind {
    /// `host` comes from the parser that the HTTP client uses, so that both see the same address behind `0xa9fea9fe`.
    pub(crate) fn of(host: &Host<&str>) -> Self {
        match host {
            Host::Domain(name) => Self::of_name(name),
            Host::Ipv4(address) => Self::of_v4(*address),
            Host::Ipv6(address) => match IpAddr::V6(*address).to_canonical() {
                IpAddr::V4(address) => Self::of_v4(address),
                IpAddr::V6(address) => Self::of_v6(address),
            },
        }
    }

    fn of_name(name: &str) -> Self {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if METADATA_NAMES.contains(&name.as_str()) {
            return Self::Metadata;
        }
        let is_private = !name.contains('.') || PRIVATE_ENDS.iter().any(|end| name.ends_with(end));
        if is_private { Self::Private } else { Self::Public }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        // 100.64.0.0/10 is shared by the customers of a carrier, or of a cloud.
        let is_shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
        if address.is_link_local() || METADATA_V4.contains(&address) {
            Self::Metadata
        } else if address.is_loopback() || address.is_unspecified() || address.is_private() || is_shared {
            Self::Private
        } else {
            Self::Public
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        if address.is_unicast_link_local() || METADATA_V6.contains(&address) {
            Self::Metadata
        } else if address.is_loopback() || address.is_unspecified() || address.is_unique_local() {
            Self::Private
        } else {
            Self::Public
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: HostKind, hosts: &[&str]) {
        for host in hosts {
            let url = url::Url::parse(&format!("http://{host}:8000/v1")).expect("an address");
            assert_eq!(HostKind::of(&url.host().expect("a host")), kind, "{host}");
        }
    }

    #[test]
    fn ones_own_networks_are_private() {
        check(
            HostKind::Private,
            &[
                "127.0.0.1",
                "127.9.9.9",
                "0.0.0.0",
                "10.0.0.1",
                "172.16.0.1",
                "172.31.255.255",
                "192.168.3.4",
                "100.64.0.1",
                "100.127.255.255",
                "0x7f.1",
                "[::1]",
                "[fc00::1]",
                "[fdff::1]",
                "[::ffff:10.0.0.1]",
                "localhost",
                "emulator",
                "vllm.prod.svc",
                "vllm.prod.svc.cluster.local",
                "gpu.corp.internal",
                "GPU.LOCAL.",
                "a.localhost",
            ],
        );
    }

    #[test]
    fn metadata_services_are_known_however_they_are_written() {
        check(
            HostKind::Metadata,
            &[
                "169.254.169.254",
                "169.254.0.1",
                "0xa9fea9fe",
                "2852039166",
                "0251.0376.0251.0376",
                "169.254.43518",
                "[fe80::1]",
                "[febf::1]",
                "[::ffff:169.254.169.254]",
                "[fd00:ec2::254]",
                "[fd20:ce::254]",
                "100.100.100.200",
                "192.0.0.192",
                "168.63.129.16",
                "metadata.google.internal",
                "Metadata.Google.Internal.",
                "metadata",
                "metadata.goog",
                "instance-data",
                "instance-data.ec2.internal",
            ],
        );
    }

    #[test]
    fn all_else_is_public() {
        check(
            HostKind::Public,
            &[
                "8.8.8.8",
                "172.15.0.1",
                "172.32.0.1",
                "100.63.0.1",
                "100.128.0.1",
                "192.167.0.1",
                "169.253.0.1",
                "11.0.0.1",
                "[2001:db8::1]",
                "[fec0::1]",
                "[::ffff:8.8.8.8]",
                "api.openai.com",
                "localhost.example.com",
                "internal.example.com",
                "notlocal.example",
                "metadata.example.com",
            ],
        );
    }
}
