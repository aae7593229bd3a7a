//! The firmware builds that a machine is started with.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::arch::Arch;
use crate::packages::{self, Package, Packages};

/// A firmware build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Firmware {
    /// Debian 12's U-Boot for QEMU's `virt` machine.
    #[value(name = "u-boot-2023.01")]
    UBoot2023,
    /// Debian 13's U-Boot.
    #[value(name = "u-boot-2025.01")]
    UBoot2025,
    /// Debian 12's EDK2 for arm64.
    #[value(name = "edk2-2022.11-arm64")]
    Edk2Arm64Of2022,
    /// Debian 12's EDK2 (OVMF) for x86_64.
    #[value(name = "edk2-2022.11-x86_64")]
    Edk2X86_64Of2022,
    /// Debian 13's EDK2 for arm64.
    #[value(name = "edk2-arm64")]
    Edk2Arm64,
    /// Debian 13's EDK2 (OVMF) for x86_64.
    #[value(name = "edk2-x86_64")]
    Edk2X86_64,
}

/// The files to give to QEMU.
#[derive(Debug, Clone)]
pub(crate) enum Files {
    /// One read-only image, `-bios`.
    Bios(PathBuf),
    /// Code and a variable store of which each machine needs its own copy.
    Flash { code: PathBuf, variables: PathBuf },
}

impl Firmware {
    pub(crate) const ALL: [Self; 6] = [
        Self::UBoot2023,
        Self::UBoot2025,
        Self::Edk2Arm64Of2022,
        Self::Edk2X86_64Of2022,
        Self::Edk2Arm64,
        Self::Edk2X86_64,
    ];

    /// The name used in scenarios and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::UBoot2023 => "u-boot-2023.01",
            Self::UBoot2025 => "u-boot-2025.01",
            Self::Edk2Arm64Of2022 => "edk2-2022.11-arm64",
            Self::Edk2X86_64Of2022 => "edk2-2022.11-x86_64",
            Self::Edk2Arm64 => "edk2-arm64",
            Self::Edk2X86_64 => "edk2-x86_64",
        }
    }

    /// The firmware of that name.
    pub(crate) fn named(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|firmware| firmware.name() == name)
            .with_context(|| {
                let known: Vec<_> = Self::ALL.iter().map(|firmware| firmware.name()).collect();
                format!(
                    "there is no firmware `{name}`; there are {}",
                    known.join(", ")
                )
            })
    }

    /// The machine it runs on.
    pub(crate) fn arch(self) -> Arch {
        match self {
            Self::UBoot2023 | Self::UBoot2025 | Self::Edk2Arm64Of2022 | Self::Edk2Arm64 => {
                Arch::Arm64
            }
            Self::Edk2X86_64Of2022 | Self::Edk2X86_64 => Arch::X86_64,
        }
    }

    /// What it is, without its version.
    pub(crate) const fn kind(self) -> &'static str {
        if self.is_u_boot() { "U-Boot" } else { "EDK2" }
    }

    /// U-Boot drives virtio over MMIO, EDK2 is given PCI devices.
    pub(crate) const fn is_u_boot(self) -> bool {
        matches!(self, Self::UBoot2023 | Self::UBoot2025)
    }

    /// The Debian package it is in.
    pub(crate) fn package(self) -> Package {
        match self {
            Self::UBoot2023 => packages::UBOOT_2023,
            Self::UBoot2025 => packages::UBOOT_2025,
            Self::Edk2Arm64Of2022 => packages::EDK2_ARM64_2022,
            Self::Edk2X86_64Of2022 => packages::EDK2_X86_64_2022,
            Self::Edk2Arm64 => packages::EDK2_ARM64,
            Self::Edk2X86_64 => packages::EDK2_X86_64,
        }
    }

    /// Its files, after a look inside: a test that names a version must run that version.
    pub(crate) fn files(self, packages: &Packages) -> Result<Files> {
        let tree = packages.tree(self.package())?;
        let (image, mark) = match self {
            Self::UBoot2023 => ("usr/lib/u-boot/qemu_arm64/u-boot.bin", "U-Boot 2023.01"),
            Self::UBoot2025 => ("usr/lib/u-boot/qemu_arm64/u-boot.bin", "U-Boot 2025.01"),
            // EDK2's own version is inside a compressed volume; the package name has to do.
            Self::Edk2Arm64Of2022 => ("usr/share/AAVMF/AAVMF_CODE.fd", "_FVH"),
            Self::Edk2Arm64 => ("usr/share/AAVMF/AAVMF_CODE.no-secboot.fd", "_FVH"),
            Self::Edk2X86_64Of2022 | Self::Edk2X86_64 => ("usr/share/OVMF/OVMF_CODE_4M.fd", "_FVH"),
        };
        let image = tree.join(image);
        let bytes = fs::read(&image).with_context(|| format!("no {}", image.display()))?;
        ensure!(
            bytes
                .windows(mark.len())
                .any(|window| window == mark.as_bytes()),
            "{} is not {}: it does not contain `{mark}`",
            image.display(),
            self.name()
        );
        Ok(match self {
            Self::UBoot2023 | Self::UBoot2025 => Files::Bios(image),
            Self::Edk2Arm64Of2022 | Self::Edk2Arm64 => Files::Flash {
                code: image,
                variables: tree.join("usr/share/AAVMF/AAVMF_VARS.fd"),
            },
            Self::Edk2X86_64Of2022 | Self::Edk2X86_64 => Files::Flash {
                code: image,
                variables: tree.join("usr/share/OVMF/OVMF_VARS_4M.fd"),
            },
        })
    }
}
