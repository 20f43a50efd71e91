//! `millrace doctor`: what on this machine, and in this configuration, will hurt.
//!
//! Looks and measures, and leaves nothing behind: its only write is a small file in each log
//! directory, to time syncs, and that is removed. Exit codes: 0 when nothing stands in the way of
//! serving, warnings or not; 1 when something does; 2 when the configuration is refused.

mod disks;
mod findings;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;
use millrace_config::BrokerConfig;
use millrace_host::Host;
use millrace_host::real::{self, RealHost};

use crate::ServeOptions;
use crate::sizing::{Machine, Unfit};
use findings::Findings;

/// Open files that a busy node needs: connections, segments, indexes.
const OPEN_FILES_COMFORTABLE: u64 = 65_536;

/// 2025-01-01: no machine that runs this is older.
const WALL_MS_MIN: i64 = 1_735_689_600_000;

/// Sources of time that a reading costs no system call.
const QUICK_CLOCKS: [&str; 4] = [
    "tsc",
    "kvm-clock",
    "hyperv_clocksource_tsc_page",
    "arch_sys_counter",
];

/// What to look at, and how to say it.
#[derive(Debug, Args)]
pub(crate) struct DoctorOptions {
    #[command(flatten)]
    serve: ServeOptions,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(options: DoctorOptions) -> ExitCode {
    let config = match options.serve.load() {
        Ok(config) => config,
        Err(error) => return crate::fail(crate::BAD_CONFIGURATION, &error),
    };
    let machine = match RealHost::start(&real::Options::default()) {
        Ok(machine) => machine,
        Err(error) => return crate::fail(1, &error),
    };
    let host = machine.host();
    let mut findings = Findings::default();
    findings.good("the configuration is valid");
    limits(&mut findings);
    let config = sizing(config.clone(), &mut findings).unwrap_or(config);
    clock(&host, &mut findings);
    machine.block_on(async {
        disks::look(&host, &config, &mut findings).await;
        listeners(&host, &config, &mut findings).await;
    });
    // A reader that went away has seen what it wanted.
    let said = if options.json {
        findings.json()
    } else {
        findings.text()
    };
    drop(io::stdout().write_all(said.as_bytes()));
    if findings.is_serviceable() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn limits(findings: &mut Findings) {
    let files = real::open_files();
    let (least, may) = (crate::sizing::OPEN_FILES_MIN, files.hard);
    if may < least {
        findings.bad(format!(
            "at most {may} files may be open at once, and a broker needs {least}: raise the limit \
             (ulimit -Hn, or LimitNOFILE= of its service)"
        ));
    } else if may < OPEN_FILES_COMFORTABLE {
        findings.warn(format!(
            "at most {may} files may be open at once, connections among them; {OPEN_FILES_COMFORTABLE} \
             or more are usual (ulimit -Hn, or LimitNOFILE= of its service)"
        ));
    } else {
        findings.good(format!("{may} files may be open at once"));
    }
}

/// What a start would be sized by, as it would say.
fn sizing(config: BrokerConfig, findings: &mut Findings) -> Option<BrokerConfig> {
    let machine = Machine::looked_at();
    match machine.fit(config) {
        Ok(fitted) => {
            for line in machine.lines(&fitted) {
                findings.good(format!("sized by {line}"));
            }
            Some(fitted)
        }
        // Told already.
        Err(Unfit::OpenFiles(_)) => None,
        Err(Unfit::Memory(error)) => {
            findings.bad(error.to_string());
            None
        }
    }
}

fn clock(host: &Host, findings: &mut Findings) {
    let wall_ms = host.clock.now().wall_ms;
    if wall_ms < WALL_MS_MIN {
        findings.bad(format!(
            "the clock says {wall_ms} ms since 1970, which is before 2025: records would get wrong \
             times, and retention by time would go by them; set the clock (and run an NTP client)"
        ));
    }
    match real::clock_source() {
        Some(name) if QUICK_CLOCKS.contains(&name.as_str()) => {
            findings.good(format!("the clock's source is {name}"));
        }
        Some(name) => findings.warn(format!(
            "the clock's source is {name}: each reading of the time is a system call or worse \
             (another may be had by the kernel's clocksource= option)"
        )),
        None => {}
    }
}

async fn listeners(host: &Host, config: &BrokerConfig, findings: &mut Findings) {
    for listener in &config.network.listeners {
        let (name, place) = (
            &listener.name,
            format!("{}:{}", listener.host, listener.port),
        );
        let addresses = match host.net.resolve(&listener.host, listener.port).await {
            Ok(addresses) => addresses,
            Err(error) => {
                findings.bad(format!(
                    "listener {name}: {place} can't be resolved: {error}"
                ));
                continue;
            }
        };
        for address in addresses.iter().take(1) {
            bindable(host, name, *address, findings).await;
        }
        if addresses.iter().any(|address| !address.ip().is_loopback()) {
            findings.warn(format!(
                "listener {name} on {place} can be reached from other machines, and there is no \
                 authentication yet: whoever reaches it may read, write and delete everything"
            ));
        }
    }
}

async fn bindable(host: &Host, name: &str, address: SocketAddr, findings: &mut Findings) {
    match host.net.listen(address, 1).await {
        Ok(_) => findings.good(format!("listener {name} can have {address}")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => findings.warn(format!(
            "listener {name}: {address} is taken: a broker is running, or somebody else has it"
        )),
        Err(error) => findings.bad(format!("listener {name} can't have {address}: {error}")),
    }
}
