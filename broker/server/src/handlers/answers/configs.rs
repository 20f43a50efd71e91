//! Answers about configurations.

use millrace_config::Fixed;
use millrace_core::cluster::{AlterConfigs, ConfigChange};
use millrace_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use millrace_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use millrace_protocol::messages::list_config_resources_response::ConfigResource;
use millrace_protocol::requests::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
    ListConfigResourcesRequest,
};

use super::{Answered, SMALL_BYTES, TREE_BYTES, bytes, rows, texts};
use crate::context::RequestContext;

/// One described key: its row, up to six values that it was chosen from, its texts on the wire.
const KEY_BYTES: usize = size_of::<DescribeConfigsResourceResult>()
    + 6 * (size_of::<DescribeConfigsSynonym>() + SMALL_BYTES)
    + 512;

/// One key that changes: as it is asked for, as it was and will be, as it is recorded.
const CHANGE_BYTES: usize =
    size_of::<(String, ConfigChange)>() + 6 * (size_of::<String>() + SMALL_BYTES) + TREE_BYTES;

impl Answered for DescribeConfigsRequest<'_> {
    fn answer_bytes(&self, context: &RequestContext) -> u64 {
        let (topics, brokers) = (
            millrace_config::topic_keys().count(),
            millrace_config::broker_keys().count(),
        );
        let loggers = context.node.loggers.levels().len();
        let (groups, metrics) = (Fixed::Group.count(), Fixed::ClientMetrics.count());
        let most = topics.max(brokers).max(loggers).max(groups);
        let (mut names, mut keys) = (0, 0);
        for resource in self.resources {
            names += resource.resource_name.len();
            let all = match resource.resource_type {
                2 => topics,
                4 => brokers,
                8 => loggers,
                16 => metrics,
                32 => groups,
                _ => 0,
            };
            let asked = resource.configuration_keys.map_or(all, |keys| keys.len());
            keys += all.min(asked);
        }
        let count = self.resources.len();
        // All keys of one resource are described before those that are asked for are taken.
        let one = bytes(most, KEY_BYTES);
        rows::<DescribeConfigsResult>(count, size_of::<(i8, &str)>() + TREE_BYTES)
            + bytes(keys, KEY_BYTES)
            + one.min(bytes(count.saturating_mul(most), KEY_BYTES))
            + texts(count)
            + 2 * names as u64
    }
}

/// What changing `keys` keys of `count` resources takes, with `text` bytes of names and values.
fn change_bytes(count: usize, keys: usize, text: usize) -> u64 {
    let beside = size_of::<AlterConfigs>() + size_of::<(i8, &str)>() + TREE_BYTES + SMALL_BYTES;
    rows::<AlterConfigsResourceResponse>(count, beside)
        + bytes(keys, CHANGE_BYTES)
        + texts(count)
        + 6 * text as u64
}

impl Answered for AlterConfigsRequest<'_> {
    fn answer_bytes(&self, _: &RequestContext) -> u64 {
        let (mut keys, mut text) = (0, 0);
        for resource in self.resources {
            keys += resource.configs.len();
            let configs = resource.configs.into_iter();
            let texts = configs.map(|config| config.name.len() + config.value.map_or(0, str::len));
            text += resource.resource_name.len() * (resource.configs.len() + 1);
            text += texts.sum::<usize>();
        }
        change_bytes(self.resources.len(), keys, text)
    }
}

impl Answered for IncrementalAlterConfigsRequest<'_> {
    fn answer_bytes(&self, _: &RequestContext) -> u64 {
        let (mut keys, mut text) = (0, 0);
        for resource in self.resources {
            keys += resource.configs.len();
            let configs = resource.configs.into_iter();
            let texts = configs.map(|config| config.name.len() + config.value.map_or(0, str::len));
            text += resource.resource_name.len() * (resource.configs.len() + 1);
            text += texts.sum::<usize>();
        }
        change_bytes(self.resources.len(), keys, text)
    }
}

impl Answered for ListConfigResourcesRequest<'_> {
    fn answer_bytes(&self, context: &RequestContext) -> u64 {
        let image = context.node.cluster.image();
        let there = image.extent();
        let names = there.name_bytes + there.topics * SMALL_BYTES;
        let brokers = 2 * image.brokers().count();
        rows::<ConfigResource>(image.topic_count() + brokers, SMALL_BYTES)
            + bytes(self.resource_types.len(), 1)
            + 3 * names as u64
    }
}
