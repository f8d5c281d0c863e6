//! What the simulator promises as a whole.

#[cfg(test)]
mod agreement;
