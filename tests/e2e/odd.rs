//! Small odd inputs of public reports, each with its siblings. A test is named by the number of its report, `c03` say, and
//! one of a kind without a number by what is odd.

mod blame;
mod cerebras;
mod connection;
mod end;
mod generate;
mod injected;
mod reading;
mod requests;
mod routes;
mod setup;
mod surface;
