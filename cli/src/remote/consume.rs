//! `millrace consume`: records to standard output.
//!
//! What always holds: of each partition every record is written once, in order, from where it begins
//! to where it ends; what was written is flushed before more is waited for. As a member of a group it
//! commits nothing that it has not written and flushed, and leaves when it ends.

mod format;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::process::ExitCode;

use clap::Args;
use millrace_client::{
    Consumer, ConsumerOptions, GroupOptions, Isolation, OffsetOrFind, Records, Reset,
    TopicPartition,
};
use millrace_host::real::Signals;
use millrace_protocol::records::{Record, Scratch};

use super::position::Position;
use super::produce::{Bytes, unescape};
use super::progress::Progress;
use super::{At, EXIT_CODES, Failure, Form, Session};
use format::Format;

/// Bytes that are written at once.
const WRITTEN_AT_ONCE: usize = 64 * 1024;

/// Prints the records of topics; goes on as they come, unless it is told where to end.
#[derive(Debug, Args)]
#[command(after_help = format!("{}\n\n{EXIT_CODES}", format::DIRECTIVES))]
pub(crate) struct ConsumeOptions {
    /// The topics.
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// As a member of this group: reads what the group assigns to it, from where the group is, and
    /// commits what was written. --from beginning or end says where a partition begins of which
    /// nothing is committed.
    #[arg(short, long, value_name = "NAME", conflicts_with_all = ["partition", "until", "exit"])]
    group: Option<String>,
    /// Only this partition. May be repeated.
    #[arg(short, long, value_name = "NUMBER")]
    partition: Vec<i32>,
    /// Where to begin: beginning, end, an offset, -10 for ten before the end, or @ and a moment.
    #[arg(
        short = 'o',
        long,
        value_name = "PLACE",
        default_value = "beginning",
        allow_hyphen_values = true
    )]
    from: Position,
    /// Where to end, as it is when the command begins: end, an offset, -10, or @ and a moment.
    #[arg(short, long, value_name = "PLACE", allow_hyphen_values = true)]
    until: Option<Position>,
    /// Ends at the end that the partitions have when the command begins: the same as --until end.
    #[arg(short, long, conflicts_with = "until")]
    exit: bool,
    /// Ends after so many records.
    #[arg(short, long, value_name = "COUNT")]
    count: Option<u64>,
    /// How a record is written.
    #[arg(short, long, value_name = "FORMAT", value_parser = Format::parse)]
    format: Option<Format>,
    /// Writes the key and this in front of the value. \t, \n and \x1f are read.
    #[arg(short = 'K', long, value_name = "TEXT", value_parser = unescape, conflicts_with = "format")]
    key_separator: Option<Bytes>,
    /// Writes the headers and a tab in front of that.
    #[arg(long, conflicts_with = "format")]
    headers: bool,
    /// Writes no record of a transaction that was aborted, nor of one that is still open.
    #[arg(long)]
    committed_only: bool,
    #[command(flatten)]
    at: At,
}

/// Runs the command.
pub(crate) fn run(options: &ConsumeOptions) -> ExitCode {
    super::run(&options.at, async |session| match &options.group {
        Some(group) => take_part(session, options, group).await,
        None => consume(session, options).await,
    })
}

/// What is left to be read of the partitions.
struct Left {
    /// Where each of them ends; none without an end.
    ends: Option<BTreeMap<TopicPartition, i64>>,
    count: u64,
}

impl Left {
    fn is_done(&self) -> bool {
        self.count == 0 || self.ends.as_ref().is_some_and(BTreeMap::is_empty)
    }

    /// Whether this record is still wanted.
    fn takes(&mut self, end: i64, record: &Record<'_>) -> bool {
        if self.count == 0 || record.offset >= end {
            return false;
        }
        self.count -= 1;
        true
    }
}

impl ConsumeOptions {
    fn isolation(&self) -> Isolation {
        if self.committed_only {
            Isolation::ReadCommitted
        } else {
            Isolation::ReadUncommitted
        }
    }

    fn topics(&self) -> Vec<&str> {
        self.topics.iter().map(String::as_str).collect()
    }
}

/// Reads as a member of a group.
async fn take_part(
    session: &Session,
    options: &ConsumeOptions,
    group: &str,
) -> Result<(), Failure> {
    let reset = match options.from {
        Position::Beginning => Reset::Earliest,
        Position::End => Reset::Latest,
        Position::Offset(_) | Position::BeforeEnd(_) | Position::Moment(_) => {
            return Err(Failure::usage("--group goes with --from beginning or end")
                .advise("millrace group reset sets where a group goes on"));
        }
    };
    let topics = options.topics();
    // A member may wait for a topic that is to come; who misspelt its name would wait for ever.
    session.partitions(&topics, &[]).await?;
    let mut signals = Signals::listen()?;
    let reading = ConsumerOptions {
        reset,
        isolation: options.isolation(),
        ..ConsumerOptions::default()
    };
    let group = GroupOptions::new(group, topics);
    let consumer = Consumer::subscribe(&session.cluster, reading, group)?;
    let mut left = Left {
        ends: None,
        count: options.count.unwrap_or(u64::MAX),
    };
    let mut writer = Writer::new(session, options);
    let mut result = Ok(());
    while result.is_ok() && !left.is_done() {
        let next = tokio::select! {
            _ = signals.next() => break,
            next = consumer.next() => next,
        };
        result = match next {
            Ok(records) => write_in_group(&consumer, &records, &mut writer, &mut left),
            Err(error) => Err(error.into()),
        };
    }
    consumer.close().await?;
    result?;
    writer.progress.sum("read");
    Ok(())
}

