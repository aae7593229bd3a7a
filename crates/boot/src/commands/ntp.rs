//! The command ntp.

use alloc::format;
use alloc::string::ToString;

use bowline_net::ntp::{self, NtpError};
use bowline_script::syntax::Matches;
use bowline_tls::time::Timestamp;

use super::{Action, action};
use crate::failure::{Code, Failure};
use crate::machine::Machine;

pub(super) const ACTIONS: &[Action] = &[action!("ntp", ask)];

/// Every address of the server, in turn: a refusal ends the questions to that address (RFC 5905
/// section 7.4).
async fn ask(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let host = arguments.argument(0).unwrap_or_default();
    let mut failure = Failure::new(Code::DnsFailed, format!("{host} has no address"));
    let mut ends = machine.network.ends(host, ntp::PORT).await?;
    while let Some((stack, server)) = ends.next().await {
        match ntp::ask(&stack, server).await {
            Ok(time) => {
                let seconds = time.unix.as_secs();
                let (now, stratum) = (Timestamp(seconds), time.stratum);
                let delay = time.delay.as_millis();
                machine.say(format!(
                    "{now}, says {} (stratum {stratum}, on its way for {delay} ms)",
                    server.ip()
                ));
                let platform = &*machine.platform;
                machine.security.note_network_time(platform, seconds);
                return Ok(());
            }
            Err(error) => {
                let code = match error {
                    NtpError::NoAnswer { .. } => Code::ConnectTimeout,
                    _ => Code::NtpError,
                };
                failure = Failure::new(code, error.to_string());
            }
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::string::String;

    use crate::testing::servers::ntp_server;
    use crate::testing::{TestPlatform, run_script, script};

    fn console(stratum: u8, lines: &[&str]) -> String {
        let platform = TestPlatform::with_network(&[]);
        let server = platform.server.clone().unwrap();
        let task = Box::pin(ntp_server(server, 1_793_491_200, stratum));
        platform.tasks.borrow_mut().push(task);
        run_script(platform, &script(lines)).0
    }

    #[test]
    fn a_server_tells_the_time() {
        let lines = [
            "dhcp",
            "echo ${unixtime:int32}",
            "ntp 192.168.1.1",
            "echo ${unixtime:int32}",
            "sleep 100",
            "echo ${unixtime:int32}",
            "exit",
        ];
        let output = console(3, &lines);
        let said = "1800000000\n2026-11-01 00:00:00 UTC, says 192.168.1.1 (stratum 3, on its way for 0 ms)\n\
                    1793491200\n1793491300\n";
        assert!(output.contains(said), "{output}");
    }

    #[test]
    fn who_does_not_know_is_not_believed() {
        let lines = [
            "dhcp",
            "ntp 192.168.1.1 || echo ${errno} ${unixtime:int32}",
            "exit",
        ];
        let output = console(16, &lines);
        let said = "ntp: NTP server 192.168.1.1 does not know the time itself [ntp-error]\n\
                    ntp-error 1800000000\n";
        assert!(output.contains(said), "{output}");
    }
}
