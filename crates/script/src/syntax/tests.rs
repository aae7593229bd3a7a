//! Command lines against the table, and the table against itself.

use std::borrow::ToOwned;
use std::format;
use std::string::{String, ToString};
use std::time::Duration;
use std::vec::Vec;

use super::{Parsed, table};
use crate::tests::Random;

fn parse(line: &str) -> Result<Parsed, String> {
    let mut words = line.split(' ').map(ToOwned::to_owned);
    let name = words.next().unwrap();
    let spec = table::find(&name).unwrap_or_else(|| panic!("no command {name}"));
    let words: Vec<String> = words.collect();
    spec.parse(&words).map_err(|error| error.to_string())
}

/// What was found: `option=value` for each option of the command, then the arguments.
fn found(line: &str) -> String {
    let name = line.split(' ').next().unwrap();
    let matches = match parse(line) {
        Ok(Parsed::Run(matches)) => matches,
        Ok(Parsed::Help) => return "help".into(),
        Err(error) => return error,
    };
    let mut text = String::new();
    for option in table::find(name)
        .unwrap()
        .options
        .iter()
        .map(|option| option.long)
    {
        if let Some(value) = matches.text(option) {
            text += &format!("{option}={value} ");
        } else if let Some(value) = matches.number(option) {
            text += &format!("{option}={value} ");
        } else if let Some(value) = matches.duration(option) {
            text += &format!("{option}={value:?} ");
        } else if let Some(value) = matches.key(option) {
            text += &format!("{option}=key {value:#x} ");
        } else if matches.flag(option) {
            text += &format!("{option} ");
        }
    }
    text + &format!("[{}]", matches.arguments().join("|"))
}

