//! The shipped binary under `strace` with load: for every acknowledged acks=all request, write →
//! sync returned → answer sent. Then again with syncs that the tracer answers in the kernel's
//! place: the same check has to fail. `cargo xtask trace` builds and runs it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use millrace_client::{Client, NewTopic};
use millrace_host::Host;
use millrace_host::real::{Options, RealHost};
use millrace_tests::load::{Producing, patient, together};
use millrace_tests::process::{Launch, Signal};
use millrace_tests::strace::watching;
use millrace_tests::trace::{Proof, Way, prove};

/// How long the tracer may take to write its last line.
const TRACE_TIMEOUT: Duration = Duration::from_mins(1);
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("trace: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let usage = || "usage: trace BINARY BATCHES".to_owned();
    let binary = PathBuf::from(arguments.next().ok_or_else(usage)?);
    let batches: usize = arguments
        .next()
        .and_then(|batches| batches.parse().ok())
        .ok_or_else(usage)?;
    let machine = RealHost::start(&Options::default()).map_err(|error| error.to_string())?;
    let host = machine.host();
    machine.block_on(async {
        holds(&host, &binary, batches).await?;
        // Less load is enough to be found out.
        let few = (batches / 10).max(20);
        for inject in SUPPRESSED {
            bites(&host, &binary, few, inject).await?;
        }
        Ok(())
    })
}

/// What is suppressed, and whether nothing at all may be proven then.
const SUPPRESSED: [(&str, &str, bool); 3] = [
    ("every sync of bytes", "fdatasync:retval=0", true),
    ("every sync of names", "fsync:retval=0", true),
    // Counted by each thread for itself.
    (
        "every fourth sync of bytes",
        "fdatasync:retval=0:when=4+4",
        false,
    ),
];

async fn holds(host: &Host, binary: &Path, batches: usize) -> Result<(), String> {
    let proof = traced(host, binary, batches, &[]).await?;
    if let Some(first) = proof.unproven.first() {
        return Err(format!(
            "{} of {} acknowledged batches were not durable when their answers left; first: {first}",
            proof.unproven.len(),
            proof.unproven.len() + proof.proven.len(),
        ));
    }
    if proof.hasty_commits > 0 {
        return Err(format!(
            "{} commits were written before the sync of the one before had returned",
            proof.hasty_commits
        ));
    }
    let (journal, direct) = (proof.by(Way::Journal), proof.by(Way::Direct));
    if journal == 0 || direct == 0 {
        return Err(format!(
            "{journal} batches went by the journal and {direct} directly: the run proves too little"
        ));
    }
    eprintln!(
        "trace: {} requests acknowledged, each after its sync had returned: {journal} by a commit of \
         the journal ({} commits), {direct} by the segment's own sync with names and mark",
        proof.requests, proof.commits
    );
    Ok(())
}

/// Without the syncs the same check must fail.
async fn bites(
    host: &Host,
    binary: &Path,
    batches: usize,
    (what, inject, all): (&str, &str, bool),
) -> Result<(), String> {
    let proof = traced(host, binary, batches, &[inject]).await?;
    let (unproven, proven) = (proof.unproven.len(), proof.proven.len());
    if unproven == 0 || (all && proven > 0) {
        return Err(format!(
            "without {what} the check must fail; it took {proven} batches as proven, {unproven} not"
        ));
    }
    eprintln!(
        "trace: without {what} the check fails, as it must: {unproven} of {} batches unproven, {} \
         commits before the last one's sync",
        unproven + proven,
        proof.hasty_commits
    );
    Ok(())
}

/// A broker's whole life under load and `strace`, judged.
async fn traced(
    host: &Host,
    binary: &Path,
    batches: usize,
    inject: &[&str],
) -> Result<Proof, String> {
    let place = tempfile::tempdir().map_err(|error| error.to_string())?;
    let place = place
        .path()
        .canonicalize()
        .map_err(|error| error.to_string())?;
    let trace = place.join("trace");
    let launch = watching(Launch::new(binary, &place.join("data")), &trace, inject);
    let mut broker = launch.start()?;
    let loaded = load(host, broker.address(), batches).await;
    let id = broker.id();
    let status = broker.end(Signal::Terminate)?;
    loaded?;
    if !status.success() {
        return Err(format!("SIGTERM must end it with 0, not {status}"));
    }
    let trace = whole(host, &trace, id).await?;
    prove(&trace).map_err(|error| error.to_string())
}

