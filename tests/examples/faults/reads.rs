//! Reads that fail (F17).

use std::time::Duration;

use millrace_client::PartitionReader;
use millrace_tests::strace::Injector;

use crate::stage::{Running, Stage, plan};

/// F17: the device fails every read. A consumer gets an error or a cut connection, never wrong
/// bytes; appends go on; reading works again afterwards.
pub(crate) async fn eio(stage: &Stage) -> Result<String, String> {
    let mut running = Running::start(stage, stage.launch(), &plan(4)).await?;
    let topic = running.client().await?.topic("faults").await;
    let topic = topic.map_err(|error| error.to_string())?;
    let read = async |running: &Running<'_>| {
        let client = running.client().await?;
        let reader = PartitionReader::new(&client, &topic, 0).await;
        let mut reader = reader.map_err(|error| error.to_string())?;
        let batches = reader.next().await.map_err(|error| error.to_string())?;
        let broken = batches.iter().any(|batch| batch.verify_crc().is_err());
        Ok::<_, String>((batches.len(), broken))
    };
    read(&running).await?;
    let inject = [
        "pread64:error=EIO",
        "preadv2:error=EIO",
        "sendfile:error=EIO",
    ];
    let injector = Injector::attach(running.broker.id(), &inject, &[])?;
    let (from, shown) = (running.acknowledged(), running.workload.progress.shown());
    let (mut errors, mut last) = (0, String::new());
    for _ in 0..20 {
        match read(&running).await {
            Ok((_, true)) => return Err("a batch whose CRC doesn't hold was served".to_owned()),
            Ok(_) => {}
            Err(error) => {
                errors += 1;
                last = error;
            }
        }
        stage.pause(Duration::from_millis(20)).await;
    }
    let meanwhile = running.acknowledged() - from;
    let shown = running.workload.progress.shown() - shown;
    injector.detach(&stage.host).await?;
    running.lives()?;
    running.workload.is_alive()?;
    if errors == 0 || meanwhile == 0 {
        return Err(format!(
            "{errors} of 20 reads failed, {meanwhile} acknowledged meanwhile"
        ));
    }
    let again = async || {
        read(&running)
            .await
            .is_ok_and(|(batches, _)| batches > 0)
            .then_some(())
    };
    let ((), took) = stage.comes("a read", Duration::from_secs(5), again).await?;
    Ok(format!(
        "{errors} of 20 reads failed ({last}), none was wrong, {shown} records shown and {meanwhile} \
         acknowledged meanwhile, reading again {took:?} later; {}",
        running.close().await?
    ))
}
