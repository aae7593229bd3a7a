//! The compiler for the targets that are not the host: UEFI for the loader, and a bare-metal one
//! that proves the `no_std` crates.
//!
//! Two ways. Where rustup can add a target, its compiler is used. Where it cannot (no network to
//! its servers, or no rustup), Debian has what is needed: `rustc-web`, `cargo-web`,
//! `rust-web-src` and `lld`, which build the core libraries from source.
//! `BOWLINE_TOOLCHAIN=rustup` or `=debian` decides by hand.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::sh;
use crate::workspace::Workspace;

/// Compiles for bare machines without an operating system: no library of the host can slip in.
pub(crate) const BARE_METAL: &str = "x86_64-unknown-none";

/// The packages of Debian's way, and what each is for.
pub(crate) const DEBIAN_PACKAGES: [(&str, &str); 4] = [
    ("rustc-web", "the Rust compiler for the loader"),
    ("cargo-web", "its build tool"),
    (
        "rust-web-src",
        "source of the core libraries, built for UEFI",
    ),
    ("lld", "the linker that writes UEFI programs"),
];

/// A way to compile for other targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// rustup's compiler with prebuilt core libraries.
    Rustup,
    /// Debian's compiler, core libraries from source.
    Debian,
}

impl Toolchain {
    /// The way that works on this machine for all `targets`, adding them where possible.
    pub(crate) fn choose(targets: &[&str]) -> Result<Self> {
        match std::env::var("BOWLINE_TOOLCHAIN").as_deref() {
            Ok("debian") => return debian(),
            Ok("rustup") => {
                add_targets(targets)?;
                return Ok(Self::Rustup);
            }
            Ok(other) => bail!("BOWLINE_TOOLCHAIN is `rustup` or `debian`, not `{other}`"),
            Err(_) => {}
        }
        match add_targets(targets) {
            Ok(()) => Ok(Self::Rustup),
            Err(error) => debian().with_context(|| {
                format!(
                    "rustup cannot add {}: {error:#}\n\
                     and Debian's compiler cannot be used either",
                    targets.join(", ")
                )
            }),
        }
    }

    /// `cargo SUBCOMMAND --target TARGET`, ready for more arguments.
    pub(crate) fn cargo(self, workspace: &Workspace, subcommand: &str, target: &str) -> Command {
        match self {
            Self::Rustup => {
                let mut command = cargo(workspace);
                command.args([subcommand, "--target", target]);
                command
            }
            Self::Debian => {
                let mut command = Command::new("/usr/bin/cargo");
                let path = std::env::var("PATH").unwrap_or_default();
                command
                    .current_dir(&workspace.root)
                    .env("PATH", format!("/usr/bin:{path}"))
                    .env("RUSTC", "/usr/bin/rustc")
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env_remove("RUSTUP_TOOLCHAIN")
                    .env_remove("CARGO")
                    // Its own folder: results of two compilers in one would be rebuilt in turns.
                    .env(
                        "CARGO_TARGET_DIR",
                        workspace.target.join("debian-toolchain"),
                    )
                    .args([subcommand, "--target", target])
                    .args(["-Z", "build-std=core,alloc,compiler_builtins"])
                    .args(["-Z", "build-std-features=compiler-builtins-mem"]);
                if target.ends_with("-uefi") {
                    let flags = "['-Clinker=lld-link', '-Clinker-flavor=lld-link']";
                    command
                        .arg("--config")
                        .arg(format!("target.{target}.rustflags={flags}"));
                }
                command
            }
        }
    }

    /// The folder that `cargo` above leaves results for a target in.
    pub(crate) fn results(self, workspace: &Workspace, target: &str) -> std::path::PathBuf {
        match self {
            Self::Rustup => workspace.target.join(target),
            Self::Debian => workspace.target.join("debian-toolchain").join(target),
        }
    }
}

/// The cargo that runs this program, in the workspace.
pub(crate) fn cargo(workspace: &Workspace) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(&workspace.root);
    command
}

/// Makes sure rustc has the targets; asks rustup for those that it lacks.
fn add_targets(targets: &[&str]) -> Result<()> {
    let missing: Vec<&str> = targets
        .iter()
        .copied()
        .filter(|target| !has_target(target))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    ensure!(sh::find("rustup").is_some(), "there is no rustup");
    println!("  adding the Rust targets {} by rustup", missing.join(", "));
    sh::run(sh::command("rustup").args(["target", "add"]).args(&missing))?;
    match missing.iter().find(|target| !has_target(target)) {
        Some(target) => bail!("rustup added {target}, but rustc does not find it"),
        None => Ok(()),
    }
}

/// Whether the compiler has the core library of a target.
fn has_target(target: &str) -> bool {
    let query = ["--print", "target-libdir", "--target", target];
    let folder = sh::output(sh::command("rustc").args(query)).unwrap_or_default();
    std::fs::read_dir(Path::new(folder.trim())).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
    })
}

/// Debian's compiler, if it is installed; `setup` installs it.
fn debian() -> Result<Toolchain> {
    for program in ["/usr/bin/cargo", "/usr/bin/rustc", "/usr/bin/lld-link"] {
        ensure!(
            Path::new(program).exists(),
            "{program} is missing: `BOWLINE_TOOLCHAIN=debian cargo xtask setup` installs it from \
             Debian's packages {}",
            DEBIAN_PACKAGES.map(|(name, _)| name).join(", ")
        );
    }
    let version = sh::output(Command::new("/usr/bin/rustc").arg("--version"))?;
    ensure!(
        minor_version(&version) >= minor_version(env!("CARGO_PKG_RUST_VERSION")),
        "/usr/bin/rustc is {}, and Rust {} or later is needed. Debian brings it with its security \
         updates: does apt have the suite (bookworm-security), and was `apt-get upgrade` run?",
        version.trim(),
        env!("CARGO_PKG_RUST_VERSION")
    );
    Ok(Toolchain::Debian)
}

/// The 95 of `rustc 1.95.0 (...)`.
fn minor_version(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("1.")?;
    let digits = rest.split(|letter: char| !letter.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_rustc_says() {
        assert_eq!(
            minor_version("rustc 1.95.0 (59807616e 2026-04-14)"),
            Some(95)
        );
        assert_eq!(minor_version("1.91"), Some(91));
        assert_eq!(minor_version("gcc"), None);
    }
}
