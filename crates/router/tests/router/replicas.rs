//! Several replicas that exchange their states route as one, as far as what they know of each other is fresh.

mod alone;
mod capacity;
mod cluster;
mod health;
mod limits;
mod load;
mod shares;
