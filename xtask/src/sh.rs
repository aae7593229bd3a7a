//! Running other programs: found in `PATH` and the `sbin` folders (which a plain user's `PATH`
//! often lacks), with output that explains a failure.

use std::ffi::OsStr;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// Folders searched after `PATH`.
const EXTRA: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The full path of a program, if this machine has it.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(EXTRA.iter().map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// A command for `program`, with the C locale so that messages can be read by us too.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(find(program).unwrap_or_else(|| PathBuf::from(program)));
    command.env("LC_ALL", "C.UTF-8");
    command
}

/// The command as a person would type it.
pub(crate) fn display(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program
        .file_name()
        .unwrap_or(OsStr::new("?"))
        .to_string_lossy();
    let mut text = name.into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// Runs quietly; a failure carries the end of what the program said.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Runs quietly and returns standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    output_bytes(command).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The same where the output is no text.
pub(crate) fn output_bytes(command: &mut Command) -> Result<Vec<u8>> {
    let result = command.stdin(Stdio::null()).output();
    succeeded(command, result)
}

/// Runs quietly, with `input` as standard input.
pub(crate) fn run_with(command: &mut Command, input: &str) -> Result<()> {
    let mut file = tempfile::tempfile()?;
    file.write_all(input.as_bytes())?;
    file.rewind()?;
    let result = command.stdin(file).output();
    succeeded(command, result).map(drop)
}

/// Standard output of a program that has ended well.
fn succeeded(command: &Command, result: io::Result<Output>) -> Result<Vec<u8>> {
    let result = result.with_context(|| format!("cannot start `{}`", display(command)))?;
    if !result.status.success() {
        let said = [result.stdout, result.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        bail!(
            "`{}` failed ({}):\n{}",
            display(command),
            result.status,
            tail(&said, 20)
        );
    }
    Ok(result.stdout)
}

/// Runs with the terminal's input and output: for what a person wants to watch.
pub(crate) fn run_loud(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start `{}`", display(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", display(command));
    }
    Ok(())
}

/// The last `lines` lines of `text`.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
