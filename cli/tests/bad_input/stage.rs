//! A place of its own for each test, and the broker of the binary under test in it. Whatever is
//! waited for has a deadline.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use millrace_client::{Acks, Client, ClientOptions, Error, NewTopic, PartitionReader, Topic};
use millrace_host::Host;
use millrace_host::real::{Options, RealHost};
use millrace_protocol::records::{self, BatchBuilder};
use tempfile::TempDir;

/// What must come comes within this, on a machine that has much else to do.
const COMES_WITHIN: Duration = Duration::from_mins(2);
/// Between two looks.
const LOOK_AFTER: Duration = Duration::from_millis(10);

/// A machine and a directory.
pub(crate) struct Place {
    machine: RealHost,
    root: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            machine: RealHost::start(&Options::default()).unwrap(),
            root: TempDir::new().unwrap(),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn host(&self) -> Host {
        self.machine.host()
    }

    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.machine.block_on(work)
    }

    /// The setting that puts the data into directories of these names.
    pub(crate) fn dirs(&self, names: &[&str]) -> String {
        let paths: Vec<String> = names
            .iter()
            .map(|name| self.path(name).display().to_string())
            .collect();
        format!("log.dirs={}", paths.join(","))
    }

    /// `millrace serve` on these directories, with more settings.
    pub(crate) fn serve(&self, directories: &[&str], sets: &[&str]) -> Command {
        let dirs = self.dirs(directories);
        let mut command = millrace();
        command.arg("serve");
        let ours = [
            "listeners=PLAINTEXT://127.0.0.1:0",
            "admin.listener=127.0.0.1:0",
            &dirs,
        ];
        for set in ours.iter().chain(sets) {
            command.args(["--set", set]);
        }
        command
    }

    /// A broker on these directories.
    pub(crate) fn start(&self, directories: &[&str]) -> Node {
        Node::start(self, self.serve(directories, &[]))
    }

    /// The code with which a broker that must not start ends, and what it says in one line.
    pub(crate) fn refusal(mut command: Command) -> (i32, String) {
        command.env("RUST_LOG", "off");
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        if !line.is_empty() {
            drop(child.kill());
            drop(child.wait());
            panic!("it serves: {line}");
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.starts_with("millrace: "), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        (output.status.code().unwrap(), said)
    }

    /// A start that is refused with this code and all these words.
    pub(crate) fn refuses(command: Command, code: i32, words: &[&str]) {
        let shown = format!("{command:?}");
        let (told, said) = Self::refusal(command);
        assert_eq!(told, code, "{shown}: {said}");
        says(&said, words);
    }

    /// Looks again and again until it is so.
    pub(crate) async fn until(&self, what: &str, mut so: impl AsyncFnMut() -> bool) {
        let clock = self.host().clock;
        let since = clock.now().mono;
        while !so().await {
            let waited = clock.now().mono.since(since);
            assert!(waited < COMES_WITHIN, "{what}: not within {waited:?}");
            clock.sleep_until(clock.now().mono + LOOK_AFTER).await;
        }
    }
}

/// The binary.
pub(crate) fn millrace() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.stdin(Stdio::null());
    command
}

/// That a text has all the words.
pub(crate) fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{text:?} lacks {word:?}");
    }
}

/// A broker that serves; killed when dropped.
pub(crate) struct Node {
    child: Child,
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    log: PathBuf,
    // A broker that writes to a closed pipe would end.
    _output: BufReader<ChildStdout>,
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Node {
    pub(crate) fn start(place: &Place, mut command: Command) -> Self {
        let log = place.path("log-of-the-broker");
        let file = fs::File::options().create(true).append(true).open(&log);
        let command = command.stdout(Stdio::piped()).stderr(file.unwrap());
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut address = None;
        let mut line = String::new();
        while output.read_line(&mut line).unwrap() > 0 {
            if let Some(text) = line.trim().strip_prefix("listening on PLAINTEXT://") {
                address = text.parse().ok();
            }
            if let Some(text) = line.trim().strip_prefix("metrics and health on http://") {
                let admin = text.strip_suffix("/metrics").unwrap();
                return Self {
                    child,
                    address: address.unwrap(),
                    admin: admin.parse().unwrap(),
                    log,
                    _output: output,
                };
            }
            line.clear();
        }
        let status = child.wait().unwrap();
        panic!(
            "it does not serve: {status}: {}",
            fs::read_to_string(&log).unwrap()
        );
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything that brokers in this place have logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it cleanly.
    pub(crate) fn stop(mut self) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        assert!(sent.unwrap().success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// How it ended; `None` while it runs.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// One page of the admin server, with its head.
    pub(crate) fn page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        stream.set_read_timeout(Some(COMES_WITHIN)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    /// The sum of a metric's series that have these words among their labels.
    pub(crate) fn metric(&self, name: &str, labels: &str) -> u64 {
        let page = self.page("/metrics");
        let series = page.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let rest = series.strip_prefix(name)?;
            let is_it = rest.is_empty() || rest.starts_with('{');
            (is_it && rest.contains(labels)).then(|| value.parse::<f64>().unwrap())
        });
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts and sizes, which are whole and small"
        )]
        let sum = series.sum::<f64>() as u64;
        sum
    }

    /// Its largest resident size so far, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() * 1024
    }
}

/// A client with much patience.
pub(crate) async fn connect(host: &Host, node: &Node) -> Client {
    let options = ClientOptions {
        request_timeout: COMES_WITHIN,
        ..ClientOptions::default()
    };
    Client::connect(host, node.address, options).await.unwrap()
}

/// A new topic of one partition.
pub(crate) async fn topic(client: &Client, name: &str) -> Topic {
    let wish = NewTopic::new(name, 1);
    client.create_topic(&wish).await.unwrap()
}

/// Now, in milliseconds since 1970, as clients have it.
pub(crate) fn now_ms() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "a client's clock, which no test waits for"
    )]
    let now = SystemTime::now();
    let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since_1970.as_millis()).unwrap()
}

/// One record of this time as a batch.
pub(crate) fn record_of(time_ms: i64, value: &[u8]) -> Bytes {
    let mut builder = BatchBuilder::new(records::Options::default());
    builder.push(time_ms, None, Some(value), &[]).unwrap();
    builder.build()
}

/// Has a batch acknowledged; its offset.
pub(crate) async fn produce_batch(
    client: &Client,
    topic: &Topic,
    batch: Bytes,
) -> Result<i64, Error> {
    let produced = client.produce(topic, 0, Acks::All, batch).await?;
    Ok(produced.unwrap().base_offset)
}

/// The same with one record of now.
pub(crate) async fn produce(client: &Client, topic: &Topic, value: &[u8]) -> Result<i64, Error> {
    produce_batch(client, topic, record_of(now_ms(), value)).await
}

/// Everything that a consumer sees of partition 0: offsets and values.
pub(crate) async fn everything(client: &Client, topic: &Topic) -> Vec<(i64, Vec<u8>)> {
    let mut reader = PartitionReader::new(client, topic, 0).await.unwrap();
    let mut scratch = records::Scratch::new(1 << 20);
    let mut seen = Vec::new();
    loop {
        let batches = reader.next().await.unwrap();
        if batches.is_empty() {
            return seen;
        }
        for batch in &batches {
            for record in records::record_iter(batch, &mut scratch).unwrap() {
                let record = record.unwrap();
                seen.push((record.offset, record.value.unwrap().to_vec()));
            }
        }
    }
}
