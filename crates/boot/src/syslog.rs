//! What the console shows, also to a log server (RFC 3164): the setting `syslog`, or `syslog6`.
//!
//! Datagrams, as in iPXE: nobody says whether they arrive, and the console stays as it is.

use alloc::format;
use alloc::string::String;
use core::cell::RefCell;
use core::net::{IpAddr, SocketAddr};

use bowline_net::UdpSocket;

use crate::network::Network;

/// The way to a log server, where one is set.
#[derive(Default)]
pub(crate) struct Syslog(RefCell<Option<Way>>);

struct Way {
    socket: UdpSocket,
    server: SocketAddr,
    /// What stands before each line.
    head: String,
}

impl Syslog {
    /// Sends to `server` from now on, as the machine of this name.
    pub(crate) fn configure(&self, network: &Network, server: Option<IpAddr>, host: &str) {
        // Section 4.1.2: a host name has no spaces in it.
        let host = host.split_whitespace().next().unwrap_or_default();
        let space = if host.is_empty() { "" } else { " " };
        let head = format!("<{PRIORITY}>{host}{space}{TAG}: ");
        let server = server.map(|server| SocketAddr::new(server, PORT));
        let route = server.and_then(|server| Some((server, network.towards(server.ip()).ok()?)));
        let mut way = self.0.borrow_mut();
        *way = match (way.take(), route) {
            // What waits in the socket for the neighbour to answer is not to be lost.
            (Some(way), Some((server, stack)))
                if way.server == server && way.socket.stack().is(&stack) =>
            {
                Some(Way { head, ..way })
            }
            (_, Some((server, stack))) => {
                let socket = UdpSocket::bind(&stack, None, 1, 64).ok();
                socket.map(|socket| Way {
                    socket,
                    server,
                    head,
                })
            }
            (_, None) => None,
        };
    }

    /// Sends each line of a text.
    pub(crate) fn send(&self, text: &str) {
        let way = self.0.borrow();
        let Some(way) = &*way else { return };
        for line in text.lines().filter(|line| !line.is_empty()) {
            let message = format!("{}{line}", way.head);
            let whole = message.as_bytes();
            let message = whole.get(..MESSAGE_MAX).unwrap_or(whole);
            way.socket.send(way.server, message);
            // At once: the next line may be the last one before the firmware runs.
            way.socket.stack().poll();
        }
    }
}

/// RFC 3164 section 2.
const PORT: u16 = 514;

/// Facility "user-level messages", severity "informational" (section 4.1.1).
const PRIORITY: u8 = 8 + 6;

/// Who says it (section 4.1.3).
const TAG: &str = "bowline";

/// Section 4.1.
const MESSAGE_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::rc::Rc;
    use alloc::string::String;
    use alloc::vec::Vec;
    use core::cell::RefCell;

    use bowline_net::UdpSocket;

    use crate::testing::{TestPlatform, run_script, script};

    #[test]
    fn a_log_server_hears_what_the_console_shows() {
        let platform = TestPlatform::with_network(&[]);
        let server = platform.server.clone().unwrap();
        let heard: Rc<RefCell<Vec<String>>> = Rc::default();
        let listener = Rc::clone(&heard);
        let task = async move {
            let socket = UdpSocket::bind(&server, Some(514), 16, 1500).unwrap();
            loop {
                let (message, _) = socket.receive().await;
                let message = String::from_utf8(message).unwrap();
                listener.borrow_mut().push(message);
            }
        };
        platform.tasks.borrow_mut().push(Box::pin(task));
        let lines = [
            "dhcp",
            "route",
            "set syslog 192.168.1.1",
            "set hostname node 1",
            "route",
            "show absent || sleep 1",
            "imgfetch http://192.168.1.1/absent ||",
            "imgfetch --quiet http://192.168.1.1/absent || sleep 1",
            "clear syslog",
            "route",
            "set syslog 10.9.9.9",
            "route",
            "exit",
        ];
        let (output, _) = run_script(platform, &script(&lines));
        assert_eq!(output.matches("/24 direct").count(), 4, "{output}");
        let expected = [
            "<14>node bowline: net0: 192.168.1.0/24 direct",
            "<14>node bowline: net0: 0.0.0.0/0 gw 192.168.1.1",
            "<14>node bowline: show: absent has no value [setting-unset]",
            "<14>node bowline: http://192.168.1.1/absent... 192.168.1.1 answered 404 Not Found \
             [http-status]",
            "<14>node bowline: imgfetch: http://192.168.1.1/absent: 192.168.1.1 answered 404 Not \
             Found [http-status]",
        ];
        assert_eq!(*heard.borrow(), expected);
    }
}
