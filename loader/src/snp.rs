//! Network cards over `EFI_SIMPLE_NETWORK_PROTOCOL` (UEFI 2.10 section 24.1).
//!
//! A card is opened exclusively, so that the firmware's own network stack lets go of it. It is given
//! back at the end, and while an image runs that does not need the loader's network but may have one
//! of its own. Frames are polled: interrupt status and events are of no use (U-Boot
//! loses them, EDK2 delays them by 10 ms).

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use bowline_boot::platform::FirmwareError;
use bowline_loader::check_sequence::CheckSequence;
use bowline_loader::device_path;
use bowline_loader::firmware::Firmware;
use bowline_net::{Link, Nic, NicError, ReceiveRing};
use uefi::boot::{self, OpenProtocolAttributes, OpenProtocolParams, ScopedProtocol, SearchType};
use uefi::proto::device_path::DevicePath;
use uefi::proto::network::snp::{NetworkState, ReceiveFlags, SimpleNetwork};
use uefi::{Handle, Status};

use crate::error::{self, firmware_error};
use crate::handles;
use crate::hooks;

/// The smallest and the largest frame without its check sequence (IEEE 802.3); the largest with
/// an 802.1Q tag is refused by firmware that does not know tags.
const FRAME_MIN: usize = 60;
const FRAME_TAGGED_MAX: usize = 1518;

/// Transmit buffers: more than the 64 frames that EDK2 keeps in flight.
const TRANSMIT_BUFFERS: usize = 80;

/// In flight at most before the firmware is asked what it has sent.
const TRANSMIT_UNCHECKED: usize = 32;

/// Room for a frame that does not fit the caller's buffer, to get it out of the way.
const OVERSIZE_BUFFER: usize = 16 << 10;

/// The interface type of Ethernet (RFC 3232) and the length of its addresses.
const ETHERNET: u8 = 1;
const ETHERNET_ADDRESS: u32 = 6;

/// The cards that were opened: shared between the boot logic, which uses them, and the end of
/// the program, which gives them back.
#[derive(Debug, Default)]
pub(crate) struct Cards {
    open: RefCell<Vec<Rc<Card>>>,
}

impl Cards {
    /// Opens every Ethernet card of the machine, in the firmware's order.
    ///
    /// # Errors
    /// The firmware's, when there are cards but none could be opened.
    pub(crate) fn open(&self, firmware: &Firmware) -> Result<Vec<Box<dyn Nic>>, FirmwareError> {
        let mut nics: Vec<Box<dyn Nic>> = Vec::new();
        let mut refused = None;
        for found in find() {
            match Card::open(found) {
                Ok(card) => {
                    let card = Rc::new(card);
                    self.open.borrow_mut().push(card.clone());
                    let firmware = firmware.clone();
                    nics.push(Box::new(SnpNic { card, firmware }));
                }
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) if nics.is_empty() => Err(error),
            _ => Ok(nics),
        }
    }

    /// The device path of the card with this address, up to its MAC node.
    pub(crate) fn path(&self, mac: [u8; 6]) -> Vec<u8> {
        self.open
            .borrow()
            .iter()
            .find(|card| card.mac == mac)
            .and_then(|card| card.path.clone())
            .unwrap_or_else(|| device_path::mac(mac))
    }

    /// Stops the cards and gives them back to the firmware's own drivers.
    pub(crate) fn release(&self) {
        for card in self.open.borrow_mut().drain(..) {
            card.give_back();
        }
    }

    /// Runs `image` with the cards in the firmware's hands.
    ///
    /// # Errors
    /// The firmware's, where a card could not be had back.
    pub(crate) fn lend<R>(&self, image: impl FnOnce() -> R) -> (R, Result<(), FirmwareError>) {
        let cards = self.open.borrow().clone();
        cards.iter().for_each(|card| card.give_back());
        let result = image();
        let back = cards.iter().map(|card| card.take_back());
        // All of them, also behind one that fails.
        let back: Vec<Result<(), FirmwareError>> = back.collect();
        (result, back.into_iter().collect())
    }
}

