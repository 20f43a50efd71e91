//! A `PostgreSQL` of the suite's own, Debian's package: a cluster in a directory that goes away, on a
//! free port of loopback, with logical decoding. It refuses root, so root runs it as its own user.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::workers::until;
use crate::brokers::free_port;
use crate::packages::need;
use crate::process::{Watched, output, succeed};
use crate::root;

/// Where Debian puts each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Whom its package makes for it.
const USER: &str = "postgres";
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// What is captured, and the database in it.
const DATABASE: &str = "shop";

/// A running cluster.
pub(super) struct Postgres {
    programs: PathBuf,
    directory: tempfile::TempDir,
    server: Watched,
    /// Where it listens on 127.0.0.1.
    pub(super) port: u16,
}

impl Postgres {
    /// Installs it where it is missing, and starts it with the tables of `shop.sql` and this many rows in
    /// each.
    pub(super) fn start(rows: u32) -> Result<Self, String> {
        let programs = programs()?;
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = directory.path().display().to_string();
        if is_root()? {
            succeed(Command::new("chown").args([USER, &path]))?;
        }
        let data = format!("{path}/data");
        let made = as_user(&programs.join("initdb"))?
            + &format!(
                " --pgdata={data} --username={USER} --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync"
            );
        output(Command::new("sh").args(["-c", &format!("cd {path} && {made}")]))?;
        let port = free_port()?;
        // What is tested is not whether PostgreSQL survives a power cut.
        let line = as_user(&programs.join("postgres"))?
            + &format!(
                " -D {data} -p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
                 -c wal_level=logical -c fsync=off >{path}/log 2>&1"
            );
        let server = Watched::start(&line, directory.path())?;
        let postgres = Self {
            programs,
            directory,
            server,
            port,
        };
        let create = format!("create database {DATABASE}");
        until("PostgreSQL takes connections", || {
            postgres.psql("postgres", &["-c", &create])
        })?;
        let tables = root().join("tests/connect/shop.sql").display().to_string();
        postgres.psql(DATABASE, &["-v", &format!("rows={rows}"), "-f", &tables])?;
        Ok(postgres)
    }

    /// How the suite's programs reach the database.
    pub(super) fn source(&self) -> String {
        format!(
            "host=127.0.0.1 port={} user={USER} dbname={DATABASE}",
            self.port
        )
    }

    /// What a statement gives: bare values, a row a line.
    pub(super) fn ask(&self, statement: &str) -> Result<String, String> {
        let said = self.psql(DATABASE, &["-c", statement])?;
        Ok(said.trim().to_owned())
    }

    /// What a statement gives that asks for a number.
    pub(super) fn number(&self, statement: &str) -> Result<i64, String> {
        let said = self.ask(statement)?;
        let number = said.parse();
        number.map_err(|_| format!("`{statement}` gives no number: {said}"))
    }

    fn psql(&self, database: &str, arguments: &[&str]) -> Result<String, String> {
        let port = self.port.to_string();
        output(
            Command::new(self.programs.join("psql"))
                .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
                .args(["-h", "127.0.0.1", "-p", &port, "-U", USER, "-d", database])
                .args(arguments)
                .current_dir(self.directory.path()),
        )
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A fast shutdown: its processes are in groups of their own, so it must end them itself.
        let pid = self.server.id().to_string();
        let asked = Command::new("kill")
            .args(["-INT", &pid])
            .stdin(Stdio::null())
            .status();
        let ended = asked
            .map_err(|error| error.to_string())
            .and_then(|_| self.server.wait(STOP_LIMIT));
        if let Err(reason) = ended {
            eprintln!("xtask: PostgreSQL: {reason}");
        }
    }
}

/// Where its programs are, those of the newest version that is installed.
fn programs() -> Result<PathBuf, String> {
    if newest().is_none() {
        need("initdb", "postgresql")?;
    }
    newest().ok_or_else(|| format!("the package postgresql has put no initdb below {VERSIONS}"))
}

fn newest() -> Option<PathBuf> {
    let versions = std::fs::read_dir(VERSIONS).ok()?;
    let programs = versions.filter_map(|entry| {
        let entry = entry.ok()?;
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let programs = entry.path().join("bin");
        // The server's own package brings initdb, that of the client psql.
        let whole = programs.join("initdb").exists() && programs.join("psql").exists();
        whole.then_some((version, programs))
    });
    programs.max().map(|(_, programs)| programs)
}

fn is_root() -> Result<bool, String> {
    let user = output(Command::new("id").arg("-u"))?;
    Ok(user.trim() == "0")
}

/// A line of shell that becomes this program, as a user that it accepts.
fn as_user(program: &Path) -> Result<String, String> {
    let program = program.display();
    Ok(if is_root()? {
        format!("setpriv --reuid={USER} --regid={USER} --init-groups {program}")
    } else {
        program.to_string()
    })
}
