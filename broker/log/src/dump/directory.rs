//! What a log directory knows of itself: the ledger and the commits of its journals.

use std::sync::Arc;

use millrace_host::File;

use super::{Dump, Line};
use crate::codec::Take;
use crate::dir::format::{self, Read};
use crate::error::Error;
use crate::journal::commit::{Entry, Opened};
use crate::journal::{mark_form, reader};
use crate::ledger::{Ledger, LedgerEntry, Run, take_run};
use crate::mark::{Incarnation, Position};
use crate::partition_metadata::base64;

impl Dump<'_> {
    pub(super) async fn ledger(&mut self, file: &Arc<dyn File>) -> Result<(), Error> {
        let bytes = Self::whole(file).await?;
        let read = Ledger::dir_id(&bytes).and_then(|dir_id| Ledger::decode(dir_id, &bytes));
        let Some((ledger, sequence)) = read else {
            return self.complain(0, "torn or damaged; the other ledger file counts alone");
        };
        let line = Line::new("ledger")
            .unsigned("sequence", sequence)
            .text("lastCommit", commit(ledger.last))
            .text("settledThrough", commit(ledger.settled_through))
            .int("wallMs", ledger.wall_ms)
            .unsigned("partitions", ledger.entries.len() as u64);
        self.say(&run_fields(line, &ledger.run).unsigned("sameSince", ledger.same_since))?;
        for (whose, entry) in &ledger.entries {
            self.say(&entry_line(*whose, entry))?;
            for segment in &entry.segments {
                let line = Line::new("segment")
                    .text("partition", format!("{}-{}", entry.topic, whose.partition))
                    .int("baseOffset", segment.id.base_offset)
                    .unsigned("generation", segment.id.generation)
                    .flag("holes", segment.holes)
                    .flag("swapping", segment.swapping);
                let line = match segment.cleaned {
                    Some(upto) => line.int("cleanedUpTo", upto),
                    None => line,
                };
                let line = match segment.sealed {
                    Some(sealed) => line
                        .unsigned("bytes", sealed.bytes)
                        .int("nextOffset", sealed.next_offset)
                        .int("maxTimestamp", sealed.max_timestamp_ms),
                    None => line,
                };
                self.say(&line)?;
            }
        }
        Ok(())
    }

    pub(super) async fn journal(&mut self, file: &Arc<dyn File>) -> Result<(), Error> {
        let dir = file.path().parent().unwrap_or(file.path());
        let Some(Read::Format(own)) = format::read(self.disk, dir).await? else {
            let what = format!(
                "{}: a journal is read by the {} beside it, which isn't there or is damaged",
                file.path().display(),
                format::NAME
            );
            return Err(Error::BadFile { what });
        };
        for located in reader::all(file, own.dir_id).await? {
            let bytes = located.load().await?;
            let opened = located.open(&bytes);
            let header = &located.header;
            let line = Line::new("commit")
                .unsigned("position", located.offset())
                .unsigned("generation", header.place.generation)
                .unsigned("number", header.place.number)
                .int("wallMs", header.wall_ms)
                .flag("closing", header.closing)
                .unsigned("size", header.total_len() as u64)
                .flag("isvalid", opened.is_whole());
            self.say(&line)?;
            self.commit_entries(&opened)?;
            if !opened.is_whole() {
                self.complain(located.offset(), "the commit is torn or damaged")?;
            }
        }
        Ok(())
    }

    fn commit_entries(&mut self, opened: &Opened<'_>) -> Result<(), Error> {
        for entry in &opened.entries {
            let line = match entry {
                Entry::Data(whose, place, bytes) => Line::new("data")
                    .text("partition", name(*whose))
                    .int("baseOffset", place.segment.base_offset)
                    .unsigned("generation", place.segment.generation)
                    .unsigned("position", place.position)
                    .int("firstOffset", place.first_offset)
                    .int("nextOffset", place.next_offset)
                    .unsigned("size", bytes.len() as u64),
                Entry::Mark(whose, bytes) => {
                    let line = Line::new("mark").text("partition", name(*whose));
                    let mark = mark_form::decode(bytes);
                    let words = mark.map_or_else(|| "unreadable".to_owned(), |m| format!("{m:?}"));
                    line.text("mark", words)
                }
                Entry::Start(bytes) => match take_run(&mut Take(bytes)) {
                    Some(run) => run_fields(Line::new("start"), &run),
                    None => Line::new("start").text("run", "unreadable"),
                },
            };
            self.say(&line)?;
        }
        Ok(())
    }
}

fn commit(id: crate::journal::commit::CommitId) -> String {
    format!("{}/{}", id.generation, id.number)
}

/// Topic id and partition: the journal doesn't know a topic's name but where it began.
fn name(whose: Incarnation) -> String {
    format!("{}/{}", base64(whose.topic_id), whose.partition)
}

fn run_fields(line: Line, run: &Run) -> Line {
    let unknown = || "unknown".to_owned();
    line.unsigned("generation", run.generation)
        .text("boot", run.boot.clone().unwrap_or_else(unknown))
        .text("mount", run.mount.clone().unwrap_or_else(unknown))
}

fn entry_line(whose: Incarnation, entry: &LedgerEntry) -> Line {
    Line::new("partition")
        .text("partition", format!("{}-{}", entry.topic, whose.partition))
        .text("topicId", base64(whose.topic_id))
        .int("logStart", entry.log_start)
        .int("highWatermark", entry.high_watermark)
        .text("flushed", place(entry.flushed))
        .text("settled", place(entry.settled))
        .text("closed", place(entry.close))
        .text("epochs", format!("{:?}", entry.epochs))
        .text("durability", format!("{:?}", entry.mode))
        .text(
            "snapshots",
            format!(
                "{:?}",
                entry
                    .snapshots
                    .iter()
                    .map(|one| one.offset)
                    .collect::<Vec<_>>()
            ),
        )
        .unsigned("cuts", entry.cut_count)
        .flag("cutPending", entry.pending_cut.is_some())
        .flag("deleting", entry.deleting)
        .flag("damaged", entry.damaged)
        .unsigned("sinceGeneration", entry.since_generation)
}

/// `offset N at byte B of segment S`, or `none`.
fn place(position: Option<Position>) -> String {
    position.map_or_else(
        || "none".to_owned(),
        |at| {
            let Position {
                segment,
                bytes,
                offset,
            } = at;
            format!(
                "offset {offset} at byte {bytes} of segment {}",
                segment.base_offset
            )
        },
    )
}