/// A handle that is worth opening.
struct Found {
    handle: Handle,
    mac: [u8; 6],
    path: Option<Vec<u8>>,
    is_card: bool,
}

/// The handles with a network card, one for each station address.
///
/// EDK2 connects only what it boots from, so everything is connected where no card is seen. With
/// its network stack loaded it has further handles for one card, of which the card's own is taken:
/// the others vanish when that is opened exclusively.
fn find() -> Vec<Found> {
    let mut handles = boot::find_handles::<SimpleNetwork>().unwrap_or_default();
    if handles.is_empty() {
        if let Ok(all) = boot::locate_handle_buffer(SearchType::AllHandles) {
            for &handle in all.iter() {
                // Most handles are not controllers, and say so.
                let _ = boot::connect_controller(handle, &[], None, true);
            }
        }
        handles = boot::find_handles::<SimpleNetwork>().unwrap_or_default();
    }
    let mut found: Vec<Found> = Vec::new();
    for candidate in handles.into_iter().filter_map(look_at) {
        match found.iter_mut().find(|known| known.mac == candidate.mac) {
            Some(known) if candidate.is_card && !known.is_card => *known = candidate,
            Some(_) => {}
            None => found.push(candidate),
        }
    }
    found
}

fn look_at(handle: Handle) -> Option<Found> {
    let path = handles::peek::<DevicePath>(handle).map(|path| path.as_bytes().to_vec());
    let snp = handles::peek::<SimpleNetwork>(handle)?;
    let mode = snp.mode();
    if mode.if_type != ETHERNET || mode.hw_address_size != ETHERNET_ADDRESS {
        return None;
    }
    Some(Found {
        handle,
        mac: *mode.current_address.0.first_chunk()?,
        is_card: path.as_deref().is_some_and(device_path::ends_with_mac),
        path: path
            .as_deref()
            .and_then(device_path::up_to_mac)
            .map(<[u8]>::to_vec),
    })
}

/// An open card.
#[derive(Debug)]
struct Card {
    handle: Cell<Handle>,
    mac: [u8; 6],
    path: Option<Vec<u8>>,
    /// `None` where the card was given back.
    snp: RefCell<Option<ScopedProtocol<SimpleNetwork>>>,
    stopped: Cell<bool>,
    transmit: RefCell<TransmitRing>,
    oversize: RefCell<Box<[u8]>>,
    check_sequence: Cell<CheckSequence>,
}

impl Card {
    fn open(found: Found) -> Result<Self, FirmwareError> {
        Ok(Self {
            handle: Cell::new(found.handle),
            mac: found.mac,
            path: found.path,
            snp: RefCell::new(Some(open(found.handle)?)),
            stopped: Cell::new(false),
            transmit: RefCell::new(TransmitRing::new()),
            oversize: RefCell::new(vec![0; OVERSIZE_BUFFER].into_boxed_slice()),
            check_sequence: Cell::default(),
        })
    }

    /// Stops the card and lets the firmware's own drivers have it.
    fn give_back(&self) {
        self.stop();
        drop(self.snp.borrow_mut().take());
        // EDK2's network drivers take the card again; elsewhere nothing wants it.
        let _ = boot::connect_controller(self.handle.get(), &[], None, true);
    }

    /// Opens the card again, on whatever handle it is by now.
    fn take_back(&self) -> Result<(), FirmwareError> {
        let found = find().into_iter().find(|found| found.mac == self.mac);
        let missing = firmware_error(
            "OpenProtocol(EFI_SIMPLE_NETWORK_PROTOCOL)",
            Status::NOT_FOUND,
        );
        let found = found.ok_or(missing)?;
        self.snp.replace(Some(open(found.handle)?));
        self.handle.set(found.handle);
        self.transmit.replace(TransmitRing::new());
        self.stopped.set(false);
        Ok(())
    }

