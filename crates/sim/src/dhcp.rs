//! The DHCP server machine as a service of the simulated host.

use std::net::Ipv4Addr;
use std::time::Duration;

use bowline_dhcp::server::{Config, Destination, Output, Server};
use smoltcp::wire::{IpAddress, IpEndpoint};

use crate::host::Datagrams;

/// Serves `config`.
///
/// # Errors
/// A configuration that the machine refuses.
pub fn serve(config: Config) -> Result<Box<dyn Datagrams>, bowline_dhcp::server::ConfigError> {
    Ok(Box::new(Service(Server::new(config, Vec::new())?)))
}

struct Service(Server);

impl Datagrams for Service {
    fn datagram(
        &mut self,
        now: Duration,
        _from: IpEndpoint,
        payload: &[u8],
    ) -> Vec<(IpEndpoint, Vec<u8>)> {
        self.0.handle_input(now, payload);
        let mut answers = Vec::new();
        while let Some(output) = self.0.poll_output() {
            // Leases live as long as the simulation: nothing to store.
            if let Output::Send(transmit) = output {
                answers.push((endpoint(&transmit.to), transmit.payload));
            }
        }
        answers
    }
}

/// Where an answer goes. A client without an address is answered by broadcast, as the host has
/// no way to write its hardware address into a frame.
fn endpoint(to: &Destination) -> IpEndpoint {
    let (address, port) = match *to {
        Destination::Relay(relay) => (relay, 67),
        Destination::Client(client) => (client, 68),
        Destination::Hardware { .. } | Destination::Broadcast => (Ipv4Addr::BROADCAST, 68),
    };
    IpEndpoint::new(IpAddress::Ipv4(address), port)
}
