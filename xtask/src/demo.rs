//! The demonstration: a diskless machine boots Linux from its iSCSI disk, live on this terminal.

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::arch::Arch;
use crate::e2e;
use crate::firmware::Firmware;
use crate::run::{self, Report};
use crate::setup;
use crate::workspace::Workspace;

/// Firmware as a visitor would name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// The newer U-Boot.
    #[value(name = "u-boot")]
    UBoot,
    /// U-Boot 2023.01, Debian 12's.
    #[value(name = "u-boot-2023.01")]
    UBoot2023,
    /// U-Boot 2025.01, Debian 13's.
    #[value(name = "u-boot-2025.01")]
    UBoot2025,
    /// EDK2.
    #[value(name = "edk2")]
    Edk2,
}

/// The firmware meant: arm64 runs U-Boot unless told otherwise, x86_64 always EDK2.
fn firmware(choice: Option<Choice>, arch: Option<Arch>) -> Result<Firmware> {
    Ok(match (choice, arch.unwrap_or(Arch::Arm64)) {
        (None | Some(Choice::UBoot | Choice::UBoot2025), Arch::Arm64) => Firmware::UBoot2025,
        (Some(Choice::UBoot2023), Arch::Arm64) => Firmware::UBoot2023,
        (Some(Choice::Edk2), Arch::Arm64) => Firmware::Edk2Arm64,
        (None | Some(Choice::Edk2), Arch::X86_64) => Firmware::Edk2X86_64,
        (Some(_), Arch::X86_64) => bail!("on x86_64 the demo has EDK2 only: `--firmware edk2`"),
    })
}

/// Runs it; whether it went well.
pub(crate) fn run(
    workspace: &Workspace,
    choice: Option<Choice>,
    arch: Option<Arch>,
) -> Result<bool> {
    let firmware = firmware(choice, arch)?;
    println!("1. What this machine needs");
    setup::all(workspace, false)?;

    println!("2. Building Bowline and the boot disk");
    let name = format!("boot/{}", firmware.name());
    let instances = e2e::select(&workspace.e2e(), "scenarios", std::slice::from_ref(&name))?;
    e2e::prepare(workspace, &instances)?;
    let instance = instances
        .first()
        .with_context(|| format!("no scenario {name}"))?;

    println!(
        "3. Booting: an {} machine with {} and no disk but a small one with bowline.efi;\n   \
         `bowline serve` gives it an address, a script and its iSCSI disk.\n",
        firmware.arch().name(),
        firmware.name(),
    );
    let report = e2e::run_one(workspace, "scenarios", instance, "demo", true)?;
    println!("\n{}", "-".repeat(72));
    print_stages(&report);
    let logs = run::folder(workspace, "demo");
    match &report.failure {
        None => println!(
            "\nIt works: {} booted Debian's GRUB and Linux from an iSCSI disk through Bowline,\n\
             with mutual CHAP; a file written there was read back, and is in the disk image.\n\
             Logs: {}",
            firmware.name(),
            logs.display()
        ),
        Some(failure) => println!("\nIt did not work: {failure}\nLogs: {}", logs.display()),
    }
    Ok(report.failure.is_none())
}

/// When each stage was reached, and how long it took.
fn print_stages(report: &Report) {
    println!("{:28} {:>10} {:>10}", "stage", "reached", "took");
    let mut before = 0.0;
    for (stage, time) in &report.stages {
        println!("{stage:28} {time:8.2} s {:8.2} s", time - before);
        before = *time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_lead_to_firmware_or_say_what_there_is() {
        assert_eq!(firmware(None, None).unwrap(), Firmware::UBoot2025);
        assert_eq!(
            firmware(None, Some(Arch::X86_64)).unwrap(),
            Firmware::Edk2X86_64
        );
        assert_eq!(
            firmware(Some(Choice::Edk2), None).unwrap(),
            Firmware::Edk2Arm64
        );
        assert!(firmware(Some(Choice::UBoot), Some(Arch::X86_64)).is_err());
    }
}
