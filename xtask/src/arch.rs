//! The two processor architectures that are built for, and their many names.

use anyhow::{Result, bail};
use clap::ValueEnum;

/// A processor architecture of the machine to boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub(crate) enum Arch {
    /// 64-bit Arm.
    #[value(name = "arm64")]
    Arm64,
    /// 64-bit x86.
    #[value(name = "x86_64")]
    X86_64,
}

impl Arch {
    pub(crate) const ALL: [Self; 2] = [Self::Arm64, Self::X86_64];

    /// That of this machine.
    pub(crate) fn host() -> Result<Self> {
        match std::env::consts::ARCH {
            "aarch64" => Ok(Self::Arm64),
            "x86_64" => Ok(Self::X86_64),
            other => bail!("programs of Debian packages run on x86_64 and arm64, not on {other}"),
        }
    }

    /// As we call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::X86_64 => "x86_64",
        }
    }

    /// As Debian calls it.
    pub(crate) const fn debian(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::X86_64 => "amd64",
        }
    }

    /// As the Linux kernel and QEMU call it.
    pub(crate) const fn linux(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64",
            Self::X86_64 => "x86_64",
        }
    }

    /// The Rust target of the loader.
    pub(crate) const fn uefi_target(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64-unknown-uefi",
            Self::X86_64 => "x86_64-unknown-uefi",
        }
    }

    /// The Rust target that `crates/cipher` is built for with the processor's AES, carry-less
    /// multiplication and SHA instructions, and what the compiler must be told about them. Rust's
    /// UEFI target for x86_64 has no vector registers: its object format and calling convention
    /// are those of Windows. RustCrypto multiplies without carries only where there is AVX too, and
    /// firmware leaves that off: `crates/cipher` does it itself there.
    pub(crate) const fn accelerator_target(self) -> (&'static str, &'static str) {
        match self {
            Self::Arm64 => ("aarch64-unknown-uefi", "-Ctarget-feature=+aes,+sha2"),
            Self::X86_64 => (
                "x86_64-pc-windows-msvc",
                "-Ctarget-feature=+aes,+pclmulqdq,+ssse3,+sse4.1 --cfg=polyval_backend=\"soft\"",
            ),
        }
    }

    /// The part of file names that UEFI has for it: `BOOTAA64.EFI`, `grubaa64.efi`.
    pub(crate) const fn uefi_suffix(self) -> &'static str {
        match self {
            Self::Arm64 => "aa64",
            Self::X86_64 => "x64",
        }
    }

    /// The serial console as Linux calls it.
    pub(crate) const fn linux_console(self) -> &'static str {
        match self {
            Self::Arm64 => "ttyAMA0",
            Self::X86_64 => "ttyS0",
        }
    }

    /// The dynamic linker of programs.
    pub(crate) const fn dynamic_linker(self) -> &'static str {
        match self {
            Self::Arm64 => "ld-linux-aarch64.so.1",
            Self::X86_64 => "ld-linux-x86-64.so.2",
        }
    }

    /// The dynamic linker's multiarch folder.
    pub(crate) const fn multiarch(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64-linux-gnu",
            Self::X86_64 => "x86_64-linux-gnu",
        }
    }
}
