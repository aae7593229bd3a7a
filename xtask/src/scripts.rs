//! `cargo xtask conformance script`: the corpus of scripts run by Debian's iPXE and by
//! bowline.efi, on the same machine with the same servers, must show the same on the console,
//! except for what docs/script.md lists; and what that lists must show.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, ensure};

use crate::corpus::{APART, END, MARK};
use crate::e2e;
use crate::run;
use crate::scenario::Loader;
use crate::workspace::Workspace;

/// The folder of scenarios, one for each loader.
pub(crate) const FOLDER: &str = "conformance";

/// What iPXE says of a command that its build has not.
const NOT_THERE: &str = ": command not found";

/// The table of docs/script.md with the lines that differ.
const TABLE: &str = "<!-- differences: checked by `cargo xtask conformance script` -->";

/// A kind of line that is known to differ: its subject in the table of docs/script.md.
type Kind = &'static str;

const DOWNLOADS: Kind = "downloads on the console";
const FAILURES: Kind = "failures on the console";
const SCREENS: Kind = "full screens (`menu`, `form`)";
const ADDRESSES: Kind = "what `dhcp` says";

/// Some lines of a script as iPXE shows them and as we do.
type Difference = (String, Vec<String>, Vec<String>);

/// Runs the corpus and compares; whether all is as docs/script.md says.
pub(crate) fn compare(workspace: &Workspace) -> Result<bool> {
    let instances = e2e::select(&workspace.e2e(), FOLDER, &[])?;
    e2e::prepare(workspace, &instances)?;
    let outcomes = e2e::run_all(workspace, FOLDER, &instances, 1)?;
    if e2e::table(&outcomes) > 0 {
        return Ok(false);
    }
    let docs = workspace.root.join("docs");
    let reference = fs::read_to_string(docs.join("script.md"))?;
    let errors = fs::read_to_string(docs.join("errors.md"))?;
    let codes = codes(&errors);
    let mut kinds = BTreeSet::new();
    let mut console = |wanted: Loader| {
        let is_wanted = |loader: Loader| (loader == Loader::Ipxe) == (wanted == Loader::Ipxe);
        let instance = instances.iter().find(|it| is_wanted(it.scenario.loader));
        let instance = instance.context("there is no scenario for each loader")?;
        let log = run::folder(workspace, &instance.name).join("console.log");
        let log = fs::read_to_string(log)?;
        Ok::<_, anyhow::Error>(sections(&log, &mut kinds))
    };
    let (ours, theirs) = (console(Loader::BowlineBeside)?, console(Loader::Ipxe)?);
    ensure!(!theirs.is_empty(), "iPXE has run no script");
    let mut shown = Vec::new();
    for (name, theirs) in &theirs {
        let ours = ours.get(name).map(Vec::as_slice).unwrap_or_default();
        let found = differences(name, theirs, ours, &codes);
        let verdict = match (missing(theirs), found.len()) {
            (Some(command), 0) => format!("the same until `{command}`, which this iPXE has not"),
            (_, 0) => format!("the same ({} lines)", ours.len()),
            (_, count) => format!("{count} known differences"),
        };
        println!("{name:24} {verdict}");
        shown.extend(found);
    }
    for (name, why) in APART {
        println!("golden-{name:17} not compared: {why}");
    }
    let mut complaints = complaints(&shown, &listed(&reference)?);
    for kind in [DOWNLOADS, FAILURES, SCREENS, ADDRESSES] {
        if !kinds.contains(kind) || !reference.contains(&format!("| {kind} |")) {
            complaints.push(format!(
                "no line shows, or docs/script.md does not list: {kind}"
            ));
        }
    }
    complaints.iter().for_each(|it| println!("{it}"));
    Ok(complaints.is_empty() && ours.len() == theirs.len())
}

/// The command that iPXE lacked, which ended its script.
fn missing(theirs: &[String]) -> Option<&str> {
    theirs.iter().find_map(|line| line.strip_suffix(NOT_THERE))
}

