//! The command ping.

use alloc::format;
use alloc::string::ToString;
use core::time::Duration;

use bowline_net::{PingError, Pinger};
use bowline_script::syntax::Matches;

use super::{Action, action};
use crate::failure::{Code, Failure};
use crate::machine::Machine;

pub(super) const ACTIONS: &[Action] = &[action!("ping", ping)];

async fn ping(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let host = arguments.argument(0).unwrap_or_default();
    let number = |option: &str| {
        let number = arguments.number(option).map(usize::try_from).transpose();
        number.map_err(|_| Failure::new(Code::CommandUsage, format!("--{option} is too large")))
    };
    let size = number("size")?.unwrap_or(SIZE);
    let count = number("count")?;
    let timeout = arguments.duration("timeout");
    let timeout = timeout.filter(|it| !it.is_zero()).unwrap_or(TIMEOUT);
    let is_quiet = arguments.flag("quiet");

    let addresses = machine.network.resolve(host).await?;
    let address = addresses.first().copied();
    let none = || Failure::new(Code::DnsFailed, format!("{host} has no address"));
    let address = address.ok_or_else(none)?;
    let stack = machine.network.towards(address)?;
    let pinger = Pinger::open(&stack, address);
    let (mut asked, mut answered) = (0_usize, 0);
    while count.is_none_or(|count| asked < count) {
        asked += 1;
        let began = machine.now();
        let took = pinger.ask(asked as u16, size, timeout).await;
        let refused = |error: PingError| Failure::new(Code::CommandUsage, error.to_string());
        let line = match took.map_err(refused)? {
            Some(took) => {
                answered += 1;
                let (ms, us) = (took.as_millis(), took.subsec_micros() % 1000);
                format!("{size} bytes from {address}: seq={asked}, {ms}.{us:03} ms")
            }
            None => format!("{address} does not answer: seq={asked}"),
        };
        if !is_quiet {
            machine.say(line);
        }
        if count != Some(asked) {
            let next = began.saturating_add(timeout);
            machine.executor.sleep_until(next).await;
        }
    }
    if answered == 0 {
        let message = format!("{address} has answered none of {asked} questions");
        return Err(Failure::new(Code::ConnectTimeout, message));
    }
    Ok(())
}

/// Bytes in a question, as in iPXE.
const SIZE: usize = 64;

/// How long an answer is waited for, as in iPXE.
const TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use core::time::Duration;

    use crate::console::keyboard::CTRL_C;
    use crate::testing::{TestPlatform, run_on, script};

    fn console(ctrl_c: Option<u64>, lines: &[&str]) -> String {
        let platform = TestPlatform::with_network(&[]);
        if let Some(second) = ctrl_c {
            platform.press_at(Duration::from_secs(second), CTRL_C);
        }
        let (platform, _) = run_on(platform, &script(lines));
        platform.output.borrow().clone()
    }

    #[test]
    fn a_host_is_asked_every_second() {
        let lines = ["dhcp", "ping -c 3 -s 8 192.168.1.1", "nstat", "exit"];
        let output = console(None, &lines);
        for number in 1..=3 {
            let line = alloc::format!("8 bytes from 192.168.1.1: seq={number}, 0.");
            assert!(output.contains(&line), "{output}");
        }
        assert!(!output.contains("seq=4"), "{output}");
        let line = "net0: 192.168.1.1 is 02:00:00:00:00:01, heard of 2 s ago\n";
        assert!(output.contains(line), "{output}");
    }

    #[test]
    fn nobody_does_not_answer() {
        let lines = [
            "dhcp",
            "ping -c 2 -t 100 192.168.1.77 || echo ${errno}",
            "ping -qc1 192.168.1.77 ||",
            "ping -c 1 -s 9000 192.168.1.1 ||",
            "ping -c 1 10.0.0.1 || echo ${errno}",
            "exit",
        ];
        let output = console(None, &lines);
        for line in [
            "192.168.1.77 does not answer: seq=1\n192.168.1.77 does not answer: seq=2\n\
             ping: 192.168.1.77 has answered none of 2 questions [connect-timeout]\n\
             connect-timeout\n\
             ping: 192.168.1.77 has answered none of 1 questions [connect-timeout]\n",
            "ping: a packet has room for 1472 bytes, and is never split [command-usage]\n",
        ] {
            assert!(output.contains(line), "{output}");
        }
    }

    #[test]
    fn ctrl_c_ends_it() {
        let output = console(Some(9), &["dhcp", "ping 192.168.1.1 || echo ended", "exit"]);
        assert!(output.contains("seq=5"), "{output}");
        assert!(
            output.ends_with("ping: cancelled by Ctrl-C [cancelled]\nended\n"),
            "{output}"
        );
    }
}
