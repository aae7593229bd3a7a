//! A diskless machine, a wire and a boot server: everything a boot needs, from one seed.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use bowline_boot::packed::{Packed, PackedScript};
use bowline_boot::platform::{BlockDevice, Platform, StartError};
use bowline_boot::{Handle, run};
use bowline_dhcp::server::{AddressRange, Config, Profile, Subnet};
use bowline_dhcp::wire::code;
use bowline_iscsi::Credentials;

use crate::faults::{Fault, Faults};
use crate::firmware::{BootImage, FakeFirmware};
use crate::host::Host;
use crate::iscsi::{self, BLOCK_SIZE, Target};
use crate::rng::Rng;
use crate::wire::{Card, CardModel, Conditions, Wire};
use crate::{dhcp, http};

/// The boot server's address.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
/// Another address of the same target, on a card of its own.
pub const SECOND_SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 2);
/// The target's address where storage has a VLAN of its own ([`Plan::storage_vlan`]).
pub const STORAGE: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 1);
/// The target's iSCSI name.
pub const TARGET: &str = "iqn.2000-01.com.example:disk1";
/// The file that the simulated firmware finds on the disk.
pub const GRUB: &str = r"\EFI\debian\grubaa64.efi";

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everything that is left to chance follows from it.
    pub seed: u64,
    /// The weather.
    pub conditions: Conditions,
    /// The machine's card.
    pub card: CardModel,
    /// Bytes of the disk.
    pub disk_size: usize,
    /// There is a DHCP server.
    pub with_dhcp: bool,
    /// The target is at [`STORAGE`] in this VLAN, and nowhere else.
    pub storage_vlan: Option<u16>,
    /// Files of the HTTP server.
    pub files: HashMap<String, Vec<u8>>,
    /// Bytes after which the iSCSI target drops each connection.
    pub drop_every: Option<usize>,
    /// What goes wrong besides.
    pub faults: Vec<Fault>,
}

impl Plan {
    /// A quiet wire, a good card, a disk of 2 MiB.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            conditions: Conditions::GOOD,
            card: CardModel::EDK2_VIRTIO,
            disk_size: 2 << 20,
            with_dhcp: true,
            storage_vlan: None,
            files: HashMap::new(),
            drop_every: None,
            faults: Vec::new(),
        }
    }
}

/// A world, and what became of it.
#[derive(Debug)]
pub struct World {
    /// The wire and the clock.
    pub wire: Wire,
    /// The machine.
    pub firmware: Rc<FakeFirmware>,
    /// The machine's card.
    pub card: Card,
    /// The target and its disk.
    pub target: Rc<Target>,
    /// The boot image ran to its end.
    pub booted: Rc<Cell<bool>>,
}

impl World {
    /// Builds the world of `plan`.
    ///
    /// # Panics
    /// Where the plan contradicts itself.
    pub fn new(plan: &Plan) -> Self {
        let wire = Wire::new(plan.seed, plan.conditions);
        let card = wire.plug(plan.card);
        let mut contents = vec![0; plan.disk_size];
        Rng::new(plan.seed ^ 0xd15c).fill(&mut contents);
        let target = Rc::new(Target {
            name: TARGET.into(),
            credentials: Some(Credentials::new("user", "password")),
            reverse: Some(Credentials::new("target", "secret")),
            disk: RefCell::new(contents.clone()),
            ailment: Cell::new(None),
            drop_every: Cell::new(plan.drop_every),
            sent: Cell::new(0),
            logins: Cell::new(0),
        });
        let booted = Rc::new(Cell::new(false));
        let image = boot_image(plan.seed, contents, Rc::clone(&target), Rc::clone(&booted));
        let firmware = FakeFirmware::new(&wire, card.clone(), plan.seed, &[GRUB], image);
        let cards = [1, 2].map(|last| {
            wire.plug(CardModel {
                mac: [0x52, 0x54, 0, 0, 0, last],
                receive_cost: Duration::ZERO,
                transmit_cost: Duration::ZERO,
                ..CardModel::EDK2_VIRTIO
            })
        });
        for server in servers(plan, &wire, &cards, &target) {
            firmware.add_peer(Box::new(server));
        }
        firmware.add_peer(Box::new(Faults::new(&plan.faults, &target, cards.to_vec())));
        Self {
            wire,
            firmware: Rc::new(firmware),
            card,
            target,
            booted,
        }
    }