#[test]
fn reads_options_and_arguments() {
    for (line, expected) in [
        ("dhcp", "[]"),
        ("dhcp net0 net1", "[net0|net1]"),
        ("ifconf -t 5000 net0", "timeout=5s [net0]"),
        ("ifconf -t5000 net0", "timeout=5s [net0]"),
        ("ifconf --timeout 5000 net0", "timeout=5s [net0]"),
        ("ifconf --timeout=5000 net0", "timeout=5s [net0]"),
        ("ifconf --timeout 0x10", "timeout=16ms []"),
        ("ifconf -t 010", "timeout=8ms []"),
        ("ifconf -c dhcp", "configurator=dhcp []"),
        (
            "sanhook -n -d 0x81 iscsi:x",
            "drive=129 no-describe [iscsi:x]",
        ),
        ("sanhook -nd0x81 iscsi:x", "drive=129 no-describe [iscsi:x]"),
        (
            "sanhook -d129 -n iscsi:x",
            "drive=129 no-describe [iscsi:x]",
        ),
        (
            "sanhook --drive=0 iscsi:x iscsi:y",
            "drive=0 [iscsi:x|iscsi:y]",
        ),
        ("sanhook --drive 1 --drive 2 iscsi:x", "drive=2 [iscsi:x]"),
        ("sanhook iscsi:x -n", "[iscsi:x|-n]"),
        ("sanhook -- -n", "[-n]"),
        ("sanhook -n -- --drive", "no-describe [--drive]"),
        ("sanhook -", "[-]"),
        (
            "sanboot --no-describe --filename \\EFI\\debian\\grubaa64.efi",
            "no-describe filename=\\EFI\\debian\\grubaa64.efi []",
        ),
        ("sanboot -f --keep x", "filename=--keep [x]"),
        ("sanboot --filename= x", "filename= [x]"),
        (
            "chain --replace http://boot/x a b",
            "replace [http://boot/x|a|b]",
        ),
        (
            "chain -ar http://boot/x",
            "autofree replace [http://boot/x]",
        ),
        ("boot", "[]"),
        (
            "kernel vmlinuz initrd=initrd -- --quiet",
            "[vmlinuz|initrd=initrd|--|--quiet]",
        ),
        (
            "initrd -n root.img http://boot/x",
            "name=root.img [http://boot/x]",
        ),
        (
            "prompt -k x -t 1000 Press x",
            "key=key 0x78 timeout=1s [Press|x]",
        ),
        ("prompt --key 0x02", "key=key 0x2 []"),
        ("prompt --key 5", "key=key 0x35 []"),
        ("prompt --key é", "key=key 0xe9 []"),
        ("set a -b --c", "[a|-b|--c]"),
        ("set a", "[a]"),
        ("inc i -1", "[i|-1]"),
        ("echo", "[]"),
        ("echo a  b", "[a||b]"),
        ("echo -n a", "n [a]"),
        ("echo --- x", "[---|x]"),
        ("echo --x y", "[--x|y]"),
        ("echo -x -n", "[-x|-n]"),
        ("echo -nx", "[-nx]"),
        ("echo -n -x", "n [-x]"),
        ("echo -", "[-]"),
        ("echo -- -n", "[-n]"),
        ("echo a -n --help", "[a|-n|--help]"),
        ("menu -n a Boot what", "name=a [Boot|what]"),
        ("menu --delete", "delete []"),
        ("form", "[]"),
        ("item", "[]"),
        (
            "item -m a -k x -d linux Start Linux",
            "menu=a key=key 0x78 default [linux|Start|Linux]",
        ),
        ("item --gap -- -- Systems --", "gap [--|Systems|--]"),
        (
            "item --secret --form f password Secret",
            "form=f secret [password|Secret]",
        ),
        (
            "choose --default linux --timeout 5000 --retimeout 9000 target",
            "default=linux timeout=5s retimeout=9s [target]",
        ),
        ("choose -k -m a t", "menu=a keep [t]"),
        (
            "choose",
            "an argument is missing; usage: choose [-m|--menu <name>] \
             [-d|--default <name>] [-t|--timeout <ms>] [-r|--retimeout <ms>] [-k|--keep] \
             <setting>",
        ),
        ("present --form f --keep", "form=f keep []"),
        (
            "present x",
            "`x` is one argument too many; usage: present [-f|--form <name>] \
             [-k|--keep]",
        ),
        ("colour --rgb 0x6699ff 4", "rgb=6724095 [4]"),
        (
            "cpair --foreground 7 --background 9 0",
            "foreground=7 background=9 [0]",
        ),
        (
            "console --x 1024 -y 768 --picture a.png -k",
            "x=1024 y=768 picture=a.png keep []",
        ),
        ("config net0", "[net0]"),
        ("login", "[]"),
        ("read -t 5000 name", "timeout=5s [name]"),
        ("params --name a --method PUT", "name=a method=PUT []"),
        (
            "param -p a --header Accept text/plain",
            "params=a header [Accept|text/plain]",
        ),
        ("sha256sum --set x a b", "set=x [a|b]"),
        (
            "imgextract -n linux --keep linux.gz",
            "name=linux keep [linux.gz]",
        ),
        ("imgset x a", "[x|a]"),
        ("autoboot net0", "[net0]"),
        ("cpuid --ext 29", "ext [29]"),
        ("sync", "[]"),
        ("reboot -ws", "warm setup []"),
        ("help sanboot", "[sanboot]"),
        ("sanhook --help", "help"),
        ("sanhook -h", "help"),
        ("sanhook -nh", "help"),
        ("sanhook --help -x", "help"),
        ("poweroff --help", "help"),
        ("isset ", "[]"),
    ] {
        assert_eq!(found(line), expected, "{line:?}");
    }
}

