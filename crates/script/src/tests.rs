//! Scripts run against a caller of a few commands; the transcript is what is compared.

use std::borrow::ToOwned;
use std::boxed::Box;
use std::format;
use std::rc::Rc;
use std::string::{String, ToString};
use std::vec::Vec;

use crate::syntax::table;
use crate::{Execution, ExecutionError, ParseError, Script, Settings, Step, limits};

/// Runs `body` as a script after the magic; gives `[line]word word` for each command that is not
/// carried out here, and how the script ended.
fn run(body: &str) -> String {
    run_script(Script::parse(format!("#!ipxe\n{body}").as_bytes()).unwrap())
}

fn run_line(line: &str) -> String {
    run_script(Script::command_line(line).unwrap())
}

/// `ok...` succeeds, `fail...` fails; `set`, `inc`, `goto`, `exit` and `iseq` do what they say.
fn run_script(script: Script) -> String {
    let mut settings = Settings::new();
    let mut execution: Execution<Box<str>> = Execution::new(Rc::new(script));
    let mut transcript = String::new();
    // As good as Ctrl-C.
    for _ in 0..1000 {
        let command = match execution.next(&settings) {
            Step::Command(command) => command,
            Step::Finished(Ok(())) => return transcript + "done",
            Step::Finished(Err(failure)) => {
                return transcript + &format!("{}: {}", failure.line, failure.error);
            }
        };
        assert_eq!(command.line, execution.line());
        let arguments = command.arguments();
        let argument = |index: usize| arguments.get(index).map_or("", String::as_str);
        let result = match command.name() {
            "set" => settings.set(argument(0), argument(1)).map_err(boxed),
            "inc" => settings.increment(argument(0), 1).map_err(boxed),
            "iseq" if argument(0) == argument(1) => Ok(()),
            "iseq" => Err("differ".into()),
            "goto" => match execution.goto(argument(0)) {
                Ok(()) => continue,
                Err(error) => Err(boxed(error)),
            },
            "exit" => {
                let status = argument(0);
                let ok = matches!(status, "" | "0");
                execution.exit(if ok { Ok(()) } else { Err(status.into()) });
                continue;
            }
            name => {
                transcript += &format!("[{}]{} ", command.line, command.words.join("|"));
                if name.starts_with("fail") {
                    Err(name.into())
                } else {
                    Ok(())
                }
            }
        };
        execution.complete(result);
    }
    transcript + "stopped"
}

fn boxed(error: impl ToString) -> Box<str> {
    error.to_string().into()
}

impl From<ExecutionError> for Box<str> {
    fn from(error: ExecutionError) -> Self {
        error.to_string().into()
    }
}

#[test]
fn splits_words_and_joins_lines() {
    for (body, expected) in [
        ("", "done"),
        ("\n\n  \n", "done"),
        ("ok", "[2]ok done"),
        ("  ok\ta  b \x0b c\x0c", "[2]ok|a|b|c done"),
        ("ok a\r\nok b\r\n", "[2]ok|a [3]ok|b done"),
        ("ok 'a b' \"c", "[2]ok|'a|b'|\"c done"),
        ("ok a\\\nb", "[2]ok|ab done"),
        ("ok a \\\n  b\nok c", "[2]ok|a|b [4]ok|c done"),
        ("ok a \\\r\nb\r\nok c", "[2]ok|a|b [4]ok|c done"),
        ("ok a\\\\\nb", "[2]ok|a\\b done"),
        ("ok a\\", "[2]ok|a done"),
        ("ok a\\ \nok b", "[2]ok|a\\ [3]ok|b done"),
        ("\\\nok a", "[2]ok|a done"),
        (
            "ok \\EFI\\debian\\grubaa64.efi",
            "[2]ok|\\EFI\\debian\\grubaa64.efi done",
        ),
    ] {
        assert_eq!(run(body), expected, "{body:?}");
    }
}

