//! Whatever needs more than one room: the oracle of durability, and the workload that it judges,
//! which runs over real sockets and in the simulation alike.

pub mod oracle;
pub mod process;
pub mod producer;
pub mod reader;
pub mod simulation;
pub mod workload;