#[test]
fn says_what_is_wrong() {
    const SANHOOK: &str = "sanhook [-d|--drive <drive>] [-n|--no-describe] <uri>...";
    for (line, expected) in [
        (
            "sanhook --no-describ iscsi:x",
            "unknown option `--no-describ`, did you mean `--no-describe`?",
        ),
        (
            "sanhook --dirve=1 x",
            "unknown option `--dirve`, did you mean `--drive`?",
        ),
        (
            "sanhook --drvie=1 x",
            "unknown option `--drvie`, did you mean `--drive`?",
        ),
        (
            "sanhook --driv=1 x",
            "unknown option `--driv`, did you mean `--drive`?",
        ),
        (
            "sanhook --hlep",
            "unknown option `--hlep`, did you mean `--help`?",
        ),
        (
            "sanhook --hep",
            "unknown option `--hep`, did you mean `--help`?",
        ),
        ("sanhook -x iscsi:x", "unknown option `-x`"),
        ("sanhook -nx iscsi:x", "unknown option `-x`"),
        ("sanhook --- x", "unknown option `---`"),
        ("sanhook -d", "-d needs a value"),
        ("sanhook --drive", "--drive needs a value"),
        ("sanhook --no-describe=1 x", "--no-describe takes no value"),
        ("sanhook -d one x", "-d: `one` is no number like 10 or 0x0a"),
        (
            "sanhook --drive=-1 x",
            "--drive: `-1` is no number like 10 or 0x0a",
        ),
        ("dhcp -t soon", "-t: `soon` is no number like 10 or 0x0a"),
        ("dhcp -c bootp", "-c: `bootp` is none of dhcp, ipv6"),
        (
            "prompt -k F8",
            "-k: `F8` is no key: one character, or a code like 0x02",
        ),
        (
            "goto a b",
            "`b` is one argument too many; usage: goto <label>",
        ),
        ("goto", "an argument is missing; usage: goto <label>"),
        ("shell now", "`now` is one argument too many; usage: shell"),
        (
            "inc a 1 2",
            "`2` is one argument too many; usage: inc <setting> [<number>]",
        ),
        ("exit -1", "unknown option `-1`"),
    ] {
        assert_eq!(found(line), expected, "{line:?}");
    }
    assert_eq!(
        found("sanhook -n"),
        format!("an argument is missing; usage: {SANHOOK}")
    );
}

#[test]
fn joins_and_indexes_arguments() {
    let Ok(Parsed::Run(matches)) = parse("set a b  c") else {
        panic!("not run")
    };
    assert_eq!(matches.argument(0), Some("a"));
    assert_eq!(matches.argument(4), None);
    assert_eq!(matches.joined(1), "b  c");
    assert_eq!(matches.joined(9), "");
    let Ok(Parsed::Run(matches)) = parse("dhcp -t 1") else {
        panic!("not run")
    };
    assert_eq!(matches.duration("timeout"), Some(Duration::from_millis(1)));
    assert_eq!(matches.text("timeout"), None);
    assert_eq!(matches.number("timeout"), None);
    assert_eq!(matches.key("timeout"), None);
}

#[test]
#[should_panic(expected = "ifconf has no option --tiemout")]
fn a_slip_in_the_code_is_found() {
    let Ok(Parsed::Run(matches)) = parse("dhcp") else {
        return;
    };
    let _ = matches.duration("tiemout");
}

#[test]
fn keeps_secrets_out_of_debug() {
    let text = format!("{:?}", parse("set password hush").unwrap());
    assert_eq!(text, "Run(Matches(set, [], 2 arguments))");
}

