//! Tests of the real server in front of emulated providers.

// The modules say `cfg(test)` for clippy, which allows `unwrap` and `panic` there.
#[cfg(test)]
mod aliases;
#[cfg(test)]
mod batch;
#[cfg(test)]
mod budgets;
#[cfg(test)]
mod bystanders;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod doors;
#[cfg(test)]
mod ensembles;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod gpu;
#[cfg(test)]
mod hedge;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod money;
#[cfg(test)]
mod naming;
#[cfg(test)]
mod odd;
#[cfg(test)]
mod on_record;
#[cfg(test)]
mod passthrough;
#[cfg(test)]
mod poison;
#[cfg(test)]
mod reasoning;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod reports;
#[cfg(test)]
mod series;
#[cfg(test)]
mod shares;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod streaming;
#[cfg(test)]
mod tags;
#[cfg(test)]
mod warm_up;
