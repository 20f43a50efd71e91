//! `UpdateFeatures` (key 57), versions 0–2: finalises features at other levels, all or none
//! (KIP-584). This broker knows no feature yet ([`super::api_versions`] tells none), so that every
//! one is refused with 95 and Kafka's words.
//!
//! - v0: always a change upwards; v1: its kind, and `validate_only`. v0–1 repeat a success for each
//!   feature; v2 tells the outcome of the whole alone.

use bytes::Bytes;
use millrace_core::cluster::{Feature, FeatureUpdate, update_features};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::update_features_response::UpdatableFeatureResult;
use millrace_protocol::messages::{StrBytes, UpdateFeaturesResponse};
use millrace_protocol::requests::UpdateFeaturesRequest;

use super::error::metadata_error;
use super::{Pace, fixed, read, reply, slice};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};

/// The features that this broker knows.
const SUPPORTED: &[Feature<'_>] = &[];
/// Last version that repeats a success for each feature.
const RESULTS_UPTO: i16 = 1;

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: UpdateFeaturesRequest<'_> = read(context, &body).await?;
    let mut pace = Pace::default();
    let mut updates = Vec::with_capacity(request.feature_updates.len());
    for update in request.feature_updates {
        updates.push(FeatureUpdate {
            feature: update.feature,
            level: update.max_version_level,
            kind: update.upgrade_type,
        });
        pace.step().await;
    }
    let mut response = UpdateFeaturesResponse::default();
    response.error_message = None;
    match update(context, &updates, request.validate_only).await {
        Ok(()) if context.api_version <= RESULTS_UPTO => {
            for update in &updates {
                let mut row = UpdatableFeatureResult::default();
                row.feature = slice(&body, update.feature);
                row.error_message = Some(fixed("NONE"));
                response.results.push(row);
                pace.step().await;
            }
        }
        Ok(()) => {}
        Err((code, message)) => {
            response.error_code = code.code();
            response.error_message = (!message.is_empty()).then(|| StrBytes::from(message));
        }
    }
    context.count_errors([response.error_code]);
    reply(context, &response)
}

async fn update(
    context: &RequestContext,
    updates: &[FeatureUpdate<'_>],
    validate_only: bool,
) -> Result<(), (ErrorCode, String)> {
    if !context.authorize(Operation::Alter, Resource::Cluster) {
        return Err((ErrorCode::ClusterAuthorizationFailed, String::new()));
    }
    let node_id = context.node.config.node.id;
    let decided = context.node.cluster.propose(|image, _| {
        match update_features(image, node_id, SUPPORTED, updates) {
            Ok(records) if !validate_only => (Ok(()), records),
            Ok(_) => (Ok(()), Vec::new()),
            Err(refusal) => (Err(refusal), Vec::new()),
        }
    });
    let outcome = decided.await.map_err(|error| metadata_error(&error))?;
    outcome.map_err(|refusal| (refusal.code, refusal.message))
}
