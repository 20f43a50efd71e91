//! Who may do what: access control lists by which the broker lets and refuses, and delegation tokens.

use std::time::Duration;

use millrace_client::{
    Acl, AclFilter, AclNames, AclOperation, AclPattern, AclPermission, AclResource, Admin, Cluster,
    NewDelegationToken, NewTopic, Principal, Producer, ProducerOptions, Record, Sasl, Security,
};

use crate::{PASSWORD, Stage, USER, encrypted, known, say, text};

/// A topic that one of both may not write.
const TOPIC: &str = "entitled";
/// Whose certificate the suite makes.
const DENIED_LISTENER: &str = "mtls";

/// Runs all of it.
pub(crate) async fn all(stage: &Stage) -> Result<(), String> {
    let alice = stage
        .connect("sasl", known(Sasl::scram_sha_256(USER, PASSWORD)))
        .await?;
    let other = stage.connect(DENIED_LISTENER, encrypted(stage.tls_as_client()));
    let other = other.await?;
    stage
        .within(Box::pin(lists(stage, &alice, &other)))
        .await??;
    stage.within(Box::pin(tokens(stage, &alice))).await??;
    let security: Security = known(Sasl::plain(USER, PASSWORD));
    // By PLAIN alice is the same user, with the same rights.
    let again = stage.connect("sasl", security).await?;
    let all = AclFilter::default();
    let left = Admin::new(&again).describe_acls(&all).await.map_err(text)?;
    if !left.is_empty() {
        return Err(format!("entries are left: {left:?}"));
    }
    Ok(())
}

async fn lists(stage: &Stage, alice: &Cluster, other: &Cluster) -> Result<(), String> {
    let admin = Admin::new(alice);
    let made = admin.create_topics(&[NewTopic::new(TOPIC, 1)]).await;
    for outcome in made.map_err(text)?.into_values() {
        outcome.map_err(text)?;
    }
    write(other).await?;
    let deny = Acl {
        permission: AclPermission::Deny,
        pattern: AclPattern::Prefixed,
        ..Acl::allow("User:*", AclOperation::Write, AclResource::Topic, "entit")
    };
    let allow = Acl::allow("User:bob", AclOperation::Read, AclResource::Topic, TOPIC);
    let wrong = Acl::allow("bob", AclOperation::Read, AclResource::Topic, TOPIC);
    let asked = [deny.clone(), allow.clone(), wrong.clone()];
    let mut made = admin.create_acls(&asked).await.map_err(text)?;
    if made.remove(&wrong).is_none_or(|outcome| outcome.is_ok()) {
        return Err("a principal without a kind was taken".to_owned());
    }
    for outcome in made.into_values() {
        outcome.map_err(text)?;
    }
    // The broker takes an entry into account once its metadata have it.
    let refused = async || write(other).await.is_err().then_some(());
    stage.comes("the refusal of a record", refused).await?;
    let about = AclFilter {
        resource: Some(AclResource::Topic),
        name: Some(TOPIC.to_owned()),
        names: AclNames::Matching,
        ..AclFilter::default()
    };
    let found = admin.describe_acls(&about).await.map_err(text)?;
    let mut expected = vec![deny.clone(), allow.clone()];
    expected.sort();
    if found != expected {
        return Err(format!("{found:?} instead of {expected:?}"));
    }
    let exactly = AclFilter {
        names: AclNames::Exactly(AclPattern::Literal),
        ..about.clone()
    };
    if admin.describe_acls(&exactly).await.map_err(text)? != [allow.clone()] {
        return Err("a filter of one pattern found another".to_owned());
    }
    let deleted = admin.delete_acls(std::slice::from_ref(&about)).await;
    let mut deleted = deleted.map_err(text)?;
    let gone = deleted.remove(&about).ok_or("a filter has no outcome")?;
    let gone = gone.map_err(text)?;
    if gone.len() != 2 || gone.values().any(Result::is_err) {
        return Err(format!("{gone:?} instead of both"));
    }
    let taken = async || write(other).await.is_ok().then_some(());
    stage.comes("the acceptance of a record", taken).await?;
    say("pass acls: entries made, seen, obeyed and deleted");
    Ok(())
}

async fn write(cluster: &Cluster) -> Result<(), String> {
    let producer = Producer::new(cluster, &ProducerOptions::default()).map_err(text)?;
    let record = Record::to(TOPIC).value(b"v");
    let delivery = producer.send(&record).await.map_err(text)?;
    delivery.wait().await.map(drop).map_err(text)
}

async fn tokens(stage: &Stage, alice: &Cluster) -> Result<(), String> {
    let admin = Admin::new(alice);
    let owner = Principal::user(USER);
    let bob = Principal::user("bob");
    let new = NewDelegationToken {
        renewers: vec![bob.clone()],
        lifetime: Some(Duration::from_hours(1)),
        ..NewDelegationToken::default()
    };
    let made = admin.create_delegation_token(&new).await.map_err(text)?;
    if (&made.owner, &made.requester) != (&owner, &owner)
        || made.ends_ms - made.issued_ms != 3_600_000
    {
        return Err(format!("not what was asked for: {made:?}"));
    }
    let known = async || {
        let tokens = admin.describe_delegation_tokens(Some(std::slice::from_ref(&owner)));
        let tokens = tokens.await.ok()?;
        (tokens == [made.clone()]).then_some(())
    };
    stage.comes("the token among those told", known).await?;
    let period = Some(Duration::from_mins(10));
    let renewed = admin.renew_delegation_token(&made.hmac, period).await;
    if renewed.map_err(text)? > made.ends_ms {
        return Err("a token was renewed beyond its end".to_owned());
    }
    let ended = admin.expire_delegation_token(&made.hmac, None).await;
    ended.map_err(text)?;
    let gone = async || {
        let tokens = admin.describe_delegation_tokens(None).await.ok()?;
        tokens.is_empty().then_some(())
    };
    stage.comes("the end of the token", gone).await?;
    let again = admin.renew_delegation_token(&made.hmac, None).await;
    if again.is_ok() {
        return Err("a token that ended was renewed".to_owned());
    }
    say("pass tokens: one made, seen, renewed and ended");
    Ok(())
}
