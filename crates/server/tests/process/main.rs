//! The binary in an environment that goes wrong: certificates that must not be accepted, a clock that jumps, no descriptors, proxies;
//! and what it writes down.

// The modules say `cfg(test)` for clippy, which allows `unwrap` and `panic` there.
#[cfg(test)]
mod clock;
#[cfg(test)]
mod descriptors;
#[cfg(test)]
mod log;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod router;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod wire;