/// The trace once its last line is there: the end of the process's first thread.
async fn whole(host: &Host, path: &Path, id: u32) -> Result<String, String> {
    let clock = &host.clock;
    let deadline = clock.now().mono + TRACE_TIMEOUT;
    loop {
        let trace = std::fs::read(path).map_err(|error| format!("no trace: {error}"))?;
        let trace = String::from_utf8_lossy(&trace).into_owned();
        let last = trace.lines().next_back().unwrap_or_default();
        if last.starts_with(&format!("{id} ")) && last.contains("+++ exited") {
            return Ok(trace);
        }
        if clock.now().mono > deadline {
            return Err(format!("the trace does not end; its last line: {last}"));
        }
        clock
            .sleep_until(clock.now().mono + Duration::from_millis(20))
            .await;
    }
}

/// Small batches to many partitions, which share commits; large ones, which sync their segments and
/// roll them; and both in turn to one partition.
async fn load(host: &Host, address: std::net::SocketAddr, batches: usize) -> Result<(), String> {
    let words = |error: millrace_client::Error| error.to_string();
    let connect = || Client::connect(host, address, patient(REQUEST_TIMEOUT));
    let admin = connect().await.map_err(words)?;
    let make = async |name: &str, partitions| {
        let new = NewTopic::new(name, partitions).with("segment.bytes", "1048576");
        admin.create_topic(&new).await.map_err(words)
    };
    let (small, large, both) = (
        make("small", 6).await?,
        make("large", 2).await?,
        make("both", 1).await?,
    );
    let producing = |token: &str, topic: &millrace_client::Topic, sizes: &[usize]| Producing {
        token: token.to_owned(),
        topic: topic.clone(),
        partitions: (0..topic.partitions).collect(),
        sizes: sizes.to_vec(),
        batches,
        in_flight: 5,
    };
    let mut producers = Vec::new();
    for number in 0..4 {
        producers.push(producing(
            &format!("small{number}"),
            &small,
            &[40, 300, 1000],
        ));
    }
    for number in 0..2 {
        let mut one = producing(&format!("large{number}"), &large, &[70_000, 150_000]);
        one.batches = (batches / 10).max(10);
        one.in_flight = 2;
        producers.push(one);
    }
    let mut one = producing("both", &both, &[100, 80_000, 200, 2000]);
    one.batches = (batches / 5).max(10);
    producers.push(one);
    let foreign = foreign(address, batches)?;
    let mut tasks = Vec::new();
    for producing in producers {
        let (host, client) = (host.clone(), connect().await.map_err(words)?);
        tasks.push(async move {
            let took = producing.run(&host, &client).await;
            took.map_err(|error| error.to_string())
        });
    }
    together(host, tasks).await?;
    let foreign = foreign.wait_with_output();
    let foreign = foreign.map_err(|error| format!("kcat cannot be waited for: {error}"))?;
    if foreign.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&foreign.stderr);
    Err(format!("kcat ended with {}: {said}", foreign.status))
}

/// librdkafka beside them, in a topic of its own; each record a batch.
fn foreign(address: std::net::SocketAddr, batches: usize) -> Result<Child, String> {
    let broker = address.to_string();
    let mut kcat = Command::new("kcat")
        .args(["-P", "-b", &broker, "-t", "foreign", "-X", "acks=all"])
        .args([
            "-X",
            "enable.idempotence=true",
            "-X",
            "batch.num.messages=1",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start kcat: {error}"))?;
    let lines: Vec<String> = (0..batches).map(|nth| format!("foreign-{nth}\n")).collect();
    let mut input = kcat.stdin.take().ok_or("kcat takes no input")?;
    // Far less than kcat keeps in memory: it reads all of it at once.
    let written = input.write_all(lines.concat().as_bytes());
    written.map_err(|error| format!("kcat does not read: {error}"))?;
    Ok(kcat)
}
