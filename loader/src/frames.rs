//! Part of reader.efi: takes raw frames from a network card as fast as the firmware hands them out,
//! which is the limit of everything that receives through it.
//!
//! Whoever answers (xtask/src/bench/frames.rs) sends as many full frames as a request asks for. As
//! many requests are open as fill the card's ring, each for a quarter of it.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use bowline_loader::check_sequence::CheckSequence;
use bowline_loader::firmware::Firmware;
use uefi::boot::{self, OpenProtocolAttributes, OpenProtocolParams, ScopedProtocol, SearchType};
use uefi::prelude::*;
use uefi::println;
use uefi::proto::network::snp::{NetworkState, ReceiveFlags, SimpleNetwork};
use uefi::system;

/// The payload of a full TCP segment.
const SEGMENT: usize = 1460;

/// At least as many frames as carry 64 MiB in such segments: what the last requests bring more is a
/// hundredth at most.
const FRAMES: usize = (64 << 20) / SEGMENT;

/// A full frame (IEEE 802.3, without check sequence).
const FRAME: usize = 1514;

/// The UDP port of both ends.
const PORT: u16 = 9;

/// Requests that are open at a time.
const REQUESTS: usize = 4;

/// Rounds of each kind.
const ROUNDS: usize = 5;

/// What is copied goes round in a buffer of this size, as in that of a connection.
const BUFFER: usize = 64 << 10;

/// Receives the frames again and again, in turns without looking at them and with what the simplest
/// TCP has to do: copy the data once, and add it up for the checksum. Says on the console when each
/// round begins and ends.
pub(crate) fn receive() -> uefi::Result<()> {
    let mut card = open()?;
    let firmware = Firmware {
        vendor: system::firmware_vendor().to_string(),
        revision: system::firmware_revision(),
    };
    let headers = headers(&card.mode().current_address.0);
    let seen = wait_for_link(&mut card, &headers)?;
    let burst = firmware.receive_ring(seen).limit / REQUESTS;
    let mut buffer = vec![0; BUFFER];
    let (mut at, mut sum) = (0, 0_u64);
    for round in 1..=ROUNDS {
        println!("reader: plain {round} begins");
        count(&mut card, &headers, burst, |_| {})?;
        println!("reader: plain {round} ends");
        println!("reader: copied {round} begins");
        count(&mut card, &headers, burst, |payload| {
            if at + payload.len() > buffer.len() {
                at = 0;
            }
            if let Some(room) = buffer.get_mut(at..at + payload.len()) {
                room.copy_from_slice(payload);
                sum += u64::from(bowline_net::checksum::sum(room));
            }
            at += payload.len();
        })?;
        println!("reader: copied {round} ends");
    }
    println!("reader: sum {sum:016x}");
    Ok(())
}

/// Receives the frames and shows `visit` the payload of each.
fn count(
    card: &mut SimpleNetwork,
    headers: &[u8],
    burst: usize,
    mut visit: impl FnMut(&[u8]),
) -> uefi::Result<()> {
    let mut frame = [0; 2048];
    for _ in 0..REQUESTS {
        ask(card, headers, burst)?;
    }
    let (mut received, mut asked) = (0, REQUESTS * burst);
    while received < asked {
        match card.receive(&mut frame, None, None, None, None) {
            // Some cards leave the check sequence on.
            Ok(length) if length >= FRAME => {
                visit(frame.get(FRAME - SEGMENT..FRAME).unwrap_or_default());
                received += 1;
                if received % burst == 0 && asked < FRAMES {
                    ask(card, headers, burst)?;
                    asked += burst;
                }
            }
            Ok(_) => {}
            Err(error) if error.status() == Status::NOT_READY => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Asks for nothing until somebody has answered several times: a card may lose what comes while its
/// link comes up, and the answers show what it makes of a frame's length.
fn wait_for_link(card: &mut SimpleNetwork, headers: &[u8]) -> uefi::Result<CheckSequence> {
    let mut frame = [0; 2048];
    let mut seen = CheckSequence::default();
    let mut answers = 0;
    while answers < 3 {
        ask(card, headers, 0)?;
        for _ in 0..200 {
            if let Ok(length) = card.receive(&mut frame, None, None, None, None) {
                seen = seen.seen_in(frame.get(..length).unwrap_or_default());
                answers += 1;
                break;
            }
            boot::stall(Duration::from_millis(1));
        }
    }
    Ok(seen)
}

/// Opens the first card, as the loader does (loader/src/snp.rs).
fn open() -> uefi::Result<ScopedProtocol<SimpleNetwork>> {
    // EDK2 connects only what it boots from.
    for &handle in boot::locate_handle_buffer(SearchType::AllHandles)?.iter() {
        let _ = boot::connect_controller(handle, &[], None, true);
    }
    let handle = boot::get_handle_for_protocol::<SimpleNetwork>()?;
    let parameters = OpenProtocolParams {
        handle,
        agent: boot::image_handle(),
        controller: Some(handle),
    };
    // SAFETY: opened exclusively, the interface stays until it is closed.
    let card =
        unsafe { boot::open_protocol(parameters, OpenProtocolAttributes::ByDriverExclusive) };
    let mut card: ScopedProtocol<SimpleNetwork> = card?;
    if card.mode().state == NetworkState::STOPPED {
        card.start()?;
    }
    if card.mode().state == NetworkState::STARTED {
        card.initialize(0, 0)?;
    }
    let known = ReceiveFlags::from_bits_truncate(card.mode().receive_filter_mask);
    let wanted = (ReceiveFlags::UNICAST | ReceiveFlags::BROADCAST) & known;
    if !wanted.is_empty() {
        card.receive_filters(wanted, ReceiveFlags::empty(), false, None)?;
    }
    Ok(card)
}

/// The headers of a request from `mac`: IPv4 (RFC 791) from 0.0.0.0 to 255.255.255.255, UDP
/// (RFC 768) with two bytes and without a checksum.
fn headers(mac: &[u8]) -> Vec<u8> {
    const UDP: u8 = 17;
    let mut ip = [0; 20];
    [ip[0], ip[3], ip[8], ip[9]] = [0x45, 20 + 8 + 2, 64, UDP];
    ip[16..].fill(255);
    let words = ip.as_chunks().0.iter();
    let sum: u32 = words.map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let [high, low] = PORT.to_be_bytes();
    let mut headers = [255; 6].to_vec();
    headers.extend(mac.iter().take(6));
    headers.extend([8, 0]);
    headers.extend(ip);
    headers.extend([high, low, high, low, 0, 8 + 2, 0, 0]);
    headers
}

/// Asks for `count` full frames; for none, one of another length comes.
fn ask(card: &mut SimpleNetwork, headers: &[u8], count: usize) -> uefi::Result<()> {
    // Where the firmware keeps a buffer until it is taken back, it takes no more at some time.
    while let Ok(Some(_)) = card.get_recycled_transmit_buffer_status() {}
    let mut request = [headers, &(count as u16).to_be_bytes()].concat();
    request.resize(60, 0);
    // The firmware may send from it after `Transmit` has returned: it stays.
    card.transmit(0, request.leak(), None, None, None)
}
