//! Temporary bring-up program.
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use bowline_boot::platform::*;
use bowline_net::{Clock, Nic};
use core::cell::RefCell;
use core::fmt::Write;
use core::time::Duration;

#[derive(Clone, Debug)]
pub(crate) struct Handle(Rc<RefCell<u32>>);
impl Handle {
    pub(crate) fn new() -> Self {
        Self(Rc::default())
    }
    pub(crate) fn quiesce(&self) {}
    pub(crate) fn tick(&self) {
        *self.0.borrow_mut() += 1;
    }
}
pub(crate) enum Outcome {
    Exit { code: i32 },
}

struct Out<'a>(&'a dyn Console);
impl Write for Out<'_> {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        self.0.write(s);
        Ok(())
    }
}

struct RamDisk {
    data: RefCell<Vec<u8>>,
    reads: RefCell<(usize, usize)>,
}
impl BlockDevice for RamDisk {
    fn geometry(&self) -> Geometry {
        Geometry {
            block_size: 512,
            blocks: (self.data.borrow().len() / 512) as u64,
            read_only: false,
        }
    }
    fn read(&self, lba: u64, b: &mut [u8]) -> Result<(), BlockError> {
        let mut r = self.reads.borrow_mut();
        r.0 += 1;
        r.1 += b.len();
        let o = lba as usize * 512;
        b.copy_from_slice(&self.data.borrow()[o..o + b.len()]);
        Ok(())
    }
    fn write(&self, lba: u64, b: &[u8]) -> Result<(), BlockError> {
        let o = lba as usize * 512;
        self.data.borrow_mut()[o..o + b.len()].copy_from_slice(b);
        Ok(())
    }
    fn flush(&self) -> Result<(), BlockError> {
        Ok(())
    }
}

fn csum(b: &[u8]) -> u16 {
    let mut s = 0u32;
    for c in b.chunks(2) {
        s += (u32::from(c[0]) << 8) | u32::from(*c.get(1).unwrap_or(&0));
    }
    while s >> 16 != 0 {
        s = (s & 0xffff) + (s >> 16);
    }
    !(s as u16)
}
fn udp(mac: [u8; 6], payload: &[u8]) -> Vec<u8> {
    let mut f = Vec::new();
    f.extend([0xff; 6]);
    f.extend(mac);
    f.extend([8, 0]);
    let mut ip = vec![
        0x45, 0, 0, 0, 0, 1, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255,
    ];
    let l = 28 + payload.len();
    ip[2..4].copy_from_slice(&(l as u16).to_be_bytes());
    let c = csum(&ip);
    ip[10..12].copy_from_slice(&c.to_be_bytes());
    f.extend(&ip);
    f.extend([0, 68, 0, 67]);
    f.extend(((8 + payload.len()) as u16).to_be_bytes());
    f.extend([0, 0]);
    f.extend(payload);
    f
}
fn dhcp(mac: [u8; 6]) -> Vec<u8> {
    let mut p = vec![0u8; 240];
    p[0] = 1;
    p[1] = 1;
    p[2] = 6;
    p[4..8].copy_from_slice(&[1, 2, 3, 4]);
    p[10] = 0x80;
    p[28..34].copy_from_slice(&mac);
    p[236..240].copy_from_slice(&[99, 130, 83, 99]);
    p.extend([53, 1, 1, 55, 2, 1, 3, 255]);
    p
}
fn arp(mac: [u8; 6], me: [u8; 4], you: [u8; 4]) -> Vec<u8> {
    let mut f = Vec::new();
    f.extend([0xff; 6]);
    f.extend(mac);
    f.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    f.extend(mac);
    f.extend(me);
    f.extend([0; 6]);
    f.extend(you);
    f
}
fn ping(mac: [u8; 6], to: [u8; 6], me: [u8; 4], you: [u8; 4], seq: u16, size: usize) -> Vec<u8> {
    let mut f = Vec::new();
    f.extend(to);
    f.extend(mac);
    f.extend([8, 0]);
    let mut ip = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, 1, 0, 0];
    ip.extend(me);
    ip.extend(you);
    let l = 28 + size;
    ip[2..4].copy_from_slice(&(l as u16).to_be_bytes());
    let c = csum(&ip);
    ip[10..12].copy_from_slice(&c.to_be_bytes());
    f.extend(&ip);
    let mut i = vec![8, 0, 0, 0, 0x12, 0x34];
    i.extend(seq.to_be_bytes());
    i.resize(8 + size, 0x55);
    let c = csum(&i);
    i[2..4].copy_from_slice(&c.to_be_bytes());
    f.extend(i);
    f
}
fn wait(
    nic: &mut dyn Nic,
    clock: &dyn Clock,
    limit: Duration,
    mut f: impl FnMut(&[u8]) -> bool,
) -> bool {
    let end = clock.now() + limit;
    let mut b = [0u8; 1522];
    while clock.now() < end {
        match nic.receive(&mut b) {
            Ok(Some(n)) => {
                if f(&b[..n]) {
                    return true;
                }
            }
            Ok(None) => {}
            Err(_) => return false,
        }
    }
    false
}

