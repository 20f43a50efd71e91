//! Configurations, resolved once: a request must not read them from text.
//!
//! What always holds: what is given out is what the image says, because it is kept together with the
//! offset of the newest record that configured the topic or its brokers; a topic without a
//! configuration of its own takes no room here.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::ArcSwap;
use millrace_config::{BrokerConfig, Overrides, TopicConfig, TopicOverrides};
use millrace_core::cluster::{Image, Topic};
use millrace_probe::{Bug, planted};
use millrace_protocol::ids::TopicId;

/// How many more than there are topics may be kept before those of removed topics are looked for.
const SLACK: usize = 64;

/// A configuration and the offset of the newest record that it stands on.
type Resolved = (i64, Arc<TopicConfig>);

/// All that were asked for.
#[derive(Debug)]
pub(super) struct TopicConfigs {
    /// What the broker was started with.
    started: Arc<BrokerConfig>,
    live: ArcSwap<Live>,
    resolved: RwLock<BTreeMap<TopicId, Resolved>>,
}

/// The broker's configuration with what was set while it ran.
#[derive(Debug)]
struct Live {
    /// Offset of the newest record in it.
    at: i64,
    broker: Arc<BrokerConfig>,
    /// What a topic without a configuration of its own has.
    default: Arc<TopicConfig>,
}

impl Live {
    fn new(at: i64, broker: Arc<BrokerConfig>) -> Self {
        Self {
            at,
            default: Arc::new(broker.topics.defaults.clone()),
            broker,
        }
    }
}

/// What was set in `image` for all brokers, and for this one.
pub(crate) fn dynamic(image: &Image, node_id: i32) -> (Overrides, Overrides) {
    let of = |name: &str| {
        let set = image.broker_config(name);
        set.map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    };
    (of(""), of(&node_id.to_string()))
}

/// The offset of the newest record that a topic's configuration stands on, -1 for none.
pub(super) fn version(image: &Image, topic: &Topic) -> i64 {
    let own = topic.config_offset.unwrap_or(-1);
    own.max(image.broker_config_offset())
}

impl TopicConfigs {
    pub(super) fn new(started: Arc<BrokerConfig>) -> Self {
        Self {
            live: ArcSwap::from_pointee(Live::new(-1, Arc::clone(&started))),
            started,
            resolved: RwLock::default(),
        }
    }

    /// The broker's configuration, as `image` says.
    pub(super) fn broker(&self, image: &Image) -> Arc<BrokerConfig> {
        Arc::clone(&self.live(image).broker)
    }

    fn live(&self, image: &Image) -> Arc<Live> {
        let at = image.broker_config_offset();
        let known = self.live.load();
        if known.at == at {
            return Arc::clone(&known);
        }
        let (cluster, own) = dynamic(image, self.started.node.id);
        let (broker, refused) = self.started.with_dynamic(&cluster, &own);
        for error in refused {
            tracing::error!(%error, "a value that was set while the broker ran is left out");
        }
        let live = Arc::new(Live::new(at, Arc::new(broker)));
        // Whoever works on an older image doesn't replace what a newer one says.
        if known.at < at {
            self.live.store(Arc::clone(&live));
        }
        live
    }

    /// The configuration of `topic`, which is of `image`; `None` when it can't be resolved.
    pub(super) fn get(&self, image: &Image, topic: &Topic) -> Option<Arc<TopicConfig>> {
        let live = self.live(image);
        if topic.config_offset.is_none() {
            return Some(Arc::clone(&live.default));
        }
        let offset = version(image, topic);
        let known = self.resolved.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, config)) = known.get(&topic.id)
            && (*at == offset || planted(Bug::TopicConfigResolvedOnce))
        {
            return Some(Arc::clone(config));
        }
        drop(known);
        let overrides: TopicOverrides = image
            .topic_config(&topic.name)
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        // What the metadata hold was checked before it was written there.
        let config = TopicConfig::resolve(&live.broker, &overrides)
            .inspect_err(|error| {
                tracing::error!(topic = &*topic.name, %error, "the topic's configuration is bad");
            })
            .ok()
            .map(Arc::new)?;
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

    /// How many are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let known = self.resolved.read().unwrap_or_else(PoisonError::into_inner);
        known.len()
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
    fn what_is_set_for_brokers_reaches_every_topic_that_does_not_say_otherwise() {
        let configs = TopicConfigs::new(Arc::new(BrokerConfig::default()));
        let set = |name: &str, value: Option<&str>| {
            MetadataRecord::Config(ConfigRecord {
                resource_type: 4,
                resource_name: name.to_owned(),
                name: "log.segment.bytes".to_owned(),
                value: value.map(str::to_owned),
            })
        };
        let records = [topic(1), topic(2), segment_bytes(2, 2_000_000)];
        let image = Image::default().replay_all(0, &records).unwrap();
        let of = |image: &Image| ["t1", "t2"].map(|name| get(&configs, image, name).segment_bytes);
        assert_eq!(of(&image), [1 << 30, 2_000_000]);
        let all = image.replay_all(3, &[set("", Some("3000000"))]).unwrap();
        assert_eq!(of(&all), [3_000_000, 2_000_000]);
        let own = all.replay_all(4, &[set("1", Some("4000000"))]).unwrap();
        assert_eq!(of(&own), [4_000_000, 2_000_000]);
        assert_eq!(of(&all), [3_000_000, 2_000_000], "as its image says");
        let other = own.replay_all(5, &[set("2", Some("5000000"))]).unwrap();
        assert_eq!(of(&other), [4_000_000, 2_000_000], "another broker's");
        let none = other
            .replay_all(6, &[set("", None), set("1", None)])
            .unwrap();
        assert_eq!(of(&none), [1 << 30, 2_000_000]);
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