#[test]
fn finds_commands_by_every_name() {
    for (name, expected) in [
        ("ifconf", "ifconf"),
        ("dhcp", "ifconf"),
        ("chain", "imgexec"),
        ("boot", "imgexec"),
        ("imgexec", "imgexec"),
        ("module", "imgfetch"),
        ("initrd", "imgfetch"),
        ("kernel", "imgselect"),
        ("imgload", "imgselect"),
    ] {
        assert_eq!(table::find(name).unwrap().name, expected);
    }
    for name in [
        "ifopen",
        "ifclose",
        "ifstat",
        "iflinkwait",
        "route",
        "nslookup",
        "show",
        "set",
        "clear",
        "inc",
        "isset",
        "iseq",
        "imgargs",
        "imgstat",
        "imgfree",
        "sanhook",
        "sanboot",
        "sanlist",
        "sanunhook",
        "echo",
        "goto",
        "exit",
        "sleep",
        "prompt",
        "shell",
        "help",
        "reboot",
        "poweroff",
    ] {
        assert_eq!(table::find(name).unwrap().name, name);
    }
    assert!(table::find("").is_none());
    for (name, expected) in [
        (
            "sanhok",
            "sanhok: command not found, did you mean `sanhook`?",
        ),
        (
            "sanbot",
            "sanbot: command not found, did you mean `sanboot`?",
        ),
        (
            "power",
            "power: command not found, did you mean `poweroff`?",
        ),
        ("frobnicate", "frobnicate: command not found"),
        (
            "fcstat",
            "fcstat: left out: Fibre Channel needs drivers of its own, which the loader has not",
        ),
        (
            "lotest",
            "lotest: left out: it serves the development of iPXE",
        ),
        ("", ": command not found"),
    ] {
        assert_eq!(table::unknown(name).to_string(), expected);
    }
}

#[test]
fn the_table_is_sound() {
    let mut names: Vec<&str> = Vec::new();
    for command in table::COMMANDS {
        names.push(command.name);
        names.extend(command.synonyms);
        assert!(
            !command.summary.is_empty() && !command.summary.ends_with('.'),
            "{command:?}"
        );
        assert!(command.summary.len() <= 64, "{command:?}");
        let arguments = command.arguments;
        assert_eq!(
            arguments.usage.is_empty(),
            arguments.max == Some(0),
            "{command:?}"
        );
        assert!(
            arguments.max.is_none_or(|max| arguments.min <= max),
            "{command:?}"
        );
        for (index, option) in command.options.iter().enumerate() {
            assert!(option.long != "help" && option.short != 'h', "{command:?}");
            for other in &command.options[..index] {
                assert!(
                    option.long != other.long && option.short != other.short,
                    "{command:?}"
                );
            }
        }
    }
    for refused in table::REFUSED {
        names.push(refused.name);
        assert!(
            !refused.reason.is_empty() && !refused.reason.ends_with('.'),
            "{refused:?}"
        );
    }
    assert!(table::REFUSED.is_sorted_by_key(|refused| refused.name));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a name is used twice");
}

#[test]
fn helps() {
    assert_eq!(
        table::find("sanunhook").unwrap().help(),
        "Detach a SAN disk\n\
         \n\
         Usage: sanunhook [-d|--drive <drive>]\n\
         \n  \
         -d, --drive <drive>          drive number, else ${san-drive} or 0x80\n"
    );
    assert_eq!(
        table::find("imgfetch").unwrap().usage(),
        "imgfetch [-n|--name <name>] [-t|--timeout <ms>] [-q|--quiet] [-a|--autofree] <uri> \
         [<argument>...]"
    );
    let help = table::find("ifconf").unwrap().help();
    assert!(help.contains("Also:  dhcp\n"), "{help}");
    assert!(help.contains("-c, --configurator dhcp|ipv6"), "{help}");
    assert!(help.ends_with("waits for its link first.\n"), "{help}");
}

#[test]
fn random_words_never_panic() {
    const PARTS: &[&str] = &[
        "-",
        "--",
        "n",
        "d",
        "k",
        "t",
        "h",
        "drive",
        "timeout",
        "no-describe",
        "key",
        "=",
        "1",
        "0x",
        "",
        "é",
        "x",
    ];
    for seed in 0..5000 {
        let mut random = Random::new(seed);
        let spec = &table::COMMANDS[random.below(table::COMMANDS.len())];
        let count = random.below(6);
        let words: Vec<String> = (0..count)
            .map(|_| {
                let parts = random.below(5);
                (0..parts).map(|_| random.pick(PARTS)).collect()
            })
            .collect();
        let _ = spec.parse(&words).map_err(|error| error.to_string());
    }
}
