//! Device path nodes as bytes (UEFI 2.10 chapter 10): where an iSCSI disk is.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::ops::Range;

use bowline_boot::platform::{Authentication, DiskLocation, DiskUnit};

/// Device path types and subtypes that are looked at or written here.
pub mod node {
    /// Messaging devices (UEFI 2.10 section 10.3.4).
    pub const MESSAGING: u8 = 3;
    /// MAC address (section 10.3.4.11).
    pub const MAC: u8 = 11;
    /// IPv4 (section 10.3.4.12).
    pub const IPV4: u8 = 12;
    /// IPv6 (section 10.3.4.13).
    pub const IPV6: u8 = 13;
    /// iSCSI (section 10.3.4.21).
    pub const ISCSI: u8 = 19;
    /// URI (section 10.3.4.23).
    pub const URI: u8 = 24;
    /// Media devices (section 10.3.5).
    pub const MEDIA: u8 = 4;
    /// A partition (section 10.3.5.1).
    pub const HARD_DRIVE: u8 = 1;
    /// A file (section 10.3.5.4).
    pub const FILE: u8 = 4;
    /// Hardware (section 10.3.2).
    pub const HARDWARE: u8 = 1;
    /// A range of memory (section 10.3.2.3).
    pub const MEMORY: u8 = 3;
    /// End of the entire path (section 10.3.1).
    pub const END: [u8; 4] = [0x7f, 0xff, 4, 0];
}

/// Where Linux's EFI stub looks for its initial RAM disk (Documentation/admin-guide/efi-stub.rst): a
/// vendor's media node (UEFI 2.10 section 10.3.5.3) with the GUID
/// 5568e427-68fc-4f3d-ac74-ca555231cc68.
pub static INITRD: [u8; 24] = [
    node::MEDIA,
    3,
    20,
    0, //
    0x27,
    0xe4,
    0x68,
    0x55,
    0xfc,
    0x68,
    0x3d,
    0x4f, //
    0xac,
    0x74,
    0xca,
    0x55,
    0x52,
    0x31,
    0xcc,
    0x68, //
    0x7f,
    0xff,
    4,
    0,
];

/// IP protocol number of TCP, as the address nodes want it.
const TCP: u16 = 6;

/// `EfiLoaderData`, the memory type of what the loader holds (UEFI 2.10 section 7.2).
const LOADER_DATA: u32 = 2;

/// The signature of a partition's node is a GUID (UEFI 2.10 section 10.3.5.1).
const SIGNATURE_GUID: u8 = 2;

/// iSCSI login options: no authentication (bits 11:10 are 2), and one-way CHAP (bit 12). Mutual
/// CHAP is zero, and so are "no digests".
const OPTION_NO_AUTHENTICATION: u16 = 0x0800;
const OPTION_ONE_WAY_CHAP: u16 = 0x1000;

/// The path of the disk at `location`, behind the path `card` of the network card that leads to
/// it (without its end node).
///
/// `local_port` is the one of the address node, where zero means any. The path has to differ from
/// those of all other handles, and this is the field to tell two disks apart that differ in
/// nothing else.
#[must_use]
pub fn disk(card: &[u8], location: &DiskLocation, local_port: u16) -> Vec<u8> {
    let mut path = Vec::from(card);
    push(&mut path, &address(location, local_port));
    push(&mut path, &unit(&location.unit));
    path.extend_from_slice(&node::END);
    path
}

/// The path of `file` on the file system at `path`.
#[must_use]
pub fn file(path: &[u8], file: &str) -> Vec<u8> {
    let mut path = Vec::from(path.strip_suffix(&node::END).unwrap_or(path));
    let mut node = Node::new(node::MEDIA, node::FILE);
    for unit in file.encode_utf16() {
        node.u16(unit);
    }
    node.u16(0);
    push(&mut path, &node);
    path.extend_from_slice(&node::END);
    path
}