#[test]
fn leaves_comments_out() {
    for (body, expected) in [
        ("# ok", "done"),
        ("#ok", "done"),
        ("ok # fail", "[2]ok done"),
        ("ok #fail || fail", "[2]ok done"),
        ("ok a#b", "[2]ok|a#b done"),
        ("ok http://x/y##params", "[2]ok|http://x/y##params done"),
        ("# one \\\nfail", "done"),
        ("fail || # never mind", "[2]fail done"),
        (":label # comment\nok", "[3]ok done"),
    ] {
        assert_eq!(run(body), expected, "{body:?}");
    }
    // A comment may be in any coding.
    let latin = Script::parse(b"#!ipxe\n# gr\xfc\xdfe\nok").unwrap();
    assert_eq!(run_script(latin), "[3]ok done");
}

#[test]
fn joins_commands_from_left_to_right() {
    for (line, expected) in [
        ("", "done"),
        ("ok1 && ok2", "[1]ok1 [1]ok2 done"),
        ("ok1 || ok2", "[1]ok1 done"),
        ("ok1 ; ok2", "[1]ok1 [1]ok2 done"),
        ("fail1 && ok2", "[1]fail1 1: fail1"),
        ("fail1 || ok2", "[1]fail1 [1]ok2 done"),
        ("fail1 ; ok2", "[1]fail1 [1]ok2 done"),
        ("ok1 ; fail2", "[1]ok1 [1]fail2 1: fail2"),
        ("ok1 || ok2 && ok3", "[1]ok1 [1]ok3 done"),
        ("fail1 && ok2 || ok3", "[1]fail1 [1]ok3 done"),
        ("fail1 && ok2 || fail3", "[1]fail1 [1]fail3 1: fail3"),
        ("fail1 || fail2 || ok3", "[1]fail1 [1]fail2 [1]ok3 done"),
        ("fail1 && ok2 && ok3 || ok4", "[1]fail1 [1]ok4 done"),
        ("ok1 && fail2 || ok3", "[1]ok1 [1]fail2 [1]ok3 done"),
        ("fail1 ||", "[1]fail1 done"),
        ("fail1 &&", "[1]fail1 1: fail1"),
        ("fail1 ;", "[1]fail1 done"),
        ("|| ok1", "done"),
        ("&& ok1", "[1]ok1 done"),
        ("; ; ok1", "[1]ok1 done"),
        ("ok1 &&& ok2", "[1]ok1|&&&|ok2 done"),
        ("ok1&&ok2", "[1]ok1&&ok2 done"),
        ("set op || && ok1 ${op} ok2", "[1]ok1||ok2 done"),
    ] {
        assert_eq!(run_line(line), expected, "{line:?}");
    }
}

#[test]
fn an_operator_from_an_expansion_is_a_word() {
    assert_eq!(run("set a b ; set op &&\nok ${a}${op}"), "[3]ok|b done");
    let mut settings = Settings::new();
    settings.set("op", "||").unwrap();
    let script = Script::command_line("ok ${op} fail").unwrap();
    let mut execution: Execution<Box<str>> = Execution::new(Rc::new(script));
    let Step::Command(command) = execution.next(&settings) else {
        panic!("no command")
    };
    assert_eq!(command.words, ["ok", "||", "fail"]);
}

#[test]
fn expands_each_command_when_its_turn_comes() {
    for (body, expected) in [
        ("set a 1\nok ${a}", "[3]ok|1 done"),
        ("set a 1 && ok ${a}", "[2]ok|1 done"),
        ("ok a${a}b ${a}", "[2]ok|ab| done"),
        ("${a}", "[2] done"),
        ("set c ok2\n${c} x", "[3]ok2|x done"),
        ("set x:hex 61:20:62\nok ${x:string} c", "[3]ok|a b|c done"),
        ("set p ${p${p}\nok ${p}.", "[3]ok|${p. done"),
        (
            "ok ${a:nothing}",
            "2: line 2: `${a:nothing}`: `nothing` is no type of settings",
        ),
        ("ok ${a:nothing} || ok2", "[2]ok2 done"),
        (
            "set i 8\ninc i\nok ${i}\ninc j ; ok ${j}",
            "[4]ok|9 [5]ok|1 done",
        ),
    ] {
        assert_eq!(run(body), expected, "{body:?}");
    }
    // Set without expansion, a value can contain itself.
    let mut settings = Settings::new();
    settings.set("loop", "${loop}").unwrap();
    let script = Script::command_line("ok ${loop} || ok2").unwrap();
    let mut execution: Execution<Box<str>> = Execution::new(Rc::new(script));
    let Step::Command(command) = execution.next(&settings) else {
        panic!("no command")
    };
    assert_eq!(command.words, ["ok2"]);
}

