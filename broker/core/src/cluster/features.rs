//! Levels at which features are finalised: Kafka's rules and words (its `FeatureControlManager`;
//! KIP-584, KIP-778).

use std::collections::BTreeMap;

use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::metadata::{FeatureLevelRecord, MetadataRecord};

use super::{Image, Refusal};

/// Kinds of updates, as requests number them.
const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;

/// A feature that this software knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature<'a> {
    /// Its name.
    pub name: &'a str,
    /// The lowest level that it can have.
    pub min: i16,
    /// The highest.
    pub max: i16,
}

/// What one feature is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureUpdate<'a> {
    /// Its name.
    pub feature: &'a str,
    /// The level; 0 for none.
    pub level: i16,
    /// 1 to raise it, 2 to lower it if nothing is lost by that, 3 to lower it in any case.
    pub kind: i8,
}

/// Decides updates of features: the records that make them, all or none. Of several updates of one
/// feature the last counts. The node is named to people.
pub fn update_features(
    image: &Image,
    node_id: i32,
    supported: &[Feature<'_>],
    updates: &[FeatureUpdate<'_>],
) -> Result<Vec<MetadataRecord>, Refusal> {
    let last: BTreeMap<&str, FeatureUpdate<'_>> = updates.iter().map(|u| (u.feature, *u)).collect();
    let mut records = Vec::new();
    for update in last.values() {
        let finalized = image.features().find(|(name, _)| *name == update.feature);
        let current = finalized.map_or(0, |(_, level)| level);
        check(node_id, supported, current, *update).map_err(|reason| {
            let message = format!(
                "The update failed for all features since the following feature had an error: \
                 Invalid update version {} for feature {}. {reason}",
                update.level, update.feature
            );
            Refusal::new(ErrorCode::InvalidUpdateVersion, message)
        })?;
        if update.level != current {
            records.push(MetadataRecord::FeatureLevel(FeatureLevelRecord {
                name: update.feature.to_owned(),
                feature_level: update.level,
            }));
        }
    }
    Ok(records)
}

fn check(
    node_id: i32,
    supported: &[Feature<'_>],
    current: i16,
    update: FeatureUpdate<'_>,
) -> Result<(), String> {
    let FeatureUpdate {
        feature,
        level,
        kind,
    } = update;
    if ![UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE].contains(&kind) {
        return Err("The controller does not support the given upgrade type.".to_owned());
    }
    if level < 0 {
        return Err("A feature version cannot be less than 0.".to_owned());
    }
    match supported.iter().find(|known| known.name == feature) {
        None if level == 0 => return Err(format!("Feature {feature} not found.")),
        None => {
            let words = "does not support this feature.";
            return Err(format!("Local controller {node_id} {words}"));
        }
        Some(known) if level < known.min || level > known.max => {
            return Err(format!(
                "Local controller {node_id} only supports versions {}-{}",
                known.min, known.max
            ));
        }
        Some(_) => {}
    }
    if level < current && kind == UPGRADE {
        return Err(
            "Can't downgrade the version of this feature without setting the upgrade type to \
             either safe or unsafe downgrade."
                .to_owned(),
        );
    }
    if level > current && kind != UPGRADE {
        return Err("Can't downgrade to a newer version.".to_owned());
    }
    Ok(())
}
