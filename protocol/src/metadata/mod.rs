//! The metadata log's records: values here, their bytes beside them.

mod record;

pub use record::*;