#[test]
fn a_failure_ends_the_script() {
    for (body, expected) in [
        ("ok\nfail\nok", "[2]ok [3]fail 3: fail"),
        ("fail ||\nok", "[2]fail [3]ok done"),
        ("ok1\n\n\nfail2 && ok\nok", "[2]ok1 [5]fail2 5: fail2"),
        ("exit\nok", "done"),
        ("exit 0\nok", "done"),
        ("exit 3\nok", "2: 3"),
        ("ok && exit 3 || ok", "[2]ok 2: 3"),
        ("fail || exit 4", "[2]fail 2: 4"),
        ("exit ; ok", "done"),
    ] {
        assert_eq!(run(body), expected, "{body:?}");
    }
}

#[test]
fn goes_to_labels() {
    for (body, expected) in [
        ("goto a\nfail\n:a\nok", "[5]ok done"),
        ("goto a\nfail\n  :a ok x\nok", "[4]ok|x [5]ok done"),
        (":a\nok", "[3]ok done"),
        (":a\n:a\nok", "[4]ok done"),
        ("goto a && fail\n:a ok", "[3]ok done"),
        ("fail || goto a ; fail\n:a ok", "[2]fail [3]ok done"),
        (
            "goto a\n:a ok1\ngoto b\n:a ok2\n:b ok3",
            "[3]ok1 [6]ok3 done",
        ),
        (
            ":top\ninc i\niseq ${i} 3 || goto top\nok ${i}",
            "[5]ok|3 done",
        ),
        ("goto a\n:${x}a fail\n:a ok", "[4]ok done"),
        ("set x a ; goto ${x}\nfail\n:a ok", "[4]ok done"),
        ("goto a\n# :a\n:a ok", "[4]ok done"),
        ("goto a\nfail \\\n:a\n:a ok", "[5]ok done"),
        (":loop goto loop", "stopped"),
        (":loop\ngoto loop", "stopped"),
    ] {
        assert_eq!(run(body), expected, "{body:?}");
    }
}

#[test]
fn names_a_missing_label_and_what_may_be_meant() {
    for (body, expected) in [
        (
            "goto fail",
            "2: no label `:fail` in script (goto at line 2)",
        ),
        ("goto nowhere || ok", "[2]ok done"),
        (
            "\ngoto \\\nfail",
            "3: no label `:fail` in script (goto at line 3)",
        ),
        (
            "goto fail\nfail",
            "2: no label `:fail` in script (goto at line 2); line 3 reads `fail`: is its colon \
             missing?",
        ),
        (
            "goto fali\n:fall",
            "2: no label `:fali` in script (goto at line 2), did you mean `:fall`?",
        ),
        ("goto ${x}", "2: no label `:` in script (goto at line 2)"),
        (
            "goto :a\n:a ok",
            "2: no label `::a` in script (goto at line 2), did you mean `:a`?",
        ),
    ] {
        assert_eq!(run(body), expected, "{body:?}");
    }
    let expected = "1: there are no labels at the prompt, only in scripts";
    assert_eq!(run_line("goto a"), expected);
}

/// The script of the project's own boot, which has to run unchanged.
const BOOT: &str = "#!ipxe
echo script started
set user-class:hex 04:69:a0:45:43
set username user
set password password
dhcp
sanhook --no-describe iscsi:192.168.1.1:::1:iqn.2000-01.com.example:disk1 || goto fail
sanboot --no-describe --filename \\EFI\\debian\\grubaa64.efi || goto fail
:fail
echo Opening shell
shell
";