    /// Runs `f` on the interface, unless the card is stopped.
    fn with<R>(
        &self,
        f: impl FnOnce(&mut SimpleNetwork) -> Result<R, Status>,
    ) -> Result<R, NicError> {
        let refuse = |status: Status| NicError { status: status.0 };
        if self.stopped.get() {
            return Err(refuse(Status::NOT_STARTED));
        }
        let mut snp = self
            .snp
            .try_borrow_mut()
            .map_err(|_| refuse(Status::NOT_READY))?;
        let snp = snp.as_deref_mut().ok_or(refuse(Status::NOT_STARTED))?;
        f(snp).map_err(refuse)
    }

    /// Stops the card. Nothing is sent or received any more.
    ///
    /// Once ExitBootServices has taken the memory map the firmware's driver must not be called:
    /// it would free memory. It stops the card by itself then.
    fn stop(&self) {
        if self.stopped.get() {
            return;
        }
        if hooks::may_call_drivers() {
            let _ = self.with(|snp| {
                let _ = snp.shutdown();
                let _ = snp.stop();
                Ok(())
            });
        }
        self.stopped.set(true);
    }

    fn receive(&self, frame: &mut [u8]) -> Result<Option<usize>, NicError> {
        self.with(|snp| match snp.receive(frame, None, None, None, None) {
            Ok(length) => {
                let length = length.min(frame.len());
                let seen = self.check_sequence.get();
                self.check_sequence
                    .set(seen.seen_in(frame.get(..length).unwrap_or_default()));
                Ok(Some(length))
            }
            Err(error) => match error.status() {
                Status::NOT_READY => Ok(None),
                Status::BUFFER_TOO_SMALL => {
                    // It stays in front of the queue until somebody takes it.
                    let mut oversize = self.oversize.borrow_mut();
                    let _ = snp.receive(&mut oversize, None, None, None, None);
                    Ok(None)
                }
                status => Err(status),
            },
        })
    }

    fn transmit(&self, frame: &[u8]) -> Result<(), NicError> {
        self.with(|snp| {
            let mut ring = self
                .transmit
                .try_borrow_mut()
                .map_err(|_| Status::NOT_READY)?;
            if ring.in_flight >= TRANSMIT_UNCHECKED {
                ring.reclaim(snp);
            }
            match ring.send(snp, frame) {
                Err(Status::NOT_READY) => {
                    ring.reclaim(snp);
                    ring.send(snp, frame)
                }
                result => result,
            }
        })
    }

    fn link(&self) -> Link {
        let link = self.with(|snp| {
            // `GetStatus` brings `MediaPresent` up to date (UEFI 2.10 section 24.1, GetStatus).
            let _ = snp.get_interrupt_status();
            let mode = snp.mode();
            Ok(match (mode.media_present_supported, mode.media_present) {
                (supported, present) if supported.is_true() && present.is_true() => Link::Up,
                (supported, _) if supported.is_true() => Link::Down,
                _ => Link::Unknown,
            })
        });
        link.unwrap_or(Link::Unknown)
    }
}

/// Opens the interface on `handle` for us alone, ready to move frames.
fn open(handle: Handle) -> Result<ScopedProtocol<SimpleNetwork>, FirmwareError> {
    let parameters = OpenProtocolParams {
        handle,
        agent: boot::image_handle(),
        // Without it the firmware answers EFI_INVALID_PARAMETER; the network has no handle of
        // its own, so the card's stands for it.
        controller: Some(handle),
    };
    // SAFETY: opened exclusively, the interface stays until it is closed: the firmware
    // refuses to uninstall it, and to open it for anyone else.
    let snp = unsafe { boot::open_protocol(parameters, OpenProtocolAttributes::ByDriverExclusive) };
    let mut snp = snp.map_err(error::of("OpenProtocol(EFI_SIMPLE_NETWORK_PROTOCOL)"))?;
    start(&mut snp)?;
    Ok(snp)
}

