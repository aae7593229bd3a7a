//! Every developer command: `cargo xtask setup | build | demo | test | e2e | fuzz | torture | bench`.
//!
//! `demo` and `test` do all that is needed by themselves, including `setup` and `build`.

mod arch;
mod bench;
mod build;
mod conformance;
mod console;
mod corpus;
mod deb;
mod demo;
mod e2e;
mod firmware;
mod formats;
mod fuzz;
mod guest;
mod image;
mod initiators;
mod lio;
mod matrix;
mod netns;
mod network;
mod packages;
mod pki;
mod qemu;
mod run;
mod scenario;
mod screenshots;
mod scripts;
mod servers;
mod services;
mod sessions;
mod setup;
mod sh;
mod test;
mod toolchain;
mod torture;
mod tpm;
mod unpacked;
mod variables;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::arch::Arch;
use crate::workspace::Workspace;

/// Developer commands of Bowline.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install and fetch what the demo and the tests need, saying what and why.
    Setup {
        /// Fetch firmware, kernels and other data packages anew, in their newest versions.
        #[arg(long)]
        refresh: bool,
    },
    /// Build the loader for both architectures and the `bowline` command.
    Build,
    /// Watch a diskless machine boot Linux from its iSCSI disk.
    Demo {
        /// The machine's firmware.
        #[arg(long)]
        firmware: Option<demo::Choice>,
        /// The machine's processor.
        #[arg(long)]
        arch: Option<Arch>,
    },
    /// Build the Debian package that has an initial RAM disk find what the loader left.
    Deb,
    /// Everything that continuous integration runs.
    Test {
        /// How many machines run at the same time, 1 or 2; by the number of processors.
        #[arg(long)]
        jobs: Option<usize>,
    },
    /// Measure.
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
    /// Boot virtual machines on real firmware and watch what they do.
    E2e {
        /// Scenarios, by name or beginning of a name (`boot`, `boot/edk2-arm64`); all if none.
        names: Vec<String>,
        /// Only list them.
        #[arg(long)]
        list: bool,
        /// How many run at the same time, 1 or 2.
        #[arg(long, default_value_t = 1)]
        jobs: usize,
    },
    /// Do for long what `test` does for a short time.
    Torture {
        #[command(subcommand)]
        what: Torture,
    },
    /// Take the pictures that the README shows, from the screen of a machine in QEMU.
    Screenshots,
    /// Boot whole Debian systems from iSCSI: minutes each, and not a part of `test`.
    Os {
        /// Proofs, by name or beginning of a name; all if none.
        names: Vec<String>,
        /// Only list them.
        #[arg(long)]
        list: bool,
    },
    /// Find out what boots what: some twenty minutes, for docs/matrix.md.
    Matrix {
        /// Runs, by name or beginning of a name; all if none. The table has the last run of each.
        names: Vec<String>,
        /// Only list them.
        #[arg(long)]
        list: bool,
        /// How many run at the same time, 1 or 2.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
    },
    /// Feed hostile input to every parser and protocol machine.
    Fuzz(fuzz::Arguments),
    /// Compare with other implementations.
    Conformance {
        #[command(subcommand)]
        what: Conformance,
    },
    /// What runs inside the namespaces of a scenario.
    #[command(hide = true)]
    Inside {
        kind: String,
        name: String,
        folder: PathBuf,
        #[arg(long)]
        live: bool,
    },
    /// Our initiator against a target, in every way that two ends can agree on.
    #[command(hide = true)]
    Sessions(sessions::Arguments),
}

#[derive(Debug, Subcommand)]
enum Torture {
    /// Kill a process that writes to a disk, and see that all it flushed is there.
    Kill {
        /// Kills on each format: raw, qcow2, overlay.
        #[arg(long, default_value_t = 1000)]
        rounds: u32,
    },
}

#[derive(Debug, Subcommand)]
enum Conformance {
    /// The scripts of `e2e/scripts` must show the same with Debian's iPXE and with bowline.efi.
    Script,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// From the start of the script to the end of boot services, against iPXE.
    Boot {
        /// Boots with each loader.
        #[arg(long, default_value_t = 5)]
        runs: usize,
        /// Whose servers: `peers` (dnsmasq, nginx, tgt) or `bowline`.
        #[arg(long, default_value = "peers")]
        servers: String,
    },
    /// The loader's disk through Block IO, and the way to the kernel, beside iPXE.
    San {
        /// Runs with each loader at each round trip.
        #[arg(long, default_value_t = 3)]
        runs: usize,
        /// Some of these.
        #[arg(
            long,
            value_delimiter = ',',
            default_value = "edk2-arm64,edk2-x86_64,u-boot-2025.01/e1000"
        )]
        machines: Vec<String>,
        /// Whose servers: `peers` (dnsmasq, nginx, tgt) or `bowline`.
        #[arg(long, default_value = "peers")]
        servers: String,
        /// Milliseconds that are added to every round trip.
        #[arg(long, value_delimiter = ',', default_value = "0,1,5,20")]
        round_trips: Vec<u32>,
    },
    /// 64 MiB over HTTPS, beside HTTP and beside iPXE.
    Https {
        /// Runs on each machine.
        #[arg(long, default_value_t = 3)]
        runs: usize,
        /// Some of these.
        #[arg(
            long,
            value_delimiter = ',',
            default_value = "u-boot-2025.01,edk2-arm64,edk2-x86_64"
        )]
        machines: Vec<String>,
    },
    /// Memory of our iSCSI target with many sessions.
    Sessions {
        /// Sessions that do nothing.
        #[arg(long, default_value_t = 1000)]
        idle: u16,
        /// Sessions that read.
        #[arg(long, default_value_t = 200)]
        active: u16,
        /// Seconds for which they read.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Our iSCSI target against tgt: I/Os per second and processor time of each.
    Target(bench::target::Arguments),
}

