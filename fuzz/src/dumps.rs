//! What `millrace dump-log` shows of a log directory.
//!
//! What always holds: a dump ends, or an error says why; it changes no file.

use std::path::Path;

use millrace_host::Host;
use millrace_log::dump::{Line, Options, dump};
use millrace_sim::Sim;

use crate::disk::{self, Files};

/// Most bytes that a dumped batch may become.
const INFLATED_BYTES_MAX: usize = 1 << 16;

/// Dumps every directory of the files as a whole, then every file by itself, from its middle on.
pub(crate) async fn all(host: &Host, files: &Files, records: bool) {
    let options = Options {
        records,
        inflated_bytes_max: INFLATED_BYTES_MAX,
        ..Options::default()
    };
    let mut directories: Vec<&Path> = files.iter().filter_map(|file| file.0.parent()).collect();
    directories.dedup();
    for directory in directories {
        one(host, directory, options).await;
    }
    let options = Options {
        metadata: records,
        from_offset: 5,
        batches_max: 3,
        ..options
    };
    for (path, _) in files {
        one(host, path, options).await;
    }
}

async fn one(host: &Host, path: &Path, options: Options) {
    let mut lines = 0_u64;
    let mut count = |line: &Line| {
        assert!(!line.kind.is_empty(), "a line says what it is of");
        lines += 1;
        Ok(())
    };
    match dump(host, path, options, &mut count).await {
        Ok(_) => assert!(lines > 0, "{} is shown", path.display()),
        Err(error) => assert!(!error.to_string().is_empty(), "an error has words"),
    }
}

/// The files are what they were.
pub(crate) fn changed_nothing(sim: &Sim, host: &Host, files: &Files) {
    let Some(root) = files.first().and_then(|file| file.0.ancestors().nth(1)) else {
        return;
    };
    let after = sim.block_on(disk::take(&host.disk, root));
    for (path, bytes) in files.iter().filter(|file| file.0.starts_with(root)) {
        let same = after.iter().find(|file| file.0 == *path);
        let unchanged = same.is_some_and(|same| same.1 == *bytes);
        assert!(unchanged, "{} changed", path.display());
    }
}