/// Brings the interface from whatever state it is in to where it moves frames.
fn start(snp: &mut SimpleNetwork) -> Result<(), FirmwareError> {
    if snp.mode().state == NetworkState::STOPPED {
        snp.start()
            .map_err(error::of("EFI_SIMPLE_NETWORK_PROTOCOL.Start"))?;
    }
    if snp.mode().state == NetworkState::STARTED {
        snp.initialize(0, 0)
            .map_err(error::of("EFI_SIMPLE_NETWORK_PROTOCOL.Initialize"))?;
    }
    // Only what the card says it knows: EDK2 refuses the whole call for any other bit, and U-Boot
    // knows none and receives all the same.
    let known = ReceiveFlags::from_bits_truncate(snp.mode().receive_filter_mask);
    // IPv6 finds its neighbours by multicast.
    let wanted =
        ReceiveFlags::UNICAST | ReceiveFlags::BROADCAST | ReceiveFlags::PROMISCUOUS_MULTICAST;
    let wanted = wanted & known;
    if !wanted.is_empty() {
        let _ = snp.receive_filters(wanted, ReceiveFlags::empty(), false, None);
    }
    Ok(())
}

/// The buffers of frames on their way out. EDK2 sends from them after `Transmit` has returned.
#[derive(Debug)]
struct TransmitRing {
    buffers: Box<[[u8; FRAME_TAGGED_MAX]]>,
    /// The buffer that is used next; those in flight are before it.
    next: usize,
    in_flight: usize,
}

impl TransmitRing {
    fn new() -> Self {
        Self {
            buffers: vec![[0; FRAME_TAGGED_MAX]; TRANSMIT_BUFFERS].into_boxed_slice(),
            next: 0,
            in_flight: 0,
        }
    }

    /// Sends a copy of `frame`, padded to the smallest frame.
    fn send(&mut self, snp: &SimpleNetwork, frame: &[u8]) -> Result<(), Status> {
        if self.in_flight >= TRANSMIT_BUFFERS {
            return Err(Status::NOT_READY);
        }
        let buffer = self.buffers.get_mut(self.next).ok_or(Status::NOT_READY)?;
        let length = frame.len().max(FRAME_MIN);
        let room = buffer.get_mut(..length).ok_or(Status::INVALID_PARAMETER)?;
        let (body, padding) = room.split_at_mut(frame.len());
        body.copy_from_slice(frame);
        padding.fill(0);
        snp.transmit(0, room, None, None, None)
            .map_err(|error| error.status())?;
        self.next = (self.next + 1) % TRANSMIT_BUFFERS;
        self.in_flight += 1;
        Ok(())
    }

    /// Asks which buffers are free again.
    ///
    /// A card sends in order, so a buffer that is handed back frees all that were sent before it.
    /// That suits EDK2, which hands back each, and U-Boot, which hands back the last one only.
    fn reclaim(&mut self, snp: &mut SimpleNetwork) {
        for _ in 0..=TRANSMIT_BUFFERS {
            let Ok(Some(done)) = snp.get_recycled_transmit_buffer_status() else {
                return;
            };
            let done = done.as_ptr().cast_const();
            let Some(index) = self.buffers.iter().position(|b| b.as_ptr() == done) else {
                continue;
            };
            // How many were sent after it.
            let behind = (self.next + TRANSMIT_BUFFERS - index - 1) % TRANSMIT_BUFFERS;
            self.in_flight = self.in_flight.min(behind);
        }
    }
}

/// A card as the network sees it.
#[derive(Debug)]
struct SnpNic {
    card: Rc<Card>,
    firmware: Firmware,
}

impl Nic for SnpNic {
    fn mac(&self) -> [u8; 6] {
        self.card.mac
    }

    fn receive(&mut self, frame: &mut [u8]) -> Result<Option<usize>, NicError> {
        self.card.receive(frame)
    }

    fn transmit(&mut self, frame: &[u8]) -> Result<(), NicError> {
        self.card.transmit(frame)
    }

    fn link(&self) -> Link {
        self.card.link()
    }

    fn receive_ring(&self) -> ReceiveRing {
        self.firmware.receive_ring(self.card.check_sequence.get())
    }

    fn shutdown(&mut self) {
        self.card.stop();
    }
}
