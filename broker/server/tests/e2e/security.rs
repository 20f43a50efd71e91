//! Access lists, delegation tokens and SASL where nothing of them is turned on. Codes and words are
//! those of Apache Kafka 4.3.1 without an authorizer, on a plaintext listener.

use millrace_protocol::api::Api;
use millrace_protocol::messages::create_acls_request::AclCreation;
use millrace_protocol::messages::delete_acls_request::DeleteAclsFilter;
use millrace_protocol::messages::{
    CreateAclsRequest, CreateAclsResponse, CreateDelegationTokenRequest,
    CreateDelegationTokenResponse, DeleteAclsRequest, DeleteAclsResponse, DescribeAclsRequest,
    DescribeAclsResponse, DescribeDelegationTokenRequest, DescribeDelegationTokenResponse,
    ExpireDelegationTokenRequest, ExpireDelegationTokenResponse, RenewDelegationTokenRequest,
    RenewDelegationTokenResponse, SaslAuthenticateRequest, SaslAuthenticateResponse,
    SaslHandshakeRequest, SaslHandshakeResponse,
};

use crate::node::with;

#[test]
fn there_are_no_access_lists() {
    with(&[], async |mut node| {
        for version in 1..=3 {
            let mut request = DescribeAclsRequest::default();
            request.resource_type_filter = 1;
            let client = &mut node.client;
            let answer: DescribeAclsResponse =
                client.ask(Api::DescribeAcls, version, &request).await;
            assert_eq!((answer.error_code, answer.resources.len()), (54, 0));
            let words = "No Authorizer is configured on the broker";
            assert_eq!(answer.error_message.as_deref(), Some(words));
            let words = Some("No Authorizer is configured.");
            for count in [0, 1, 2] {
                let mut request = CreateAclsRequest::default();
                request.creations = vec![AclCreation::default(); count];
                for creation in &mut request.creations {
                    creation.resource_name = "x".into();
                }
                let answer: CreateAclsResponse =
                    client.ask(Api::CreateAcls, version, &request).await;
                assert_eq!(answer.results.len(), count);
                for row in &answer.results {
                    assert_eq!((row.error_code, row.error_message.as_deref()), (54, words));
                }
                let mut request = DeleteAclsRequest::default();
                request.filters = vec![DeleteAclsFilter::default(); count];
                let answer: DeleteAclsResponse =
                    client.ask(Api::DeleteAcls, version, &request).await;
                assert_eq!(answer.filter_results.len(), count);
                for row in &answer.filter_results {
                    assert_eq!((row.error_code, row.error_message.as_deref()), (54, words));
                    assert!(row.matching_acls.is_empty());
                }
            }
        }
    });
}

#[test]
fn tokens_are_not_given_to_who_has_not_authenticated() {
    with(&[], async |mut node| {
        for version in 1..=3 {
            let client = &mut node.client;
            let request = CreateDelegationTokenRequest::default();
            let answer: CreateDelegationTokenResponse = client
                .ask(Api::CreateDelegationToken, version, &request)
                .await;
            assert_eq!(answer.error_code, 64);
            let owner = (
                answer.principal_type.as_str(),
                answer.principal_name.as_str(),
            );
            assert_eq!(owner, ("User", "ANONYMOUS"));
            let requester = answer.token_requester_principal_name.as_str();
            assert_eq!(requester, if version >= 3 { "ANONYMOUS" } else { "" });
            assert_eq!(
                (answer.issue_timestamp_ms, answer.max_timestamp_ms),
                (-1, -1)
            );
            let request = DescribeDelegationTokenRequest::default();
            let answer: DescribeDelegationTokenResponse = client
                .ask(Api::DescribeDelegationToken, version, &request)
                .await;
            assert_eq!((answer.error_code, answer.tokens.len()), (64, 0));
            if version <= 2 {
                let request = RenewDelegationTokenRequest::default();
                let answer: RenewDelegationTokenResponse = client
                    .ask(Api::RenewDelegationToken, version, &request)
                    .await;
                assert_eq!((answer.error_code, answer.expiry_timestamp_ms), (64, -1));
                let request = ExpireDelegationTokenRequest::default();
                let answer: ExpireDelegationTokenResponse = client
                    .ask(Api::ExpireDelegationToken, version, &request)
                    .await;
                assert_eq!((answer.error_code, answer.expiry_timestamp_ms), (64, -1));
            }
        }
    });
}

#[test]
fn a_listener_that_does_not_authenticate_is_in_no_state_for_it() {
    with(&[], async |mut node| {
        for version in 0..=1 {
            let mut request = SaslHandshakeRequest::default();
            request.mechanism = "PLAIN".into();
            let answer: SaslHandshakeResponse =
                node.client.ask(Api::SaslHandshake, version, &request).await;
            assert_eq!((answer.error_code, answer.mechanisms.len()), (34, 0));
        }
        for version in 0..=2 {
            let mut request = SaslAuthenticateRequest::default();
            request.auth_bytes = b"\0user\0password"[..].into();
            let answer: SaslAuthenticateResponse = node
                .client
                .ask(Api::SaslAuthenticate, version, &request)
                .await;
            assert_eq!((answer.error_code, answer.auth_bytes.len()), (34, 0));
            let words = "SaslAuthenticate request received after successful authentication";
            assert_eq!(answer.error_message.as_deref(), Some(words));
        }
        // The connection serves on.
        assert!(node.client.is_served().await);
    });
}
