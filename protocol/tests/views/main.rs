//! The views of requests and responses held against the codec generated from Kafka's schemas: on
//! every recorded vector, on bodies changed at random and on random bytes both accept the same, and
//! what they accept agrees field by field.

mod agree;
mod changes;
mod requests;
mod responses;