    /// Runs the loader with `script` packed in, until it returns; gives what the console says.
    pub fn boot(&self, script: &str) -> String {
        let packed = Packed {
            script: Some(PackedScript {
                name: "embedded".into(),
                text: script.into(),
            }),
            ..Packed::default()
        };
        let platform: Rc<dyn Platform> = Rc::clone(&self.firmware) as Rc<dyn Platform>;
        let _ = run(
            platform,
            &packed.to_bytes().expect("a short script packs"),
            &Handle::new(),
        );
        self.firmware.console_text()
    }
}

/// The boot server, and a second one: another way to the same disk, or the only one where storage
/// has a VLAN of its own.
fn servers(plan: &Plan, wire: &Wire, cards: &[Card; 2], target: &Rc<Target>) -> [Host; 2] {
    let [first, second] = cards;
    let disk = |seed| iscsi::serve(Rc::clone(target), seed);
    let mut host = Host::new(wire, first.clone(), SERVER, 24, plan.seed);
    if plan.with_dhcp {
        host.serve_udp(
            67,
            dhcp::serve(dhcp_config()).expect("a valid configuration"),
        );
    }
    host.serve_tcp(80, http::serve(Rc::new(plan.files.clone())));
    let seed = plan.seed ^ 2;
    let mut other = match plan.storage_vlan {
        Some(id) => Host::new(wire, second.clone(), STORAGE, 24, seed).in_vlan(id),
        None => {
            host.serve_tcp(bowline_iscsi::PORT, disk(plan.seed));
            Host::new(wire, second.clone(), SECOND_SERVER, 24, seed)
        }
    };
    other.serve_tcp(bowline_iscsi::PORT, disk(seed));
    [host, other]
}

fn dhcp_config() -> Config {
    let mut config = Config::new(SERVER);
    config.subnets = vec![Subnet {
        network: Ipv4Addr::new(192, 168, 1, 0),
        prefix_len: 24,
        pools: vec![AddressRange {
            first: Ipv4Addr::new(192, 168, 1, 100),
            last: Ipv4Addr::new(192, 168, 1, 199),
        }],
        profile: Profile::default(),
    }];
    config
        .profile
        .options
        .set_ipv4_list(code::ROUTER, &[SERVER]);
    config
}

/// The simulated GRUB: reads the disk in pieces of every size, near and far, then writes some of
/// it, flushes, and reads it back. What it reads must be what the disk holds. It gives up at the
/// first error.
fn boot_image(
    seed: u64,
    mut expected: Vec<u8>,
    target: Rc<Target>,
    booted: Rc<Cell<bool>>,
) -> BootImage {
    let rng = RefCell::new(Rng::new(seed ^ 0x6275_6220));
    let expected = RefCell::new(std::mem::take(&mut expected));
    Box::new(move |disk: &dyn BlockDevice| {
        let mut rng = rng.borrow_mut();
        let mut expected = expected.borrow_mut();
        let block = BLOCK_SIZE as usize;
        let blocks = expected.len() / block;
        let mut lba = 0;
        for step in 0..200 {
            let most = 1 << rng.below(8);
            let count = (1 + rng.below(most) as usize).min(blocks);
            // Mostly onward, as files are read; sometimes elsewhere.
            if rng.chance(150) || lba + count > blocks {
                lba = rng.below((blocks - count + 1) as u64) as usize;
            }
            let range = lba * block..(lba + count) * block;
            if step % 16 == 15 {
                let mut data = vec![0; count * block];
                rng.fill(&mut data);
                if disk.write(lba as u64, &data).is_err() {
                    return Err(StartError::NoFileSystem);
                }
                expected[range].copy_from_slice(&data);
            } else {
                let mut data = vec![0; count * block];
                if disk.read(lba as u64, &mut data).is_err() {
                    return Err(StartError::NoFileSystem);
                }
                assert!(data == expected[range], "wrong data at block {lba}");
            }
            lba += count;
        }
        if disk.flush().is_err() {
            return Err(StartError::NoFileSystem);
        }
        assert!(
            *target.disk.borrow() == *expected,
            "the writes are on the disk"
        );
        booted.set(true);
        Err(StartError::NoFileSystem)
    })
}
