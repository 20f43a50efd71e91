//! The cases, one file for each API.

mod alter_configs;
mod alter_partition_reassignments;
mod alter_replica_log_dirs;
mod api_versions;
mod create_acls;
mod create_delegation_token;
mod create_partitions;
mod create_topics;
mod delete_acls;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_acls;
mod describe_cluster;
mod describe_configs;
mod describe_delegation_token;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod elect_leaders;
mod expire_delegation_token;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod renew_delegation_token;
mod sasl_authenticate;
mod sasl_handshake;
mod sync_group;
mod update_features;

use serde_json::Value;

use crate::case::Suite;

/// The suite of every API that is served, those that most clients ask first.
pub fn suites() -> Vec<Suite> {
    vec![
        api_versions::suite(),
        metadata::suite(),
        produce::suite(),
        fetch::suite(),
        list_offsets::suite(),
        find_coordinator::suite(),
        join_group::suite(),
        sync_group::suite(),
        heartbeat::suite(),
        leave_group::suite(),
        offset_commit::suite(),
        offset_fetch::suite(),
        offset_delete::suite(),
        describe_groups::suite(),
        list_groups::suite(),
        delete_groups::suite(),
        create_topics::suite(),
        delete_topics::suite(),
        create_partitions::suite(),
        delete_records::suite(),
        offset_for_leader_epoch::suite(),
        init_producer_id::suite(),
        describe_configs::suite(),
        incremental_alter_configs::suite(),
        alter_configs::suite(),
        describe_cluster::suite(),
        describe_topic_partitions::suite(),
        describe_log_dirs::suite(),
        alter_replica_log_dirs::suite(),
        describe_producers::suite(),
        describe_quorum::suite(),
        elect_leaders::suite(),
        alter_partition_reassignments::suite(),
        list_partition_reassignments::suite(),
        list_config_resources::suite(),
        update_features::suite(),
        describe_acls::suite(),
        create_acls::suite(),
        delete_acls::suite(),
        create_delegation_token::suite(),
        renew_delegation_token::suite(),
        expire_delegation_token::suite(),
        describe_delegation_token::suite(),
        sasl_handshake::suite(),
        sasl_authenticate::suite(),
    ]
}

/// A request with more said in it, or something else.
fn with(mut request: Value, said: Value) -> Value {
    if let (Some(request), Value::Object(said)) = (request.as_object_mut(), said) {
        request.extend(said);
    }
    request
}