/// Steps through `script`; commands of which `fails` is the first word fail.
fn boot(script: &str, fails: &str) -> (Vec<String>, Settings, String) {
    let mut settings = Settings::new();
    let script = Script::parse(script.as_bytes()).unwrap();
    let mut execution: Execution<Box<str>> = Execution::new(Rc::new(script));
    let mut commands = Vec::new();
    loop {
        let command = match execution.next(&settings) {
            Step::Command(command) => command,
            Step::Finished(end) => {
                let end = end.map_or_else(|failure| failure.error.into_string(), |()| "ok".into());
                return (commands, settings, end);
            }
        };
        let spec = table::find(command.name()).expect("a command of the table");
        let parsed = spec
            .parse(command.arguments())
            .expect("what the command takes");
        let crate::syntax::Parsed::Run(matches) = parsed else {
            panic!("no help asked for")
        };
        commands.push(spec.name.to_owned());
        let result = match spec.name {
            "set" => settings
                .set(matches.argument(0).unwrap(), &matches.joined(1))
                .map_err(boxed),
            "goto" => match execution.goto(matches.argument(0).unwrap()) {
                Ok(()) => continue,
                Err(error) => Err(boxed(error)),
            },
            name if name == fails => Err("refused".into()),
            _ => Ok(()),
        };
        execution.complete(result);
    }
}

#[test]
fn steps_through_the_boot_script() {
    let (commands, settings, end) = boot(BOOT, "");
    let expected = [
        "echo", "set", "set", "set", "ifconf", "sanhook", "sanboot", "echo", "shell",
    ];
    assert_eq!(commands, expected);
    assert_eq!(end, "ok");
    assert_eq!(
        settings.bytes("user-class").unwrap(),
        [4, 0x69, 0xa0, 0x45, 0x43]
    );
    assert_eq!(settings.text("username").unwrap(), "user");
    assert_eq!(settings.text("password").unwrap(), "password");

    let (commands, _, end) = boot(BOOT, "sanhook");
    assert_eq!(
        commands,
        [
            "echo", "set", "set", "set", "ifconf", "sanhook", "goto", "echo", "shell"
        ]
    );
    assert_eq!(end, "ok");

    let (commands, _, end) = boot(BOOT, "ifconf");
    assert_eq!(commands, ["echo", "set", "set", "set", "ifconf"]);
    assert_eq!(end, "refused");
}

#[test]
fn steps_through_the_boot_script_without_its_colon() {
    let script = BOOT.replace(":fail", "fail");
    let (commands, _, end) = boot(&script, "sanhook");
    assert_eq!(
        commands,
        ["echo", "set", "set", "set", "ifconf", "sanhook", "goto"]
    );
    assert_eq!(
        end,
        "no label `:fail` in script (goto at line 7); line 9 reads `fail`: is its colon missing?"
    );
}

#[test]
fn knows_the_magic() {
    for (bytes, expected) in [
        (&b"#!ipxe\n"[..], true),
        (b"#!gpxe\r\nok", true),
        (b"#!ipxe ok", true),
        (b"#!ipxe", true),
        (b"\xef\xbb\xbf#!ipxe\nok", true),
        (b"#!ipxes\n", false),
        (b" #!ipxe\n", false),
        (b"\n#!ipxe\n", false),
        (b"#!/bin/sh\n", false),
        (b"MZ\x90\x00", false),
        (b"", false),
    ] {
        assert_eq!(Script::is_script(bytes), expected, "{bytes:?}");
        assert_eq!(Script::parse(bytes).is_ok(), expected, "{bytes:?}");
    }
    let error = Script::parse(b"<html>").unwrap_err();
    assert_eq!(
        error.to_string(),
        "not a script: the first line is not `#!ipxe`"
    );
}

