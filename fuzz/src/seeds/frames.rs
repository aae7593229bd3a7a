//! What comes over a wire: segments in order, doubled, late and out of their place, and neighbours.

use super::Seed;
use crate::records::append;
use crate::targets::frames::{CHECK_SEQUENCE, FRAME, QUEUED, SEGMENT, TIME};

const PSH: u8 = 8;

pub(super) fn all() -> Vec<Seed> {
    vec![
        Seed::new("frames", "in-order", in_order()),
        Seed::new("frames", "out-of-order", out_of_order()),
        Seed::new("frames", "neighbours", neighbours()),
    ]
}

fn segment(offset: i16, flags: u8, length: u16) -> Vec<u8> {
    let mut record = offset.to_be_bytes().to_vec();
    record.push(flags);
    record.extend(length.to_be_bytes());
    record
}

/// Batches that are looked at together, with and without check sequences.
fn in_order() -> Vec<u8> {
    let mut data = Vec::new();
    for how in [0, CHECK_SEQUENCE] {
        for index in 0..6 {
            append(
                &mut data,
                SEGMENT | QUEUED | how,
                &segment(index * 1460, 0, 1460),
            );
        }
        append(&mut data, SEGMENT | how, &segment(6 * 1460, PSH, 700));
        append(&mut data, TIME, &[0, 50]);
    }
    data
}

fn out_of_order() -> Vec<u8> {
    let mut data = Vec::new();
    for (offset, length) in [
        (0, 1000),
        (1000, 1000),
        (500, 1000),
        (3000, 1000),
        (2000, 1000),
        (-300, 600),
        (4000, 0),
        (4000, 1),
    ] {
        append(&mut data, SEGMENT | QUEUED, &segment(offset, 0, length));
    }
    append(&mut data, TIME, &[1, 0]);
    append(&mut data, SEGMENT, &segment(0, 0, 1460));
    append(&mut data, SEGMENT, &segment(20_000, 0, 1460));
    data
}

/// An ARP request, an echo request, and a router's multicast, between segments.
fn neighbours() -> Vec<u8> {
    let to_us = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 3];
    let arp = b"\x08\x06\0\x01\x08\0\x06\x04\0\x01\x02\0\0\0\0\x03\xc0\xa8\x01\x03\0\0\0\0\0\0\xc0\xa8\x01\x01";
    let echo = b"\x08\0\x45\0\0\x1c\0\0\0\0\x40\x01\xf7\x8a\xc0\xa8\x01\x03\xc0\xa8\x01\x01\x08\0\xf7\xfd\0\x01\0\x01";
    let ipv6 = [
        &b"\x86\xdd\x60\0\0\0\0\x08\x3a\xff\xfe\x80"[..],
        &[0; 29],
        &[1],
    ]
    .concat();
    let mut data = Vec::new();
    for frame in [&arp[..], echo, &ipv6] {
        append(&mut data, SEGMENT | QUEUED, &segment(0, 0, 800));
        append(&mut data, FRAME | QUEUED, &[&to_us[..], frame].concat());
        append(&mut data, SEGMENT, &segment(800, 0, 800));
    }
    data
}
