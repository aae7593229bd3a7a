//! Completion at the prompt: what a Tab adds to the line, or what it could be.

use alloc::string::String;
use alloc::vec::Vec;

use bowline_script::syntax::table;

/// What a Tab does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Completion {
    /// Goes in at the cursor.
    pub(crate) insert: String,
    /// What the word could be, where that is not settled.
    pub(crate) choices: Vec<String>,
}

/// What words there are.
pub(crate) trait Names {
    /// Settings: `name` and `scope/name`.
    fn settings(&self) -> Vec<String>;
    /// Images.
    fn images(&self) -> Vec<String>;
    /// Network cards.
    fn interfaces(&self) -> Vec<String>;
}

/// Completes the last word of what stands before the cursor.
pub(crate) fn complete(before: &str, names: &dyn Names) -> Completion {
    // Inside an expansion that is open, a setting is wanted.
    if let Some((_, part)) = before.rsplit_once("${")
        && !part.contains('}')
    {
        return choose(part, names.settings(), "}");
    }
    let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let word = before.get(start..).unwrap_or_default();
    let earlier = before.get(..start).unwrap_or_default();
    let is_operator = |word: &&str| matches!(*word, "&&" | "||" | ";");
    let words: Vec<&str> = earlier.split_whitespace().collect();
    let begins = words.iter().rposition(is_operator).map_or(0, |at| at + 1);
    let Some(&command) = words.get(begins) else {
        return choose(word, command_names(), " ");
    };
    let Some(spec) = table::find(command) else {
        return Completion::default();
    };
    if let Some(option) = word.strip_prefix("--") {
        let long = spec.options.iter().map(|option| String::from(option.long));
        return choose(option, long.chain([String::from("help")]).collect(), " ");
    }
    let candidates = match spec.name {
        "set" | "show" | "clear" | "read" | "inc" | "config" | "nslookup" => names.settings(),
        "help" => command_names(),
        name if name.starts_with("img") || name.ends_with("sum") => names.images(),
        name if takes_interfaces(name) => names.interfaces(),
        _ => Vec::new(),
    };
    choose(word, candidates, " ")
}

/// Whether the arguments of a command are network interfaces.
fn takes_interfaces(command: &str) -> bool {
    command.starts_with("if") || ["autoboot", "vcreate", "vdestroy"].contains(&command)
}

fn command_names() -> Vec<String> {
    let names = table::COMMANDS
        .iter()
        .flat_map(|spec| [spec.name].into_iter().chain(spec.synonyms.iter().copied()));
    names.map(String::from).collect()
}

/// What the candidates that begin with `part` have in common; `end` follows the only one.
fn choose(part: &str, candidates: Vec<String>, end: &str) -> Completion {
    let mut fitting: Vec<String> = candidates;
    fitting.retain(|candidate| candidate.starts_with(part));
    fitting.sort_unstable();
    fitting.dedup();
    let Some(first) = fitting.first() else {
        return Completion::default();
    };
    let common = fitting.iter().fold(first.as_str(), |common, candidate| {
        let same = common
            .chars()
            .zip(candidate.chars())
            .take_while(|(a, b)| a == b);
        let length = same.map(|(a, _)| a.len_utf8()).sum();
        common.get(..length).unwrap_or_default()
    });
    let mut insert = String::from(common.get(part.len()..).unwrap_or_default());
    if let [_] = fitting.as_slice() {
        insert.push_str(end);
        fitting.clear();
    }
    let choices = if insert.is_empty() {
        fitting
    } else {
        Vec::new()
    };
    Completion { insert, choices }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    struct Some3;

    impl Names for Some3 {
        fn settings(&self) -> Vec<String> {
            ["net0/ip", "net0/mac", "filename"].map(String::from).into()
        }
        fn images(&self) -> Vec<String> {
            vec!["vmlinuz".to_string()]
        }
        fn interfaces(&self) -> Vec<String> {
            ["net0", "net1"].map(String::from).into()
        }
    }

    #[test]
    fn words_are_completed_by_what_may_stand_there() {
        for (before, insert, choices) in [
            ("dh", "cp ", ""),
            ("sanb", "oot ", ""),
            ("sanh", "ook ", ""),
            ("san", "", "sanboot sanhook sanlist sanunhook"),
            ("", "", "*"),
            ("nonsense", "", ""),
            ("nonsense x", "", ""),
            ("dhcp && sho", "w ", ""),
            ("dhcp net0 || she", "ll ", ""),
            ("show n", "et0/", ""),
            ("show net0/", "", "net0/ip net0/mac"),
            ("set file", "name ", ""),
            ("echo ${net0/m", "ac}", ""),
            ("echo ${net0/mac} x", "", ""),
            ("imgfree v", "mlinuz ", ""),
            ("boot v", "mlinuz ", ""),
            ("sha256sum v", "mlinuz ", ""),
            ("dhcp n", "et", ""),
            ("dhcp net", "", "net0 net1"),
            ("sanboot --fi", "lename ", ""),
            ("sanboot --no", "-describe ", ""),
            ("help imgver", "ify ", ""),
            ("help fcst", "", ""),
            ("help reb", "oot ", ""),
            ("é", "", ""),
        ] {
            let found = complete(before, &Some3);
            assert_eq!(found.insert, insert, "{before:?}");
            if choices == "*" {
                assert!(found.choices.len() > 50);
            } else {
                assert_eq!(found.choices.join(" "), choices, "{before:?}");
            }
        }
    }
}
