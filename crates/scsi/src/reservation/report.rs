//! PERSISTENT RESERVE IN (SPC-4 section 6.15).

use alloc::vec::Vec;

use super::{InitiatorPort, Kind, Reservations};
use crate::sense::Sense;

/// All six types (SPC-4 table 219).
const TYPE_MASK: [u8; 2] = [0xea, 0x01];

impl Reservations {
    /// The data of PERSISTENT RESERVE IN.
    pub(crate) fn report(&self, service_action: u8) -> Result<Vec<u8>, Sense> {
        const READ_KEYS: u8 = 0;
        const READ_RESERVATION: u8 = 1;
        const REPORT_CAPABILITIES: u8 = 2;
        const READ_FULL_STATUS: u8 = 3;
        let list = match service_action {
            READ_KEYS => self
                .registrations
                .values()
                .flat_map(|key| key.to_be_bytes())
                .collect(),
            READ_RESERVATION => self.read_reservation(),
            REPORT_CAPABILITIES => return Ok(capabilities(self.is_kept)),
            READ_FULL_STATUS => self.full_status(),
            _ => return Err(Sense::INVALID_FIELD_IN_CDB),
        };
        let mut data = self.generation.to_be_bytes().to_vec();
        data.extend(u32::try_from(list.len()).unwrap_or(0).to_be_bytes());
        data.extend(list);
        Ok(data)
    }

    fn read_reservation(&self) -> Vec<u8> {
        let Some((kind, holder)) = &self.reservation else {
            return Vec::new();
        };
        let key = match self.registrations.get(holder) {
            Some(key) if !kind.is_all_registrants() => *key,
            _ => 0, // all registrants hold it
        };
        let mut list = key.to_be_bytes().to_vec();
        list.extend([0, 0, 0, 0, 0, *kind as u8, 0, 0]);
        list
    }

    fn full_status(&self) -> Vec<u8> {
        let mut list = Vec::new();
        for (port, key) in &self.registrations {
            let held = self.reservation.as_ref().filter(|_| self.is_holder(port));
            let kind = held.map_or(0, |(kind, _): &(Kind, _)| *kind as u8);
            let transport_id = transport_id(port);
            list.extend(key.to_be_bytes());
            list.extend([0, 0, 0, 0, u8::from(held.is_some()), kind, 0, 0, 0, 0]);
            list.extend(1_u16.to_be_bytes()); // the only target port
            list.extend(u32::try_from(transport_id.len()).unwrap_or(0).to_be_bytes());
            list.extend(transport_id);
        }
        list
    }
}

/// SPC-4 section 6.15.4: what there is of all that a target may offer.
fn capabilities(is_kept: bool) -> Vec<u8> {
    const CRH: u8 = 0x10;
    const ATP_C: u8 = 0x04;
    const PTPL_C: u8 = 0x01;
    const TMV: u8 = 0x80;
    let [first, second] = TYPE_MASK;
    let flags = CRH | ATP_C | PTPL_C;
    alloc::vec![0, 8, flags, TMV | u8::from(is_kept), first, second, 0, 0]
}

/// The iSCSI TransportID with the initiator port name (SPC-4 section 7.6.4.6).
fn transport_id(port: &InitiatorPort) -> Vec<u8> {
    const ISCSI_WITH_ISID: u8 = 0x45;
    let name = port.0.as_bytes();
    // Ends with a zero and is padded to four bytes, 20 at least.
    let padded = (name.len() + 1).next_multiple_of(4).max(20);
    let mut id = alloc::vec![ISCSI_WITH_ISID, 0];
    id.extend(u16::try_from(padded).unwrap_or(u16::MAX).to_be_bytes());
    id.extend_from_slice(name);
    id.resize(4 + padded, 0);
    id
}