/// The folder of the file that `path` names within its volume, with a backslash at its end.
#[must_use]
pub fn folder(path: &[u8]) -> String {
    let mut file = String::new();
    for node in nodes(path).filter(|node| node.starts_with(&[node::MEDIA, node::FILE])) {
        let (units, _) = node.get(4..).unwrap_or_default().as_chunks::<2>();
        let units = units.iter().map(|unit| u16::from_le_bytes(*unit));
        let text = char::decode_utf16(units.take_while(|unit| *unit != 0));
        // UEFI 2.10 section 10.3.5.4: the nodes of one path are joined by a separator.
        file.push('\\');
        file.extend(text.map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)));
    }
    let names = file.split(['\\', '/']).filter(|name| !name.is_empty());
    let names: Vec<&str> = names.collect();
    let mut folder = String::from("\\");
    for name in names.split_last().map_or(&[][..], |(_, folders)| folders) {
        folder += name;
        folder.push('\\');
    }
    folder
}

/// The path of an image in memory.
#[must_use]
pub fn memory(image: Range<*const u8>) -> Vec<u8> {
    let mut path = Vec::new();
    let mut node = Node::new(node::HARDWARE, node::MEMORY);
    node.bytes(&LOADER_DATA.to_le_bytes());
    let address = |pointer: *const u8| u64::try_from(pointer.addr()).unwrap_or(u64::MAX);
    node.bytes(&address(image.start).to_le_bytes());
    // The node has the address of the last byte.
    node.bytes(&address(image.end).saturating_sub(1).to_le_bytes());
    push(&mut path, &node);
    path.extend_from_slice(&node::END);
    path
}

/// The path of a network card that has none of its own.
#[must_use]
pub fn mac(address: [u8; 6]) -> Vec<u8> {
    let mut path = Vec::new();
    let mut node = Node::new(node::MESSAGING, node::MAC);
    node.bytes(&address).bytes(&[0; 26]);
    // Interface type: Ethernet (RFC 3232).
    node.bytes(&[1]);
    push(&mut path, &node);
    path
}

/// The nodes of `path`, which may or may not have its end node.
pub fn nodes(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = path;
    core::iter::from_fn(move || {
        let length = usize::from(crate::bytes::u16_at(rest, 2)?);
        let (node, behind) = rest.split_at_checked(length)?;
        if length < 4 || node.first() == Some(&0x7f) {
            return None;
        }
        rest = behind;
        Some(node)
    })
}

/// The part of a network card's path up to its MAC node.
#[must_use]
pub fn up_to_mac(path: &[u8]) -> Option<&[u8]> {
    let mut length = 0;
    for node in nodes(path) {
        length += node.len();
        if node.starts_with(&[node::MESSAGING, node::MAC]) {
            return path.get(..length);
        }
    }
    None
}

/// Whether the path ends with a MAC node: then the handle is the card, not a service on it.
#[must_use]
pub fn ends_with_mac(path: &[u8]) -> bool {
    nodes(path)
        .last()
        .is_some_and(|node| node.starts_with(&[node::MESSAGING, node::MAC]))
}

/// The partition number that the path leads to.
#[must_use]
pub fn partition(path: &[u8]) -> Option<u32> {
    crate::bytes::u32_at(hard_drive(path)?, 4)
}

/// The identifier of the GPT partition that the path leads to.
#[must_use]
pub fn partition_identifier(path: &[u8]) -> Option<[u8; 16]> {
    let node = hard_drive(path)?;
    (node.get(41) == Some(&SIGNATURE_GUID)).then_some(())?;
    crate::bytes::array(node, 24)
}

fn hard_drive(path: &[u8]) -> Option<&[u8]> {
    nodes(path)
        .filter(|node| node.starts_with(&[node::MEDIA, node::HARD_DRIVE]))
        .last()
}

/// Whether `path` leads to `disk` or something on it; both may have end nodes.
#[must_use]
pub fn is_on(path: &[u8], disk: &[u8]) -> bool {
    path.starts_with(disk.strip_suffix(&node::END).unwrap_or(disk))
}

fn address(location: &DiskLocation, local_port: u16) -> Node {
    match (location.local, location.server) {
        (IpAddr::V4(local), IpAddr::V4(server)) => {
            let mut node = Node::new(node::MESSAGING, node::IPV4);
            node.bytes(&local.octets()).bytes(&server.octets());
            node.u16(local_port).u16(location.port).u16(TCP);
            // Not a static address; gateway and mask are not told.
            node.bytes(&[0]).bytes(&[0; 4]).bytes(&[0; 4]);
            node
        }
        (local, server) => {
            let octets = |address| match address {
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                IpAddr::V6(address) => address.octets(),
            };
            let mut node = Node::new(node::MESSAGING, node::IPV6);
            node.bytes(&octets(local)).bytes(&octets(server));
            node.u16(local_port).u16(location.port).u16(TCP);
            // The address was configured by other means than by hand; /64, no gateway told.
            node.bytes(&[1]).bytes(&[64]).bytes(&[0; 16]);
            node
        }
    }
}