/// Writes records; what isn't written is not committed.
fn write_in_group(
    consumer: &Consumer,
    records: &Records,
    writer: &mut Writer<'_>,
    left: &mut Left,
) -> Result<(), Failure> {
    let written = writer.write(records, i64::MAX, left);
    let next = match &written {
        Ok(next) => *next,
        Err((from, _)) => *from,
    };
    if next < records.next_offset() {
        let to = OffsetOrFind::Offset(next);
        // One that was revoked meanwhile is another member's, and begins there.
        drop(consumer.seek(records.topic(), records.partition(), to));
    }
    written.map(drop).map_err(|(_, failure)| failure)
}

async fn consume(session: &Session, options: &ConsumeOptions) -> Result<(), Failure> {
    let isolation = options.isolation();
    let partitions = session
        .partitions(&options.topics(), &options.partition)
        .await?;
    let bounds = session.bounds(&partitions, isolation).await?;
    let starts = session.resolve(&options.from, &bounds).await?;
    let until = options
        .until
        .clone()
        .or(options.exit.then_some(Position::End));
    let ends = match &until {
        Some(until) => Some(session.resolve(until, &bounds).await?),
        None => None,
    };
    let mut left = Left {
        count: options.count.unwrap_or(u64::MAX),
        ends: ends.map(|mut ends| {
            ends.retain(|item, end| starts.get(item).is_some_and(|start| start < end));
            ends
        }),
    };
    if left.is_done() {
        return Ok(());
    }
    let consumer = Consumer::new(&session.cluster, reading(options, isolation));
    let wanted = starts.iter().filter(|(item, _)| {
        let ends = left.ends.as_ref();
        ends.is_none_or(|ends| ends.contains_key(item))
    });
    let wanted =
        wanted.map(|(item, start)| (&*item.topic, item.partition, OffsetOrFind::Offset(*start)));
    consumer.assign(wanted).await?;
    write(session, options, &consumer, &mut left).await
}

fn reading(options: &ConsumeOptions, isolation: Isolation) -> ConsumerOptions {
    ConsumerOptions {
        isolation,
        // What was named must be there; retention may take what was found a moment ago.
        reset: match options.from {
            Position::Offset(_) => Reset::Fail,
            Position::Beginning | Position::End | Position::BeforeEnd(_) | Position::Moment(_) => {
                Reset::Earliest
            }
        },
        ..ConsumerOptions::default()
    }
}

async fn write(
    session: &Session,
    options: &ConsumeOptions,
    consumer: &Consumer,
    left: &mut Left,
) -> Result<(), Failure> {
    let mut writer = Writer::new(session, options);
    while !left.is_done() {
        let records = consumer.next().await?;
        let item = TopicPartition::new(records.topic(), records.partition());
        let end = match &left.ends {
            Some(ends) => ends.get(&item).copied().unwrap_or(0),
            None => i64::MAX,
        };
        let written = writer.write(&records, end, left);
        written.map_err(|(_, failure)| failure)?;
        if let Some(ends) = &mut left.ends
            && records.next_offset() >= end
        {
            ends.remove(&item);
            consumer.pause(&item.topic, item.partition)?;
        }
    }
    writer.progress.sum("read");
    Ok(())
}

/// Standard output.
struct Writer<'a> {
    format: Format,
    out: BufWriter<StdoutLock<'a>>,
    progress: Progress,
    scratch: Scratch,
}

impl Writer<'_> {
    fn new(session: &Session, options: &ConsumeOptions) -> Self {
        let format = match (&options.format, session.form) {
            (_, Form::Json) => Format::Json,
            (Some(format), Form::Table) => format.clone(),
            (None, Form::Table) => Format::plain(options.headers, options.key_separator.as_deref()),
        };
        let is_piped = !io::stdout().is_terminal();
        Self {
            format,
            out: BufWriter::with_capacity(WRITTEN_AT_ONCE, io::stdout().lock()),
            progress: Progress::new(&session.host, None, is_piped),
            scratch: Records::scratch(),
        }
    }

    /// Writes those records below `end` that are left, and flushes. Gives the offset behind what was
    /// written; with an error the first that may not be.
    fn write(
        &mut self,
        records: &Records,
        end: i64,
        left: &mut Left,
    ) -> Result<i64, (i64, Failure)> {
        let item = TopicPartition::new(records.topic(), records.partition());
        let mut first = None;
        let mut next = records.next_offset();
        let mut written = Ok(());
        let read = records.read_records(&mut self.scratch, |record| {
            first.get_or_insert(record.offset);
            if left.takes(end, record) {
                if written.is_ok() {
                    written = self.format.write(&mut self.out, &item, record);
                }
                self.progress.step(record.value.map_or(0, <[u8]>::len));
            } else {
                next = next.min(record.offset);
            }
        });
        let first = first.unwrap_or(next);
        read.map_err(|error| (first, error.into()))?;
        written
            .and_then(|()| self.out.flush())
            .map_err(|error| (first, error.into()))?;
        Ok(next)
    }
}
