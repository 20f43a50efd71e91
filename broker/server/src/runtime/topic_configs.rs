//! Topics' configurations, resolved once: a request must not read them from text.
//!
//! What always holds: what is given out is what the image says, because it is kept together with the
//! offset of the newest record that configured the topic; a topic without a configuration of its own
//! takes no room here.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use millrace_config::{BrokerConfig, TopicConfig, TopicOverrides};
use millrace_core::cluster::{Image, Topic};
use millrace_protocol::ids::TopicId;

/// How many more than there are topics may be kept before those of removed topics are looked for.
const SLACK: usize = 64;

/// A configuration and the offset of the newest record in it.
type Resolved = (i64, Arc<TopicConfig>);

/// All that were asked for.
#[derive(Debug)]
pub(super) struct TopicConfigs {
    broker: Arc<BrokerConfig>,
    default: OnceLock<Arc<TopicConfig>>,
    resolved: RwLock<BTreeMap<TopicId, Resolved>>,
}

impl TopicConfigs {
    pub(super) fn new(broker: Arc<BrokerConfig>) -> Self {
        Self {
            broker,
            default: OnceLock::new(),
            resolved: RwLock::default(),
        }
    }

    /// The configuration of `topic`, which is of `image`; `None` when it can't be resolved.
    pub(super) fn get(&self, image: &Image, topic: &Topic) -> Option<Arc<TopicConfig>> {
        let Some(offset) = topic.config_offset else {
            if let Some(default) = self.default.get() {
                return Some(Arc::clone(default));
            }
            let default = self.resolve(&TopicOverrides::default(), &topic.name)?;
            return Some(Arc::clone(self.default.get_or_init(|| default)));
        };
        let known = self.resolved.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, config)) = known.get(&topic.id)
            && *at == offset
        {
            return Some(Arc::clone(config));
        }
        drop(known);
        let overrides: TopicOverrides = image
            .topic_config(&topic.name)
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let config = self.resolve(&overrides, &topic.name)?;
        self.keep(image, topic.id, (offset, Arc::clone(&config)));
        Some(config)
    }

    /// The topic is gone.
    pub(super) fn forget(&self, topic: TopicId) {
        let mut known = self
            .resolved
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        known.remove(&topic);
    }

    fn keep(&self, image: &Image, topic: TopicId, resolved: Resolved) {
        let mut known = self
            .resolved
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // Whoever works on an older image doesn't replace what a newer one says.
        if known.get(&topic).is_none_or(|(at, _)| *at < resolved.0) {
            known.insert(topic, resolved);
        }
        // One that worked on an older image may have brought back a topic that is gone.
        if known.len() > image.topic_count() + SLACK {
            known.retain(|id, _| image.topic(*id).is_some());
        }
    }

    fn resolve(&self, overrides: &TopicOverrides, topic: &str) -> Option<Arc<TopicConfig>> {
        // What the metadata hold was checked before it was written there.
        TopicConfig::resolve(&self.broker, overrides)
            .inspect_err(|error| tracing::error!(topic, %error, "the topic's configuration is bad"))
            .ok()
            .map(Arc::new)
    }
}

#[cfg(test)]
mod tests {
    use millrace_protocol::metadata::{ConfigRecord, MetadataRecord, TopicRecord};

    use super::*;

    fn topic(id: u8) -> MetadataRecord {
        MetadataRecord::Topic(TopicRecord {
            name: format!("t{id}"),
            topic_id: TopicId::from_bytes([id; 16]),
        })
    }

    fn segment_bytes(id: u8, bytes: u64) -> MetadataRecord {
        MetadataRecord::Config(ConfigRecord {
            resource_type: 2,
            resource_name: format!("t{id}"),
            name: "segment.bytes".to_owned(),
            value: Some(bytes.to_string()),
        })
    }

    fn get(configs: &TopicConfigs, image: &Image, name: &str) -> Arc<TopicConfig> {
        let topic = image.topic_named(name).unwrap();
        configs.get(image, topic).unwrap()
    }

    #[test]
    fn a_configuration_is_resolved_once_until_the_topic_is_configured_again() {
        let broker = BrokerConfig::from_pairs([]).unwrap();
        let configs = TopicConfigs::new(Arc::new(broker));
        let records = [topic(1), topic(2), topic(3), segment_bytes(3, 2_000_000)];
        let image = Image::default().replay_all(0, &records).unwrap();
        let plain = get(&configs, &image, "t1");
        assert!(
            Arc::ptr_eq(&plain, &get(&configs, &image, "t2")),
            "one for all"
        );
        let own = get(&configs, &image, "t3");
        assert_eq!(own.segment_bytes, 2_000_000);
        let other = image.replay_all(4, &[segment_bytes(2, 3_000_000)]).unwrap();
        assert!(
            Arc::ptr_eq(&own, &get(&configs, &other, "t3")),
            "nothing of it changed"
        );
        assert_eq!(get(&configs, &other, "t2").segment_bytes, 3_000_000);
        let newer = other.replay_all(5, &[segment_bytes(3, 4_000_000)]).unwrap();
        assert_eq!(get(&configs, &newer, "t3").segment_bytes, 4_000_000);
        assert_eq!(
            get(&configs, &image, "t3").segment_bytes,
            2_000_000,
            "as its image says"
        );
        let kept = get(&configs, &newer, "t3");
        assert!(
            Arc::ptr_eq(&kept, &get(&configs, &newer, "t3")),
            "the newer one is kept"
        );
    }

    #[test]
    fn configurations_of_removed_topics_do_not_pile_up() {
        let broker = BrokerConfig::from_pairs([]).unwrap();
        let configs = TopicConfigs::new(Arc::new(broker));
        let one = [topic(1), segment_bytes(1, 2_000_000)];
        let mut image = Image::default().replay_all(0, &one).unwrap();
        for id in 2..=255 {
            let at = image.offset() + 1;
            let made = image
                .replay_all(at, &[topic(id), segment_bytes(id, 1 << 20)])
                .unwrap();
            get(&configs, &made, &format!("t{id}"));
            let gone = MetadataRecord::RemoveTopic(TopicId::from_bytes([id; 16]));
            image = made.replay_all(at + 2, &[gone]).unwrap();
        }
        get(&configs, &image, "t1");
        assert!(configs.resolved.read().unwrap().len() <= SLACK + 2);
        configs.forget(TopicId::from_bytes([1; 16]));
        assert!(
            !configs
                .resolved
                .read()
                .unwrap()
                .contains_key(&TopicId::from_bytes([1; 16]))
        );
    }
}
