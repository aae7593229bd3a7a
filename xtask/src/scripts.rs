//! `cargo xtask conformance script`: the scripts of `e2e/scripts` run by Debian's iPXE and by
//! bowline.efi, on the same machine with the same servers, must show the same on the console,
//! except for what docs/script.md lists.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::e2e;
use crate::run;
use crate::scenario::Loader;
use crate::workspace::Workspace;

/// The folder of scenarios, one for each loader.
pub(crate) const FOLDER: &str = "conformance";

/// What is before the name of a script on the console.
const MARK: &str = "=== ";

/// The script that runs all others, each behind its name.
pub(crate) fn all(folder: &Path) -> Result<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".ipxe").map(str::to_owned));
    }
    names.sort();
    let mut script = "#!ipxe\n".to_owned();
    for name in names {
        script +=
            &format!("echo {MARK}{name}\nchain --autofree {name}.ipxe || echo {name} failed\n");
    }
    Ok(script + "echo " + MARK + "end\n")
}

/// Runs them and compares; whether they are the same.
pub(crate) fn compare(workspace: &Workspace) -> Result<bool> {
    let instances = e2e::select(&workspace.e2e(), FOLDER, &[])?;
    e2e::prepare(workspace, &instances)?;
    let outcomes = e2e::run_all(workspace, FOLDER, &instances, 1)?;
    if e2e::table(&outcomes) > 0 {
        return Ok(false);
    }
    let console = |wanted: Loader| {
        let is_wanted = |loader: Loader| (loader == Loader::Ipxe) == (wanted == Loader::Ipxe);
        let instance = instances.iter().find(|it| is_wanted(it.scenario.loader));
        let instance = instance.context("there is no scenario for each loader")?;
        let log = run::folder(workspace, &instance.name).join("console.log");
        Ok::<_, anyhow::Error>(sections(&fs::read_to_string(log)?))
    };
    let (ours, theirs) = (console(Loader::BowlineBeside)?, console(Loader::Ipxe)?);
    ensure!(!theirs.is_empty(), "iPXE has run no script");
    let mut all_same = ours.len() == theirs.len();
    for (name, theirs) in &theirs {
        let ours = ours.get(name).cloned().unwrap_or_default();
        let is_same = ours == *theirs;
        let missing = theirs.iter().find_map(|line| line.strip_suffix(NOT_THERE));
        match missing {
            Some(command) => println!("{name:12} skipped: this iPXE has no `{command}`"),
            None if is_same => println!("{name:12} the same ({} lines)", ours.len()),
            None => println!(
                "{name:12} DIFFERENT\n  iPXE:\n    {}\n  Bowline:\n    {}",
                theirs.join("\n    "),
                ours.join("\n    ")
            ),
        }
        all_same &= is_same || missing.is_some();
    }
    Ok(all_same)
}

/// The lines of each script, without those that docs/script.md says are different.
fn sections(console: &str) -> BTreeMap<String, Vec<String>> {
    let mut sections = BTreeMap::new();
    let mut name = None;
    for line in console.lines().map(str::trim_end) {
        if let Some(next) = line.strip_prefix(MARK) {
            name = (next != "end").then(|| next.to_owned());
            continue;
        }
        let Some(name) = &name else { continue };
        let lines: &mut Vec<String> = sections.entry(name.clone()).or_default();
        lines.extend(comparable(line));
    }
    sections
}

/// A line as both loaders show it; none where it is a known difference.
fn comparable(line: &str) -> Option<String> {
    // A download: iPXE shows its URI as the script has it, we show all of it.
    if let Some((uri, verdict)) = line.split_once("... ")
        && !uri.contains(' ')
    {
        let name = uri.rsplit('/').next().unwrap_or(uri);
        let verdict = if verdict == "ok" { "ok" } else { "failed" };
        return Some(format!("{name}... {verdict}"));
    }
    // A failure: iPXE has a number and a page of its wiki, we have what came back and a name.
    let is_failure = line.contains("(https://ipxe.org/")
        || line.starts_with("No default user interface")
        || line.ends_with(": no such image")
        || line.contains(": ") && line.ends_with(']');
    // A full screen, of which only the blanks it was drawn with are told.
    let is_screen = line.contains(&" ".repeat(10));
    (!is_failure && !is_screen && !line.is_empty()).then(|| line.to_owned())
}

/// What iPXE says of a command that its build has not.
const NOT_THERE: &str = ": command not found";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_differ_is_left_out() {
        let same = |ours, theirs| assert_eq!(comparable(ours), comparable(theirs), "{ours}");
        same("http://10.0.0.1/a/b.ipxe... ok", "b.ipxe... ok");
        same(
            "http://10.0.0.1/b... 10.0.0.1 answered 404 Not Found [http-status]",
            "b... No such file or directory (https://ipxe.org/2d0c618e)",
        );
        same(
            "choose: there is no menu [menu-unknown]",
            "No default user interface",
        );
        assert_ne!(
            comparable("a... ok"),
            comparable("a... reset [connect-lost]")
        );
        assert_eq!(comparable("[] []").as_deref(), Some("[] []"));
        let console = "noise\n=== one\na \n\n=== two\nb\n=== end\nc";
        let found: Vec<_> = sections(console).into_values().flatten().collect();
        assert_eq!(found, ["a", "b"]);
    }
}