pub(crate) fn run(platform: Rc<dyn Platform>, packed: &[u8], handle: &Handle) -> Outcome {
    let mut o = Out(platform.console());
    let id = platform.identity();
    let _ = writeln!(o, "Bowline 0.0 ({}) on {}", id.architecture, id.firmware);
    if packed.is_empty() {
        let _ = writeln!(o, "CHILD: nothing packed, returning 7");
        return Outcome::Exit { code: 7 };
    }
    let _ = writeln!(o, "identity {id:?}");
    let _ = writeln!(o, "packed {} bytes, {:02x?}", packed.len(), &packed[..8]);
    let mut r = [0u8; 20];
    let e = platform.entropy(&mut r);
    let _ = writeln!(o, "entropy {e:?} {r:02x?}");
    let clock = platform.clock();
    let a = clock.now();
    uefi::boot::stall(Duration::from_millis(200));
    let b = clock.now();
    let _ = writeln!(o, "stall 200 ms took {:?}", b - a);
    let a = clock.now();
    for _ in 0..1000 {
        clock.now();
    }
    let b = clock.now();
    let _ = writeln!(o, "now() {:?}/1000", b - a);
    let a = clock.now();
    let mut v: Vec<Box<[u8; 100]>> = Vec::new();
    for _ in 0..10000 {
        v.push(Box::new([1; 100]));
    }
    drop(v);
    let b = clock.now();
    let _ = writeln!(o, "10000 allocs+frees {:?}", b - a);
    let a = clock.now();
    let mut v: Vec<u8> = Vec::new();
    while v.len() < 64 << 20 {
        v.extend_from_slice(&[7; 65536]);
    }
    let b = clock.now();
    let s = v.len();
    drop(v);
    let c = clock.now();
    let _ = writeln!(o, "grow to {s} {:?} free {:?}", b - a, c - b);
    let a = clock.now();
    let mut nics = match platform.open_nics() {
        Ok(n) => n,
        Err(e) => {
            let _ = writeln!(o, "open_nics: {e}");
            vec![]
        }
    };
    let _ = writeln!(o, "open_nics {} in {:?}", nics.len(), clock.now() - a);
    for nic in &mut nics {
        let mac = nic.mac();
        let _ = writeln!(
            o,
            "nic {mac:02x?} link {:?} ring {:?}",
            nic.link(),
            nic.receive_ring()
        );
        let a = clock.now();
        let mut me = [0u8; 4];
        for t in 0..6 {
            let r = nic.transmit(&udp(mac, &dhcp(mac)));
            if r.is_err() {
                let _ = writeln!(o, "tx {r:?}");
            }
            if wait(&mut **nic, &*clock, Duration::from_millis(700), |f| {
                if f.len() > 62 && f[23] == 17 && f[36..38] == [0, 68] {
                    me.copy_from_slice(&f[58..62]);
                    true
                } else {
                    false
                }
            }) {
                let _ = writeln!(o, "offer {me:?} after {:?} try {t}", clock.now() - a);
                break;
            }
        }
        let mut gw = [0u8; 6];
        let _ = nic.transmit(&arp(mac, me, [10, 0, 2, 2]));
        let ok = wait(&mut **nic, &*clock, Duration::from_secs(2), |f| {
            if f[12..14] == [8, 6] && f[28..32] == [10, 0, 2, 2] {
                gw.copy_from_slice(&f[22..28]);
                true
            } else {
                false
            }
        });
        let _ = writeln!(o, "arp {ok} {gw:02x?}");
        for round in 0..40u16 {
            let a = clock.now();
            let mut n = 0;
            let mut txe = 0;
            for s in 0..24 {
                if nic
                    .transmit(&ping(mac, gw, me, [10, 0, 2, 2], s, 1400))
                    .is_err()
                {
                    txe += 1;
                }
            }
            wait(&mut **nic, &*clock, Duration::from_secs(2), |f| {
                if f.len() > 40 && f[23] == 1 && f[34] == 0 {
                    n += 1;
                }
                n == 24
            });
            if round % 10 == 0 || n != 24 || txe != 0 {
                let _ = writeln!(
                    o,
                    "burst {round}: {n}/24 replies, {txe} tx errors, {:?}",
                    clock.now() - a
                );
            }
        }
    }
    let disk = Rc::new(RamDisk {
        data: RefCell::new(packed.to_vec()),
        reads: RefCell::default(),
    });
    let loc = DiskLocation {
        mac: nics.first().map_or([2; 6], |n| n.mac()),
        local: "10.0.2.15".parse().unwrap(),
        server: "10.0.2.2".parse().unwrap(),
        port: 3260,
        target: "iqn.2000-01.com.example:disk1".into(),
        lun: [0, 1, 0, 0, 0, 0, 0, 0],
        portal_group_tag: 1,
        authentication: Authentication::Mutual,
    };
    for round in 0..3 {
        let a = clock.now();
        match platform.publish_disk(disk.clone(), &loc) {
            Err(e) => {
                let _ = writeln!(o, "publish: {e}");
            }
            Ok(p) => {
                let _ = writeln!(
                    o,
                    "published in {:?}, file systems {:?}",
                    clock.now() - a,
                    p.file_systems()
                );
                let _ = writeln!(
                    o,
                    "missing: {:?}",
                    p.start(Some("/EFI/none.efi"))
                        .map_err(|e| alloc::format!("{e}"))
                );
                let _ = writeln!(
                    o,
                    "start: {:?}",
                    p.start(None).map_err(|e| alloc::format!("{e}"))
                );
                let _ = writeln!(
                    o,
                    "start named: {:?}",
                    p.start(Some("/EFI/test/child.efi"))
                        .map_err(|e| alloc::format!("{e}"))
                );
                let _ = writeln!(
                    o,
                    "reads {:?} ticks {}",
                    disk.reads.borrow(),
                    handle.0.borrow()
                );
                let _ = round;
            }
        }
    }
    let _ = writeln!(
        o,
        "start_image garbage: {:?}",
        platform
            .start_image(&[0x4d; 4096], "x")
            .map_err(|e| alloc::format!("{e}"))
    );
    let _ = writeln!(o, "DONE; press a key or wait 3 s");
    let end = clock.now() + Duration::from_secs(3);
    while clock.now() < end {
        if let Some(k) = platform.console().read_key() {
            let _ = writeln!(o, "key {k:?}");
        }
    }
    Outcome::Exit { code: 0 }
}
