//! Requests that are none, and the small ones.

use bytes::BufMut;
use millrace_protocol::api::{Api, TABLE};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, DescribeClusterRequest, DescribeClusterResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, InitProducerIdRequest, InitProducerIdResponse,
};

use super::{Run, text, version};
use crate::input::Input;

impl Run<'_> {
    /// A fresh producer id: never one that was given out before.
    pub(super) async fn producer_id(&mut self, input: &mut Input<'_>) {
        let api = (Api::InitProducerId, version(Api::InitProducerId, input));
        let transactional = [None, None, None, Some("t"), Some("")];
        let id = *input.choice(&transactional);
        let mut request = InitProducerIdRequest::default();
        request.transactional_id = id.map(text);
        request.transaction_timeout_ms = 1000;
        let answer: Option<InitProducerIdResponse> = self.wire.ask(api, &request).await;
        let answer = answer.expect("it is answered");
        let code = match id {
            None => ErrorCode::None,
            Some("") => ErrorCode::InvalidRequest,
            Some(_) => ErrorCode::TransactionalIdAuthorizationFailed,
        };
        assert_eq!(answer.error_code, code.code());
        if code.is_none() {
            let before = self.model.producer_id.max(-1);
            assert!(
                answer.producer_id > before || before == 0,
                "{answer:?} after {before}"
            );
            assert_eq!(answer.producer_epoch, 0);
            self.model.producer_id = answer.producer_id;
        } else {
            assert_eq!((answer.producer_id, answer.producer_epoch), (-1, -1));
        }
    }

    /// What the broker says of itself and of coordinators.
    pub(super) async fn ask_for_others(&mut self, input: &mut Input<'_>) {
        match input.byte() % 3 {
            0 => self.api_versions(input).await,
            1 => {
                let api = (Api::DescribeCluster, version(Api::DescribeCluster, input));
                let mut request = DescribeClusterRequest::default();
                if api.1 >= 1 {
                    request.endpoint_type = 1;
                }
                let answer: Option<DescribeClusterResponse> = self.wire.ask(api, &request).await;
                let answer = answer.expect("it is answered");
                assert_eq!((answer.error_code, answer.brokers.len()), (0, 1));
            }
            _ => self.find_coordinator(input).await,
        }
    }

    async fn api_versions(&mut self, input: &mut Input<'_>) {
        let api = (Api::ApiVersions, version(Api::ApiVersions, input));
        let mut request = ApiVersionsRequest::default();
        if api.1 >= 3 {
            request.client_software_name = text("fuzz");
            request.client_software_version = text("1");
        }
        let answer: Option<ApiVersionsResponse> = self.wire.ask(api, &request).await;
        let answer = answer.expect("it is answered");
        assert_eq!(answer.error_code, 0);
        let told = answer.api_keys.iter().map(|row| row.api_key);
        assert!(told.eq(TABLE.iter().map(|row| row.api.key())));
    }

    async fn find_coordinator(&mut self, input: &mut Input<'_>) {
        let api = (Api::FindCoordinator, version(Api::FindCoordinator, input));
        let kind = if api.1 >= 1 { input.byte() % 4 } else { 0 };
        let mut request = FindCoordinatorRequest::default();
        if api.1 >= 1 {
            request.key_type = kind as i8;
        }
        if api.1 >= 4 {
            request.coordinator_keys = vec![text("g")];
        } else {
            request.key = text("g");
        }
        let answer: Option<FindCoordinatorResponse> = self.wire.ask(api, &request).await;
        let answer = answer.expect("it is answered");
        let code = match kind {
            0 => ErrorCode::None,
            1 => ErrorCode::TransactionalIdAuthorizationFailed,
            2 if api.1 >= 6 => ErrorCode::CoordinatorNotAvailable,
            _ => ErrorCode::InvalidRequest,
        };
        let told = match &answer.coordinators[..] {
            [] => answer.error_code,
            [row, ..] => row.error_code,
        };
        assert_eq!(told, code.code(), "{answer:?}");
        if kind == 0 {
            self.model.makes_groups();
        }
    }

    /// Bytes that are no request: the connection ends, and nothing else does.
    pub(super) async fn send_garbage(&mut self, input: &mut Input<'_>) {
        let kind = input.byte();
        let length = usize::from(input.byte() % 64);
        let bytes = input.take(length);
        let mut frame = Vec::new();
        match kind % 4 {
            // No API has this key.
            0 => {
                frame.put_slice(&(10 + length as u32).to_be_bytes());
                frame.put_slice(&[0x7f, kind, 0, 0, 0, 0, 0, 1, 0, 0]);
                frame.put_slice(bytes);
            }
            // No request is so long, or of a negative length.
            1 => frame.put_slice(&(0x7fff_ffff_u32 + u32::from(kind / 4 % 2)).to_be_bytes()),
            // A version that is not served.
            2 => {
                let row = &TABLE[usize::from(kind / 4) % TABLE.len()];
                if row.api == Api::ApiVersions {
                    return;
                }
                let mut request = self.wire.framed((row.api, row.served.max), bytes);
                request[6..8].copy_from_slice(&(row.served.max + 1).to_be_bytes());
                frame.put_slice(&request);
            }
            // A body that ends within its first field.
            _ => {
                let api = [
                    Api::Produce,
                    Api::Fetch,
                    Api::CreateTopics,
                    Api::ListOffsets,
                ];
                let api = api[usize::from(kind / 4) % 4];
                let request = self.wire.framed((api, api.row().served.max), &[0xff]);
                frame.put_slice(&request);
            }
        }
        self.wire.send(&frame).await;
        let answer = self.wire.receive().await;
        assert!(answer.is_none(), "garbage has an answer: {answer:?}");
        self.reconnect().await;
    }
}
