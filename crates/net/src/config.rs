//! The addresses of a stack and the way out.

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv4Config {
    /// Our address.
    pub address: Ipv4Addr,
    /// Length of the network prefix.
    pub prefix_len: u8,
    /// The default router.
    pub router: Option<Ipv4Addr>,
    /// Name servers, the first is asked first.
    pub dns: Vec<Ipv4Addr>,
    /// The IP MTU, where it is not Ethernet's 1500 (DHCP option 26).
    pub mtu: Option<u16>,
}

/// An IPv6 configuration. The link-local address is always there beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ipv6Config {
    /// Our address beyond the link, where there is one.
    pub address: Option<Ipv6Addr>,
    /// Length of its network prefix; 128 where the network's extent is not known.
    pub prefix_len: u8,
    /// The default router.
    pub router: Option<Ipv6Addr>,
    /// Name servers, the first is asked first.
    pub dns: Vec<Ipv6Addr>,
}

impl Ipv4Config {
    pub(crate) fn check(&self) -> Result<(), NotUnicast> {
        let mut addresses = [Some(self.address), self.router].into_iter().flatten();
        let wrong = addresses
            .find(|it| it.is_unspecified() || it.is_multicast() || it.is_broadcast())
            .map(|address| NotUnicast {
                address: address.into(),
            });
        wrong.map_or(Ok(()), Err)
    }
}

impl Ipv6Config {
    pub(crate) fn check(&self) -> Result<(), NotUnicast> {
        let mut addresses = [self.address, self.router].into_iter().flatten();
        let wrong = addresses
            .find(|it| it.is_unspecified() || it.is_multicast() || it.is_loopback())
            .map(|address| NotUnicast {
                address: address.into(),
            });
        wrong.map_or(Ok(()), Err)
    }
}

/// The interface identifier of a station address (RFC 4291 appendix A).
#[must_use]
fn interface_identifier(mac: [u8; 6]) -> [u8; 8] {
    let [a, b, c, d, e, f] = mac;
    [a ^ 2, b, c, 0xff, 0xfe, d, e, f]
}

/// The address that an interface identifier makes of a prefix of 64 bits (RFC 4862 section
/// 5.5.3).
#[must_use]
pub fn address_in(prefix: Ipv6Addr, mac: [u8; 6]) -> Ipv6Addr {
    let network = prefix.to_bits() >> 64 << 64;
    let host = u64::from_be_bytes(interface_identifier(mac));
    Ipv6Addr::from_bits(network | u128::from(host))
}

/// The link-local address of a station (RFC 4862 section 5.3).
pub(crate) fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    address_in(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), mac)
}

/// An address that no host can have: multicast, broadcast or unspecified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotUnicast {
    /// The address.
    pub address: IpAddr,
}

impl fmt::Display for NotUnicast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not an address that a host can have", self.address)
    }
}

impl core::error::Error for NotUnicast {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_4291_appendix_a() {
        let mac = [0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde];
        assert_eq!(link_local(mac).to_string(), "fe80::3656:78ff:fe9a:bcde");
        let prefix = "2001:db8:1:2:9::".parse().unwrap();
        assert_eq!(
            address_in(prefix, mac).to_string(),
            "2001:db8:1:2:3656:78ff:fe9a:bcde"
        );
    }
}