/// What is shown and not listed, and what is listed and not shown.
fn complaints(shown: &[Difference], listed: &[Difference]) -> Vec<String> {
    let row = |(name, theirs, ours): &Difference| {
        let cell = |lines: &[String]| {
            let spans = lines
                .iter()
                .map(|line| format!("`{}`", line.replace('|', "\\|")));
            spans.collect::<Vec<_>>().join("<br>")
        };
        format!("| {name} | {} | {} |", cell(theirs), cell(ours))
    };
    let not_in = |these: &[Difference], those: &[Difference], says: &str| {
        let missing = these.iter().filter(|it| !those.contains(it));
        missing
            .map(|it| format!("{says}:\n  {}", row(it)))
            .collect::<Vec<_>>()
    };
    let mut complaints = not_in(
        shown,
        listed,
        "DIFFERENT, and docs/script.md does not list it",
    );
    complaints.extend(not_in(
        listed,
        shown,
        "docs/script.md lists it, but it does not show",
    ));
    complaints
}

/// The rows of the table of docs/script.md.
fn listed(reference: &str) -> Result<Vec<Difference>> {
    let (_, table) = reference
        .split_once(TABLE)
        .context("docs/script.md has no table of differences")?;
    let rows = table
        .lines()
        .skip(1)
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| {
            // A bar inside a cell has a backslash before it.
            let line = line.replace("\\|", "\u{0}");
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [name, theirs, ours] = cells[..] else {
                anyhow::bail!("docs/script.md: not three cells: {line}");
            };
            let lines = |cell: &str| {
                let spans = cell.split("<br>").filter(|span| !span.is_empty());
                let texts = spans.map(|span| span.trim_matches('`').replace('\u{0}', "|"));
                texts.collect::<Vec<_>>()
            };
            Ok((name.to_owned(), lines(theirs), lines(ours)))
        })
        .collect()
}

/// The lines that differ, a row for each run of them. What comes after a command that iPXE has not
/// is not compared.
fn differences(name: &str, theirs: &[String], ours: &[String], codes: &[&str]) -> Vec<Difference> {
    let mut theirs = theirs;
    let mut ours = ours;
    if let Some(end) = theirs.iter().position(|line| line.ends_with(NOT_THERE)) {
        theirs = &theirs[..end];
        ours = &ours[..ours.len().min(end)];
    }
    let mut found = Vec::new();
    while !theirs.is_empty() || !ours.is_empty() {
        // The fewest lines to leave out until both go on with the same.
        let all = theirs.len() + ours.len();
        let pairs = (0..=all).flat_map(|sum| (0..=sum).map(move |left| (left, sum - left)));
        let (left, right) = pairs
            .filter(|&(left, right)| left <= theirs.len() && right <= ours.len())
            .find(|&(left, right)| match (theirs.get(left), ours.get(right)) {
                (Some(theirs), Some(ours)) => is_same(theirs, ours, codes),
                (None, None) => true,
                _ => false,
            })
            .unwrap_or((theirs.len(), ours.len()));
        if left + right > 0 {
            let row = (theirs[..left].to_vec(), ours[..right].to_vec());
            found.push((name.to_owned(), row.0, row.1));
        }
        theirs = theirs.get(left + 1..).unwrap_or_default();
        ours = ours.get(right + 1..).unwrap_or_default();
    }
    found
}

/// Whether two lines are the same, but for `${errno}`: a number of 32 bits to iPXE, a name to us.
fn is_same(theirs: &str, ours: &str, codes: &[&str]) -> bool {
    let (theirs, ours) = (theirs.split(' '), ours.split(' '));
    theirs.clone().count() == ours.clone().count()
        && theirs.zip(ours).all(|(theirs, ours)| {
            let number = theirs.trim_matches(AROUND);
            let is_number = number.len() > 8 && number.starts_with("0x");
            theirs == ours || is_number && codes.contains(&ours.trim_matches(AROUND))
        })
}

/// What may stand around a word.
const AROUND: [char; 5] = ['(', ')', ',', ':', '.'];

/// The names of failures, from the titles of docs/errors.md.
fn codes(errors: &str) -> Vec<&str> {
    errors
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect()
}

/// The lines of each script, without those of a kind that is known to differ.
fn sections(console: &str, kinds: &mut BTreeSet<Kind>) -> BTreeMap<String, Vec<String>> {
    let mut sections = BTreeMap::new();
    let mut name = None;
    for line in console.lines().map(str::trim_end) {
        if let Some(at) = line.find(MARK) {
            let next = &line[at + MARK.len()..];
            name = (next != END).then(|| next.to_owned());
            continue;
        }
        let Some(name) = &name else { continue };
        let lines: &mut Vec<String> = sections.entry(name.clone()).or_default();
        let (line, kind) = comparable(line);
        kinds.extend(kind);
        lines.extend(line);
    }
    sections
}