fn main() -> ExitCode {
    match perform(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(command: Command) -> Result<ExitCode> {
    let workspace = Workspace::find();
    match command {
        Command::Setup { refresh } => {
            setup::all(&workspace, refresh)?;
            println!("This machine has what is needed. Next: `cargo xtask demo`");
        }
        Command::Build => build::all(&workspace, &Arch::ALL)?,
        Command::Demo { firmware, arch } => return verdict(demo::run(&workspace, firmware, arch)?),
        Command::Deb => println!("{}", deb::build(&workspace)?.display()),
        Command::Test { jobs } => return verdict(test::run(&workspace, jobs)?),
        Command::Bench {
            what: Bench::Boot { runs, servers },
        } => {
            setup::all(&workspace, false)?;
            bench::boot::race(&workspace, runs, &servers)?;
        }
        Command::Bench {
            what:
                Bench::San {
                    runs,
                    machines,
                    servers,
                    round_trips,
                },
        } => {
            setup::all(&workspace, false)?;
            bench::san::race(&workspace, runs, &machines, &servers, &round_trips)?;
        }
        Command::Bench {
            what: Bench::Https { runs, machines },
        } => {
            setup::all(&workspace, false)?;
            bench::https::run(&workspace, runs, &machines)?;
        }
        Command::Bench {
            what:
                Bench::Sessions {
                    idle,
                    active,
                    seconds,
                },
        } => {
            build::server(&workspace)?;
            let time = Duration::from_secs(seconds);
            bench::sessions::run(&workspace, idle, active, time)?;
        }
        Command::Bench {
            what: Bench::Target(arguments),
        } => bench::target::race(&workspace, &arguments)?,
        Command::Sessions(arguments) => sessions::run(&arguments)?,
        Command::E2e { names, list, jobs } => {
            return scenarios(&workspace, "scenarios", &names, list, jobs);
        }
        Command::Torture {
            what: Torture::Kill { rounds },
        } => torture::kill(&workspace, rounds)?,
        Command::Os { names, list } => {
            if !list {
                setup::all(&workspace, false)?;
            }
            return scenarios(&workspace, "os", &names, list, 1);
        }
        Command::Matrix { names, list, jobs } => {
            let names = names.iter().map(|name| format!("{}/{name}", matrix::NAME));
            let names: Vec<String> = names.collect();
            if list {
                return scenarios(&workspace, matrix::NAME, &names, list, jobs);
            }
            setup::all(&workspace, false)?;
            return verdict(matrix::make(&workspace, &names, jobs)?);
        }
        Command::Screenshots => {
            setup::all(&workspace, false)?;
            screenshots::take(&workspace)?;
        }
        Command::Conformance {
            what: Conformance::Script,
        } => {
            setup::all(&workspace, false)?;
            return verdict(scripts::compare(&workspace)?);
        }
        Command::Fuzz(arguments) => fuzz::run(&workspace, &arguments)?,
        Command::Inside {
            kind,
            name,
            folder,
            live,
        } => {
            let all = scenario::load(&workspace.e2e(), &kind)?;
            let instance = all
                .iter()
                .find(|instance| instance.name == name)
                .with_context(|| format!("no scenario {name}"))?;
            run::inside(&workspace, instance, &folder, live)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the scenarios of a folder of `e2e/`.
fn scenarios(
    workspace: &Workspace,
    folder: &str,
    names: &[String],
    list: bool,
    jobs: usize,
) -> Result<ExitCode> {
    let instances = e2e::select(&workspace.e2e(), folder, names)?;
    if list {
        e2e::list(&instances);
        return Ok(ExitCode::SUCCESS);
    }
    e2e::prepare(workspace, &instances)?;
    let outcomes = e2e::run_all(workspace, folder, &instances, jobs)?;
    if folder == "os" {
        e2e::stages(&outcomes);
    }
    verdict(e2e::table(&outcomes) == 0)
}

fn verdict(passed: bool) -> Result<ExitCode> {
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
