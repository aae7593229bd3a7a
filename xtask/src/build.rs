//! Builds what is run: the loader for both architectures, the `bowline` command.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use bowline_pe::file::Image;
use bowline_pe::payload::{self, SECTION};

use crate::arch::Arch;
use crate::sh;
use crate::toolchain::{self, Toolchain};
use crate::workspace::Workspace;

/// Builds the loader for `archs` and the `bowline` command.
pub(crate) fn all(workspace: &Workspace, archs: &[Arch]) -> Result<()> {
    let targets: Vec<&str> = archs.iter().map(|arch| arch.uefi_target()).collect();
    let toolchain = Toolchain::choose(&targets)?;
    for arch in archs {
        println!("building the loader for {}", arch.name());
        build_loader(workspace, toolchain, *arch)?;
    }
    server(workspace)
}

/// Builds the `bowline` command.
pub(crate) fn server(workspace: &Workspace) -> Result<()> {
    println!("building the server");
    sh::run_loud(toolchain::cargo(workspace).args([
        "build",
        "--quiet",
        "--release",
        "--package",
        "bowline-cli",
    ]))
}

fn build_loader(workspace: &Workspace, toolchain: Toolchain, arch: Arch) -> Result<()> {
    let target = arch.uefi_target();
    let mut cargo = toolchain.cargo(workspace, "build", target);
    cargo.args([
        "--quiet",
        "--profile",
        "loader",
        "--package",
        "bowline-loader",
    ]);
    cargo.arg("--config").arg(format!(
        "target.{target}.rustflags={:?}",
        registry_prefixes()
    ));
    if let Some(date) = source_date(workspace) {
        cargo.env(SOURCE_DATE, date);
    }
    match accelerator(workspace, arch) {
        Ok(library) => {
            cargo.env("BOWLINE_ACCELERATOR", library);
        }
        Err(error) => println!(
            "  this loader goes without the processor's AES instructions, TLS will be slower: \
             {error:#}"
        ),
    }
    sh::run_loud(&mut cargo)?;
    let results = toolchain.results(workspace, target).join("loader");
    let built = |program: &str| {
        let path = results.join(format!("{program}.efi"));
        fs::read(&path).with_context(|| format!("the build left no {}", path.display()))
    };
    let linked = built(LOADER)?;
    let finished = finish(&linked, &built(INFLATER)?)?;
    println!("  {} bytes, {} inflated", finished.len(), linked.len());
    let programs = [
        (LOADER, finished),
        (READER, built(READER)?),
        (WRITER, built(WRITER)?),
    ];
    for (program, bytes) in programs {
        let place = place(workspace, program, arch);
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&place, bytes).with_context(|| format!("cannot write {}", place.display()))?;
    }
    Ok(())
}

/// Puts the loader as it was linked into the program that inflates it.
fn finish(linked: &[u8], inflater: &[u8]) -> Result<Vec<u8>> {
    let loader = Image::parse(linked)?.in_memory()?;
    let finished = Image::parse(inflater)?.with_section(SECTION, &payload::deflate(&loader)?)?;
    Ok(finished)
}

/// Flags that take the folder of the downloaded crates off the paths that messages of panics have:
/// it is long, and another one on each machine.
fn registry_prefixes() -> Vec<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let Some(home) = home.or_else(|| Some(env::home_dir()?.join(".cargo"))) else {
        return Vec::new();
    };
    // A folder for each registry.
    let registries = fs::read_dir(home.join("registry/src"));
    let mut flags: Vec<String> = registries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| format!("--remap-path-prefix={}/=", entry.path().display()))
        .collect();
    flags.sort_unstable();
    flags
}

/// More than this a loader may not have: it has to fit where firmware keeps programs, and to be
/// fetched by TFTP in a moment.
const LOADER_BYTES_MAX: u64 = 1_500_000;

