//! Sockets, dispatch, one handler file per API: runs core's decisions on log and net.
//!
//! Entry point: `Broker::start`. A request comes in through `net`, finds its row in `dispatch` and
//! is served by the handler of its API in `handlers`.

mod admin_http;
mod altered;
mod broker;
mod cluster;
mod context;
mod coordinator;
mod directories;
mod dispatch;
mod exposition;
mod handlers;
mod health;
mod loggers;
mod metrics;
mod net;
mod outcome;
mod runtime;
mod sighting;
mod storage;
mod sync_watch;

pub use admin_http::AdminError;
pub use broker::{BoundListener, Broker, StartError};
pub use cluster::MetadataError;
pub use directories::StorageError;
pub use loggers::{LoggerChange, LoggerError, Loggers, ROOT_LOGGER};
pub use net::ListenError;
pub use runtime::lost_directory::NodeFailure;
