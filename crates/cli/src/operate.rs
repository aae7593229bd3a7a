//! `bowline iscsi` and `bowline reload`: what an administrator asks of a server that runs.

use std::path::Path;

use anyhow::bail;
use bowline_server::Config;
use bowline_server::control::{Reply, Request, ask, socket};
use bowline_server::iscsi::TargetReport;
use clap::Subcommand;

use crate::Configuration;

/// Commands of `bowline iscsi`.
#[derive(Debug, Subcommand)]
pub(crate) enum Iscsi {
    /// List the targets, their sessions and what those have done
    Sessions {
        /// For programs: JSON, with exact numbers
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        configuration: Configuration,
    },
    /// Ask the initiator of a session to log out, and end the session
    ///
    /// An initiator that may log in can come back; a target with other credentials or another
    /// access list, and `bowline reload`, keep it out.
    Kick {
        /// The session's number, from `bowline iscsi sessions`
        session: u16,
        #[command(flatten)]
        configuration: Configuration,
    },
}

impl Iscsi {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Sessions {
                json,
                configuration,
            } => match request(&configuration.config, Request::Sessions)? {
                Reply::Sessions { targets } if *json => {
                    println!("{}", serde_json::to_string_pretty(&targets)?);
                    Ok(())
                }
                Reply::Sessions { targets } => {
                    print!("{}", table(&targets));
                    Ok(())
                }
                other => unexpected(&other),
            },
            Self::Kick {
                session,
                configuration,
            } => match request(&configuration.config, Request::Kick { session: *session })? {
                Reply::Kicked(session) => {
                    println!("{} at {}: ended", session.initiator, session.address);
                    Ok(())
                }
                other => unexpected(&other),
            },
        }
    }
}

/// Has the server read the configuration at `path` again.
pub(crate) fn reload(path: &Path) -> anyhow::Result<()> {
    let reloaded = match request(path, Request::Reload)? {
        Reply::Reloaded(reloaded) => reloaded,
        other => return unexpected(&other),
    };
    for (names, what) in [
        (&reloaded.added, "new"),
        (
            &reloaded.changed,
            "changed; its initiators were asked to log in anew",
        ),
        (&reloaded.removed, "gone"),
    ] {
        for name in names {
            println!("{name}: {what}");
        }
    }
    println!("{} targets unchanged", reloaded.unchanged.len());
    Ok(())
}

fn request(configuration: &Path, request: Request) -> anyhow::Result<Reply> {
    let state = Config::load_state(configuration)?;
    match ask(&socket(&state), request)? {
        Reply::Failed { reason } => bail!("{reason}"),
        reply => Ok(reply),
    }
}

fn unexpected(reply: &Reply) -> anyhow::Result<()> {
    bail!("the server, of another version perhaps, answers something else: {reply:?}")
}

fn table(targets: &[TargetReport]) -> String {
    let mut text = String::new();
    for target in targets {
        text += &format!(
            "{}: {} sessions, {} since the start; {}\n",
            target.name,
            target.sessions.len(),
            target.sessions_total,
            target.counts
        );
        for session in &target.sessions {
            text += &format!(
                "  {:5}  {} at {}, {}; {}\n",
                session.session,
                // A name from the network on one line, without control characters.
                session.initiator.escape_debug(),
                session.address,
                duration(session.seconds),
                session.counts
            );
        }
    }
    text
}

/// The two largest units: `3 d 4 h`.
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use bowline_server::iscsi::{Counts, SessionReport};

    use super::*;

    #[test]
    fn sessions_stand_below_their_target() {
        let counts = Counts {
            commands: 7,
            sent: 3 << 20,
            received: 0,
        };
        let session = SessionReport {
            session: 12,
            initiator: "iqn.2026-01.com.example:host\n".into(),
            address: "192.168.1.9:40000".parse().unwrap(),
            seconds: 3 * 86400 + 3600,
            counts,
        };
        let target = TargetReport {
            name: "iqn.2026-01.com.example:disk1".into(),
            sessions_total: 4,
            counts,
            sessions: vec![session],
        };
        assert_eq!(
            table(&[target]),
            "iqn.2026-01.com.example:disk1: 1 sessions, 4 since the start; \
             7 commands, 3 MiB sent, 0 MiB received\n     \
             12  iqn.2026-01.com.example:host\\n at 192.168.1.9:40000, 3 d 1 h; \
             7 commands, 3 MiB sent, 0 MiB received\n"
        );
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(61), "1 min 1 s");
        assert_eq!(duration(7260), "2 h 1 min");
    }
}
