//! Reads along at the first card what its peers are allowed to send, as they see it.

use super::wire::untagged;
use crate::frame::{ACK, FIN, Ip, RST, SYN, Segment, Seq};

/// One connection, by its two ports.
#[derive(Debug)]
struct Promise {
    ports: (u16, u16),
    /// Of the SYN, until the peer's first sequence number is known.
    syn_window: usize,
    shift: u8,
    /// The end of what came, and the right edge of the window.
    taken: Option<(Seq, Seq)>,
}

/// The promises of one card.
#[derive(Debug, Default)]
pub(crate) struct Spy {
    promises: Vec<Promise>,
    /// The most that peers were allowed to have in flight at one time, in bytes.
    pub(crate) promised_max: usize,
}

impl Spy {
    /// A frame that the card sends.
    pub(super) fn sent(&mut self, frame: &[u8]) {
        let frame = &untagged(frame);
        let Some(segment) = parse(frame) else { return };
        let ports = (segment.from_port, segment.to_port);
        if segment.is(SYN) {
            assert!(!segment.is(ACK), "the first card only connects");
            self.promises.retain(|promise| promise.ports != ports);
            self.promises.push(Promise {
                ports,
                syn_window: usize::from(segment.window),
                shift: segment.window_scale(frame).unwrap(),
                taken: None,
            });
        } else if segment.is(RST) {
            self.promises.retain(|promise| promise.ports != ports);
        } else if let Some(promise) = self.promises.iter_mut().find(|p| p.ports == ports)
            && let Some((taken, edge)) = &mut promise.taken
        {
            let window = usize::from(segment.window) << promise.shift;
            let told = segment.acknowledgement.plus(window);
            assert!(
                told.after(*edge) >= 0,
                "a right edge went back: {promise:?}"
            );
            *edge = told;
            *taken = taken.later(segment.acknowledgement);
        }
        self.add_up();
    }

    /// A frame that is taken from the card.
    pub(super) fn taken(&mut self, frame: &[u8]) {
        let frame = &untagged(frame);
        let Some(segment) = parse(frame) else { return };
        let ports = (segment.to_port, segment.from_port);
        let Some(promise) = self.promises.iter_mut().find(|p| p.ports == ports) else {
            return;
        };
        match &mut promise.taken {
            None if segment.is(SYN) => {
                let first = segment.sequence.plus(1);
                promise.taken = Some((first, first.plus(promise.syn_window)));
                if segment.window_scale(frame).is_none() {
                    promise.shift = 0;
                }
            }
            Some((taken, _)) if segment.sequence == *taken => {
                *taken = taken.plus(segment.len());
                if segment.is(FIN) {
                    self.promises.retain(|promise| promise.ports != ports);
                }
            }
            _ => {}
        }
        self.add_up();
    }

    fn add_up(&mut self) {
        let promised = self.promises.iter().map(|promise| match promise.taken {
            None => promise.syn_window,
            Some((taken, edge)) => edge.beyond(taken),
        });
        self.promised_max = self.promised_max.max(promised.sum());
    }
}

fn parse(frame: &[u8]) -> Option<Segment> {
    let ip = Ip::parse(frame)?;
    Segment::parse(frame, ip)
}