#[test]
fn holds_its_limits() {
    let parse = |body: &str| Script::parse(format!("#!ipxe\n\n{body}").as_bytes());
    let word = "x".repeat(limits::LINE_BYTES);
    assert!(parse(&word).is_ok());
    assert_eq!(
        parse(&format!("{word}x")),
        Err(ParseError::LineTooLong { line: 3 })
    );
    let split = format!("{}\\\n", "x".repeat(80)).repeat(limits::LINE_BYTES);
    assert_eq!(parse(&split), Err(ParseError::LineTooLong { line: 3 }));

    let words = "x ".repeat(limits::LINE_WORDS);
    assert!(parse(&words).is_ok());
    assert_eq!(
        parse(&format!("{words}x")),
        Err(ParseError::TooManyWords { line: 3 })
    );

    let script = "# comment\n".repeat(limits::SCRIPT_BYTES / 10 + 1);
    assert_eq!(parse(&script), Err(ParseError::TooLong));

    assert_eq!(
        Script::parse(b"#!ipxe\nok\necho gr\xfc\xdfe")
            .unwrap_err()
            .to_string(),
        "line 3 is not UTF-8 text"
    );

    // All words of a command share one allowance.
    let half = "x".repeat(limits::COMMAND_BYTES / 2 - 10);
    let mut settings = Settings::new();
    settings.set("half", &half).unwrap();
    for (line, fits) in [
        ("ok ${half} ${half}", true),
        ("ok ${half} ${half} ${half}", false),
    ] {
        let script = Script::command_line(line).unwrap();
        let mut execution: Execution<Box<str>> = Execution::new(Rc::new(script));
        let step = execution.next(&settings);
        assert_eq!(matches!(step, Step::Command(_)), fits, "{line}");
    }
}

#[test]
fn is_patient_with_its_caller() {
    // A result that was not told counts as success; after the end there is only the end.
    let script = Script::parse(b"#!ipxe\nfail1 && ok2").unwrap();
    let settings = Settings::new();
    let mut execution: Execution<Box<str>> = Execution::new(Rc::new(script));
    for expected in ["fail1", "ok2"] {
        let Step::Command(command) = execution.next(&settings) else {
            panic!("no command")
        };
        assert_eq!(command.name(), expected);
    }
    execution.complete(Err("late".into()));
    assert!(matches!(execution.next(&settings), Step::Finished(Err(_))));
    assert!(matches!(execution.next(&settings), Step::Finished(Ok(()))));
    assert!(matches!(execution.next(&settings), Step::Finished(Ok(()))));
}

#[test]
fn keeps_secrets_out_of_debug() {
    let script = Script::parse(b"#!ipxe\nset password hush").unwrap();
    let mut execution: Execution<Box<str>> = Execution::new(Rc::new(script.clone()));
    let settings = Settings::new();
    let step = execution.next(&settings);
    for text in [
        format!("{script:?}"),
        format!("{step:?}"),
        format!("{execution:?}"),
    ] {
        assert!(!text.contains("hush"), "{text}");
    }
}

/// A generator of numbers (xorshift64*), so that a failing seed can be run again.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

#[test]
fn random_scripts_end_without_panic() {
    const PARTS: &[&str] = &[
        "ok", "fail", "set", "inc", "goto", "exit", "iseq", " ", " ", " ", " ", "\n", "\n", "\\\n",
        "\r\n", ":", "a", "b", "i", "1", "${a}", "${b}", "${", "}", "$", "{", "/", ":hex", ":int8",
        "net0", "175.1", " && ", " || ", " ; ", "#", "é", "\t", "||", "0x", "-",
    ];
    for seed in 0..4000 {
        let mut random = Random::new(seed);
        let parts = 1 + random.below(120);
        let body: String = (0..parts).map(|_| random.pick(PARTS)).collect();
        let end = std::panic::catch_unwind(|| run(&body));
        assert!(end.is_ok(), "seed {seed}: {body:?}");
    }
}

#[test]
fn random_bytes_end_without_panic() {
    for seed in 0..2000 {
        let mut random = Random::new(seed);
        let length = random.below(200);
        let mut bytes = b"#!ipxe\n".to_vec();
        bytes.extend((0..length).map(|_| random.below(256) as u8));
        if let Ok(script) = Script::parse(&bytes) {
            run_script(script);
        }
    }
}