/// Holds the loader of an architecture, built before, to its limit.
pub(crate) fn check_size(workspace: &Workspace, arch: Arch) -> Result<()> {
    let size = fs::metadata(place(workspace, LOADER, arch))?.len();
    ensure!(
        size < LOADER_BYTES_MAX,
        "the loader for {} has {size} bytes, and {LOADER_BYTES_MAX} are too many. What has grown \
         shows in `cargo rustc --profile loader --package bowline-loader --bin bowline --target \
         {} -- -Clink-arg=/MAP:loader.map`",
        arch.name(),
        arch.uefi_target()
    );
    Ok(())
}

/// The EFI programs: the loader, what inflates it, what reads its disk for measurements, and what
/// writes to its disk for tests.
const LOADER: &str = "bowline";
const INFLATER: &str = "inflater";
pub(crate) const READER: &str = "reader";
const WRITER: &str = "writer";

/// Builds `crates/cipher` with the processor's AES instructions, as a library for `loader/build.rs`.
fn accelerator(workspace: &Workspace, arch: Arch) -> Result<PathBuf> {
    let (target, flags) = arch.accelerator_target();
    let toolchain = Toolchain::choose(&[target])?;
    // Its own folder: on arm64 its target is the loader's, and its flags are not.
    let folder = workspace.target.join("accelerator");
    let mut cargo = toolchain.cargo(workspace, "rustc", target);
    cargo
        .env(
            "RUSTFLAGS",
            format!("--cfg=bowline_accelerator --cfg=sha2_backend_soft=\"compact\" {flags}"),
        )
        .args(["--quiet", "--profile", "accelerator"])
        .args(["--package", "bowline-cipher", "--lib"])
        .args(["--crate-type", "staticlib", "--target-dir"])
        .arg(&folder);
    sh::run_loud(&mut cargo)?;
    // Each target has its own name for a library.
    let folder = folder.join(target).join("accelerator");
    ["libbowline_cipher.a", "bowline_cipher.lib"]
        .map(|name| folder.join(name))
        .into_iter()
        .find(|library| library.exists())
        .with_context(|| format!("the build left no library in {}", folder.display()))
}

/// The date of the source, which a loader takes as the earliest time it can be
/// (reproducible-builds.org): as given, else that of the last commit.
const SOURCE_DATE: &str = "SOURCE_DATE_EPOCH";

fn source_date(workspace: &Workspace) -> Option<String> {
    if let Ok(date) = env::var(SOURCE_DATE) {
        return Some(date);
    }
    let mut git = sh::command("git");
    git.arg("-C")
        .arg(&workspace.root)
        .args(["log", "-1", "--format=%ct"]);
    // A source archive has no history; the loader then knows the date of its release.
    let date = sh::output(&mut git).ok()?;
    Some(date.trim().to_owned())
}

/// One place for a finished EFI program, whichever toolchain built it.
fn place(workspace: &Workspace, program: &str, arch: Arch) -> PathBuf {
    workspace
        .target
        .join("efi")
        .join(format!("{program}-{}.efi", arch.name()))
}

/// The loader of an architecture, built before.
pub(crate) fn loader(workspace: &Workspace, arch: Arch) -> Result<PathBuf> {
    program(workspace, LOADER, arch)
}

/// The call that packs `script` into the loader, as `packed`. More can be packed by more options.
pub(crate) fn pack(
    workspace: &Workspace,
    arch: Arch,
    script: &Path,
    packed: &Path,
) -> Result<Command> {
    let mut pack = Command::new(bowline(workspace)?);
    pack.args(["loader", "pack", "--script"]).arg(script);
    pack.arg("-o").arg(packed).arg(loader(workspace, arch)?);
    Ok(pack)
}

/// An EFI program by its name, built before.
pub(crate) fn program(workspace: &Workspace, program: &str, arch: Arch) -> Result<PathBuf> {
    let path = place(workspace, program, arch);
    ensure!(
        path.exists(),
        "{} is missing: run `cargo xtask build`",
        path.display()
    );
    Ok(path)
}

/// The `bowline` command, built before.
pub(crate) fn bowline(workspace: &Workspace) -> Result<PathBuf> {
    let path = workspace.target.join("release/bowline");
    ensure!(
        path.exists(),
        "{} is missing: run `cargo xtask build`",
        path.display()
    );
    Ok(path)
}