fn unit(unit: &DiskUnit) -> Node {
    match unit {
        DiskUnit::Iscsi {
            target,
            lun,
            portal_group_tag,
            authentication,
        } => {
            let mut node = Node::new(node::MESSAGING, node::ISCSI);
            node.u16(0).u16(match authentication {
                Authentication::None => OPTION_NO_AUTHENTICATION,
                Authentication::OneWay => OPTION_ONE_WAY_CHAP,
                Authentication::Mutual => 0,
            });
            node.bytes(lun).u16(*portal_group_tag);
            // The name ends with a null, as in the specification's own example.
            node.bytes(target.as_bytes()).bytes(&[0]);
            node
        }
        DiskUnit::File { uri } => {
            let mut node = Node::new(node::MESSAGING, node::URI);
            node.bytes(uri.as_bytes());
            node
        }
    }
}

/// A node under construction.
struct Node(Vec<u8>);

impl Node {
    fn new(kind: u8, sub_kind: u8) -> Self {
        Self(Vec::from([kind, sub_kind, 0, 0]))
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }
}

/// Appends `node` with its length filled in.
fn push(path: &mut Vec<u8>, node: &Node) {
    // An iSCSI name has 223 bytes at most (RFC 7143 section 4.2.7.1).
    let length = u16::try_from(node.0.len()).unwrap_or(u16::MAX);
    let (kind, body) = node.0.split_at(node.0.len().min(2));
    path.extend_from_slice(kind);
    path.extend_from_slice(&length.to_le_bytes());
    path.extend_from_slice(body.get(2..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn location() -> DiskLocation {
        DiskLocation {
            mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56],
            local: "192.168.1.50".parse().unwrap(),
            server: "192.168.1.1".parse().unwrap(),
            port: 3260,
            unit: target("iqn.2000-01.com.example:disk1", Authentication::Mutual),
        }
    }

    fn target(name: &str, authentication: Authentication) -> DiskUnit {
        DiskUnit::Iscsi {
            target: name.into(),
            lun: [0, 1, 0, 0, 0, 0, 0, 0],
            portal_group_tag: 1,
            authentication,
        }
    }

    #[test]
    fn the_folder_of_a_file() {
        for (name, expected) in [
            ("\\EFI\\BOOT\\BOOTAA64.EFI", "\\EFI\\BOOT\\"),
            ("/EFI/bowline.efi", "\\EFI\\"),
            ("bowline.efi", "\\"),
            ("", "\\"),
        ] {
            assert_eq!(folder(&file(&node::END, name)), expected, "{name}");
        }
        let mut path = file(&node::END, "\\EFI");
        path = file(&path, "a.efi");
        assert_eq!(folder(&path), "\\EFI\\");
        assert_eq!(folder(&[4, 4, 3, 0]), "\\");
    }

    #[test]
    fn the_path_of_a_disk_byte_by_byte() {
        let path = disk(&mac(location().mac), &location(), 0);
        let mut expected = vec![3, 11, 37, 0, 0x52, 0x54, 0, 0x12, 0x34, 0x56];
        expected.extend([0; 26]);
        expected.push(1);
        expected.extend([3, 12, 27, 0, 192, 168, 1, 50, 192, 168, 1, 1]);
        expected.extend([0, 0, 0xbc, 0x0c, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([3, 19, 48, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0]);
        expected.extend(b"iqn.2000-01.com.example:disk1\0");
        expected.extend([0x7f, 0xff, 4, 0]);
        assert_eq!(path, expected);
    }

    #[test]
    fn the_login_options_tell_the_authentication() {
        let options = |authentication| {
            let path = disk(
                &[],
                &DiskLocation {
                    unit: target("iqn.2000-01.com.example:disk1", authentication),
                    ..location()
                },
                0,
            );
            let iscsi = nodes(&path).last().unwrap().to_vec();
            u16::from_le_bytes([iscsi[6], iscsi[7]])
        };
        assert_eq!(options(Authentication::None), 0x0800);
        assert_eq!(options(Authentication::OneWay), 0x1000);
        assert_eq!(options(Authentication::Mutual), 0);
    }

    #[test]
    fn an_ipv6_node_has_its_length() {
        let path = disk(
            &[],
            &DiskLocation {
                local: "fd00::2".parse().unwrap(),
                server: "fd00::1".parse().unwrap(),
                ..location()
            },
            0,
        );
        assert_eq!(nodes(&path).next().unwrap().len(), 60);
    }

    #[test]
    fn a_file_of_a_web_server_is_named_by_its_uri() {
        let uri = "http://192.168.1.1/x.iso";
        let path = disk(
            &[],
            &DiskLocation {
                unit: DiskUnit::File { uri: uri.into() },
                ..location()
            },
            0,
        );
        let node = [&[3, 24, 28, 0], uri.as_bytes()].concat();
        assert_eq!(nodes(&path).last(), Some(node.as_slice()));
    }

    #[test]
    fn a_card_is_told_from_the_services_on_it() {
        let card = mac([1; 6]);
        assert!(ends_with_mac(&card));
        let mut service = card.clone();
        push(&mut service, &address(&location(), 0));
        assert!(!ends_with_mac(&service));
        assert_eq!(up_to_mac(&service), Some(card.as_slice()));
        assert_eq!(up_to_mac(&node::END), None);
    }

    #[test]
    fn a_partition_is_on_its_disk() {
        let whole = disk(&mac([1; 6]), &location(), 0);
        let mut partition_path = whole[..whole.len() - 4].to_vec();
        let mut hard_drive = Node::new(node::MEDIA, node::HARD_DRIVE);
        hard_drive.bytes(&15_u32.to_le_bytes()).bytes(&[0; 16]);
        hard_drive.bytes(&[7; 16]).bytes(&[2, 2]);
        push(&mut partition_path, &hard_drive);
        partition_path.extend(node::END);
        assert!(is_on(&partition_path, &whole));
        assert_eq!(partition(&partition_path), Some(15));
        assert_eq!(partition_identifier(&partition_path), Some([7; 16]));
        assert_eq!(partition_identifier(&whole), None);
        assert_eq!(partition(&whole), None);

        assert!(!is_on(&partition_path, &disk(&mac([1; 6]), &location(), 1)));
        let other = DiskLocation {
            unit: target("iqn.2000-01.com.example:disk12", Authentication::Mutual),
            ..location()
        };
        assert!(!is_on(&partition_path, &disk(&mac([1; 6]), &other, 0)));
    }

    #[test]
    fn a_file_is_named_in_utf_16_with_a_null() {
        let path = file(&[4, 1, 5, 0, 9, 0x7f, 0xff, 4, 0], "\\a");
        let node = [4, 4, 10, 0, b'\\', 0, b'a', 0, 0, 0];
        assert_eq!(
            path,
            [&[4, 1, 5, 0, 9], node.as_slice(), &node::END].concat()
        );
    }

    #[test]
    fn an_image_in_memory_is_named_by_its_first_and_last_byte() {
        let path =
            memory(core::ptr::without_provenance(0x1000)..core::ptr::without_provenance(0x1800));
        let mut expected = vec![1, 3, 24, 0, 2, 0, 0, 0];
        expected.extend(0x1000_u64.to_le_bytes());
        expected.extend(0x17ff_u64.to_le_bytes());
        expected.extend(node::END);
        assert_eq!(path, expected);
    }

    #[test]
    fn the_initial_ram_disk_is_named_by_its_guid() {
        let mut walk = nodes(&INITRD);
        let node = walk.next().unwrap();
        let guid = uefi_raw::guid!("5568e427-68fc-4f3d-ac74-ca555231cc68");
        assert_eq!(node, [&[4, 3, 20, 0][..], &guid.to_bytes()].concat());
        assert_eq!(INITRD[20..], node::END);
    }

    #[test]
    fn a_broken_path_ends_the_walk() {
        assert_eq!(nodes(&[3, 11, 3, 0, 9]).count(), 0);
        assert_eq!(nodes(&[3, 11, 200, 0]).count(), 0);
        assert_eq!(nodes(&[3]).count(), 0);
    }
}
