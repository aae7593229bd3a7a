//! The `bowline` command.
//!
//! Exit codes: 0 done, 1 an error that was told on stderr, 2 a command line that makes no sense.
#![forbid(unsafe_code)]

mod ca;
mod cert;
mod debian;
mod file;
mod image;
mod library;
mod loader;
mod operate;
mod overlay;
mod script;
mod server;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Secure network boot for diskless computers.
///
/// `bowline serve` runs the services that such a computer needs: DHCP, files over HTTP and
/// HTTPS, and iSCSI disks. `bowline ca` makes the certificates for HTTPS. `bowline loader pack` gives the loader, bowline.efi, the script that it runs.
#[derive(Debug, Parser)]
#[command(name = "bowline", version, max_term_width = 100)]
struct Arguments {
    /// What to log: error, warn, info, debug or trace, or a filter such as
    /// info,bowline_server::iscsi=debug
    #[arg(long, global = true, value_name = "FILTER", default_value = "info")]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the services of a configuration until SIGTERM or SIGINT
    Serve(Configuration),
    /// Check a configuration without taking anything into use
    Check(Configuration),
    /// Have the running server read its configuration again: the targets of [iscsi]
    ///
    /// Sessions of targets that stay as they are do not notice. A configuration that cannot be
    /// served changes nothing. SIGHUP does the same.
    Reload(Configuration),
    /// Look at the iSCSI target of the running server, and end sessions
    #[command(subcommand)]
    Iscsi(operate::Iscsi),
    /// Run a small private certificate authority
    #[command(subcommand)]
    Ca(ca::Ca),
    /// Keep golden images, and make disks of machines from them
    Image(image::Image),
    /// Reset, restore, commit or remove what machines have written over golden images
    Overlay(overlay::Overlay),
    /// Work on the loader, bowline.efi
    #[command(subcommand)]
    Loader(Loader),
    /// Work on certificates
    #[command(subcommand)]
    Cert(Cert),
    /// Work on scripts for the loader
    #[command(subcommand)]
    Script(Script),
}

#[derive(Debug, Subcommand)]
enum Script {
    /// Look scripts over without running them
    ///
    /// Finds unknown commands, options and labels, values that do not fit, and `${...}` that is
    /// malformed. Exit code 1 if a script has errors.
    Check(script::Check),
    /// Run a script on a simulated machine and show its console
    ///
    /// The machine has one network card, on a network with DHCP and a web server at 192.168.1.1.
    /// Its time is simulated: waiting takes none. When nobody presses a key for two minutes of it,
    /// Ctrl-C is pressed. Exit code 1 if the script fails.
    Run(script::Run),
}

#[derive(Debug, clap::Args)]
struct Configuration {
    /// The configuration; its keys are in docs/configuration.md
    #[arg(
        long,
        short,
        value_name = "FILE",
        default_value = "/etc/bowline/bowline.toml"
    )]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Loader {
    /// Write a copy of a loader that carries a script and settings
    ///
    /// What LOADER.efi carried before is replaced. Anybody who can read the result can read the
    /// script and the settings in it, passwords included.
    Pack(loader::Pack),
    /// Show what a loader carries
    Show(loader::Show),
}

#[derive(Debug, Subcommand)]
enum Cert {
    /// Say what a loader would say about a certificate chain or an https server
    ///
    /// Exit status 0: a loader with these trusted certificates accepts it. 1: it refuses it; the
    /// reason is printed.
    Check(cert::Check),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(message) = start_log(&arguments.log) {
        eprintln!("bowline: {message}");
        return ExitCode::from(USAGE);
    }
    let result = match &arguments.command {
        Command::Serve(configuration) => server::serve(&configuration.config),
        Command::Check(configuration) => server::check(&configuration.config),
        Command::Reload(configuration) => operate::reload(&configuration.config),
        Command::Iscsi(iscsi) => iscsi.run(),
        Command::Ca(ca) => ca.run(),
        Command::Image(image) => image.run(),
        Command::Overlay(overlay) => overlay.run(),
        Command::Loader(Loader::Pack(pack)) => pack.run(),
        Command::Loader(Loader::Show(show)) => show.run(),
        Command::Script(Script::Check(check)) => check.run(),
        Command::Script(Script::Run(run)) => run.run(),
        Command::Cert(Cert::Check(check)) => return exit(check.run()),
    };
    exit(result.map(|()| ExitCode::SUCCESS))
}

fn exit(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(filter: &str) -> Result<(), String> {
    use std::io::{IsTerminal as _, stderr};
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .map_err(|error| format!("--log {filter}: {error}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        .with_target(false)
        .init();
    Ok(())
}

const USAGE: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }
}