/// A line as both loaders show it; none where they show no line in common. And the kind of
/// difference that was taken out.
fn comparable(line: &str) -> (Option<String>, Option<Kind>) {
    // iPXE shows the path as the script has it, we show all of the URI. On a busy host a progress bar came
    // before, on the same line.
    if let Some((before, verdict)) = line.rsplit_once("... ")
        && let Some(uri) = before.rsplit(' ').next()
        && (uri.contains('/') || uri == before)
    {
        let path = uri.split('?').next().unwrap_or(uri);
        let name = path.rsplit('/').next().unwrap_or(path);
        let verdict = if verdict == "ok" { "ok" } else { "failed" };
        return (Some(format!("{name}... {verdict}")), Some(DOWNLOADS));
    }
    // iPXE has a number and a page of its wiki, we have what came back and a name.
    let is_failure = line.contains("(https://ipxe.org/")
        || line.starts_with("No default user interface")
        || line.contains(": no such ")
        || line.contains(": ") && line.ends_with(']');
    if is_failure {
        return (None, Some(FAILURES));
    }
    // Only the blanks that a screen was drawn with are told, to iPXE's forms lines.
    if line.contains(&" ".repeat(10)) || line.contains(&"_".repeat(10)) {
        return (None, Some(SCREENS));
    }
    if line.starts_with("Configuring (net0") || line.starts_with("net0: ") {
        return (None, Some(ADDRESSES));
    }
    ((!line.is_empty()).then(|| line.to_owned()), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn only_what_is_known_to_differ_is_left_out() {
        let same = |ours, theirs| assert_eq!(comparable(ours), comparable(theirs), "{ours}");
        same("http://10.0.0.1/a/b.ipxe... ok", "b.ipxe... ok");
        same("http://10.0.0.1/a/b?c=d/e... ok", "a/b... ok");
        same(
            "http://10.0.0.1/b... 10.0.0.1 answered 404 Not Found [http-status]",
            "b... No such file or directory (https://ipxe.org/2d0c618e)",
        );
        same(
            "http://10.0.0.1/b....1/b... [===] 100% of 9 B, 8 B/shttp://10.0.0.1/b... ok",
            "b... ok",
        );
        same(
            "choose: there is no menu [menu-unknown]",
            "No default user interface",
        );
        assert_ne!(
            comparable("a... ok"),
            comparable("a... reset [connect-lost]")
        );
        assert_eq!(comparable("[] []"), (Some("[] []".into()), None));
        let console = "noise\n=== one\na \n\n\x20=== two\nb\n=== end\nc";
        let found = sections(console, &mut BTreeSet::new());
        let found: Vec<_> = found.into_values().flatten().collect();
        assert_eq!(found, ["a", "b"]);
    }

    #[test]
    fn differences_are_the_runs_of_lines_between_the_same_ones() {
        assert!(is_same(
            "try 1 (0x2d0c618e),",
            "try 1 (http-status),",
            &["http-status"]
        ));
        assert!(!is_same("0x2d0c618e", "0x2d0c618f", &["http-status"]));
        assert!(!is_same("0x80", "http-status", &["http-status"]));
        let found = differences("s", &lines("a b c d e"), &lines("a x c e f"), &[]);
        let row = |theirs, ours| ("s".to_owned(), lines(theirs), lines(ours));
        assert_eq!(found, [row("b", "x"), row("d", ""), row("", "f")]);
        assert!(differences("s", &lines("a b"), &lines("a b"), &[]).is_empty());
        let mut theirs = lines("a b");
        theirs.push("ping: command not found".into());
        assert!(differences("s", &theirs, &lines("a b c d"), &[]).is_empty());
        assert_eq!(missing(&theirs), Some("ping"));
    }

    #[test]
    fn what_is_listed_must_show_and_what_shows_must_be_listed() {
        let reference = format!(
            "x\n{TABLE}\n| s | i | b |\n|---|---|---|\n| s | `a \\| b`<br>`c` | |\n\nend\n"
        );
        let listed = listed(&reference).unwrap();
        let known = [("s".to_owned(), vec!["a | b".into(), "c".into()], vec![])];
        assert_eq!(listed, known);
        assert!(complaints(&known, &listed).is_empty());
        assert_eq!(complaints(&[], &listed).len(), 1);
        assert!(complaints(&known, &[])[0].ends_with("| s | `a \\| b`<br>`c` |  |"));
    }
}
