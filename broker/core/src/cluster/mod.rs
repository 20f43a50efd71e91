//! The cluster's metadata: an immutable image folded from records, and the decisions that make new
//! records.
//!
//! What always holds: [`Image::replay`] is the only way an image changes, and gives a new one that
//! shares what didn't change; a decision reads an image and changes nothing; the records of one
//! decision are one atomic list.

mod broker;
mod configs;
mod directories;
mod elections;
mod extent;
mod features;
mod image;
mod names;
mod partitions;
mod producer_ids;
mod reassignments;
mod topic;
mod topics;

pub use broker::{Registration, directories_failed, register};
pub use configs::{AlterConfigs, ConfigChange, ConfigRules, Configured, alter_configs};
pub use directories::{Assignment, NotAssigned, assign_directory};
pub use elections::{ElectIn, Elected, Election, elect_leaders};
pub use extent::Extent;
pub use features::{Feature, FeatureUpdate, update_features};
pub use image::{Broker, Image, Loading, ReplayError};
pub use names::{NameError, check_topic_name};
pub use partitions::{GrowTopic, GrowthOutcome, create_partitions};
pub use producer_ids::{PRODUCER_ID_BLOCK, allocate_producer_ids};
pub use reassignments::{Reassignment, reassign_partitions};
pub use topic::{Directory, Partition, Topic};
pub use topics::{
    CreateTopic, Created, Defaults, Refusal, Removal, RemovalOutcome, Subject, TopicOutcome,
    create_topics, data_removed, delete_topics,
};

#[cfg(test)]
mod admin_tests;
#[cfg(test)]
mod tests;
