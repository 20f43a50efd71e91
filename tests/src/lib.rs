//! Whatever needs more than one room: the oracle of durability, and the workload that it judges,
//! which runs over real sockets and in the simulation alike.

pub mod admin;
pub mod anomaly;
pub mod asker;
pub mod churn;
pub mod consumer;
pub mod faults;
pub mod foreign;
pub mod groups;
pub mod ledger;
pub mod limits;
pub mod liveness;
pub mod load;
pub mod mover;
pub mod node_images;
pub mod oracle;
pub mod planted;
pub mod process;
pub mod producer;
pub mod pulse;
pub mod reader;
pub mod seeds;
pub mod seen;
pub mod session;
pub mod shape;
pub mod shrink;
pub mod side;
pub mod simulation;
pub mod strace;
pub mod table;
pub mod tally;
pub mod times;
pub mod trace;
pub mod trimmer;
pub mod value;
pub mod workload;
