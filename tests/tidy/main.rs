//! The house stays in order.
