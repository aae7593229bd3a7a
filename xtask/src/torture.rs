//! Proofs that take long: what continuous integration does a little of, as often as you like.

use anyhow::{Result, ensure};

use crate::sh;
use crate::toolchain;
use crate::workspace::Workspace;

/// Kills a process that writes to a disk, `rounds` times on each format, and looks each time that
/// all is there that it said was flushed.
pub(crate) fn kill(workspace: &Workspace, rounds: u32) -> Result<()> {
    ensure!(rounds > 0, "`--rounds` is at least 1");
    sh::run_loud(
        toolchain::cargo(workspace)
            .args([
                "test",
                "--quiet",
                "--package",
                "bowline-store",
                "--test",
                "kill",
            ])
            // Each format says how it went; one after the other, so that nobody waits for others.
            .args(["--", "--nocapture", "--test-threads=1"])
            .env("BOWLINE_KILL_ROUNDS", rounds.to_string()),
    )
}
