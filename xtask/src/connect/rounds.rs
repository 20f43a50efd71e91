//! Rounds of kills: the broker, a worker, the sink, and all of them, each once what was there before
//! has come through to all ends.

use std::time::Duration;

use super::workers::until;
use super::{Extent, Stage, lines};
use crate::Outcome;

const LOAD_END_LIMIT: Duration = Duration::from_mins(1);

impl Stage {
    /// Kills everybody in turn while tables and file change.
    pub(super) fn kill_in_rounds(&mut self, extent: &Extent, seed: u64) -> Outcome {
        let lines = self.directory.join("lines.txt").display().to_string();
        let (source, seed) = (self.postgres.source(), seed.to_string());
        let arguments = [source.as_str(), &lines, &seed];
        let mut load = self
            .programs
            .start("load.py", &arguments, &self.directory)?;
        self.start_sink()?;
        self.progress()?;
        for round in 0..extent.rounds {
            self.say(&format!("round {}: the broker", round + 1));
            self.kill_broker()?;
            self.progress()?;
            self.say("a column is added; a worker");
            let column = format!("alter table customers add column note_{round} text");
            self.postgres.ask(&column)?;
            let worker = round as usize % self.workers.len();
            self.kill_workers(&[worker])?;
            self.progress()?;
            self.say("the sink");
            self.kill_sink()?;
            self.progress()?;
            if extent.hard {
                self.say("the sink while the broker is away; all workers");
                self.broker.kill()?;
                self.kill_sink()?;
                self.broker.restart()?;
                self.broker_kills += 1;
                self.kill_workers(&self.all_workers())?;
                self.progress()?;
            }
        }
        load.terminate()?;
        let status = load.wait(LOAD_END_LIMIT)?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("load.py ended with {status}"))
        }
    }

    /// Waits until what is there now has come through to all ends.
    fn progress(&mut self) -> Outcome {
        let lines = lines::count(&self.directory.join("lines.txt"))?;
        let ledger = self.postgres.number("select max(id) from ledger")?;
        let sink = self.directory.join("sink.txt");
        let newest = "select coalesce(max(id), 0) from sink.ledger";
        let arrived = until("what was written has come through", || {
            let (line, id) = (lines::newest(&sink), self.postgres.number(newest)?);
            if line + 1 >= lines && id >= ledger {
                Ok(())
            } else {
                Err(format!(
                    "line {line} of {lines} is in the file, row {id} of {ledger} in the sink's table"
                ))
            }
        });
        arrived.map_err(|reason| {
            let states = self.workers[0].ask("GET", "/connectors?expand=status", None, 200);
            format!("{reason}\n{states:?}")
        })
    }

    fn start_sink(&mut self) -> Outcome {
        let (address, source) = (self.broker.address(), self.postgres.source());
        let arguments = [address.as_str(), "shop.public.ledger", &source];
        let sink = self
            .programs
            .start("sink.py", &arguments, &self.directory)?;
        self.sink = Some(sink);
        Ok(())
    }

    fn kill_sink(&mut self) -> Outcome {
        if let Some(mut sink) = self.sink.take() {
            sink.kill()?;
            self.sink_kills += 1;
        }
        self.start_sink()
    }

    fn kill_broker(&mut self) -> Outcome {
        self.broker.kill()?;
        self.broker.restart()?;
        self.broker_kills += 1;
        Ok(())
    }

    pub(super) fn all_workers(&self) -> Vec<usize> {
        (0..self.workers.len()).collect()
    }

    pub(super) fn kill_workers(&mut self, which: &[usize]) -> Outcome {
        for &nth in which {
            self.workers[nth].kill()?;
            self.worker_kills += 1;
        }
        for &nth in which {
            self.workers[nth].restart()?;
        }
        Ok(())
    }
}
