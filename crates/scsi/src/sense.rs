//! Sense data (SPC-4 section 4.5): fixed and descriptor format in, fixed format out.

use alloc::vec::Vec;
use core::fmt;

use crate::bytes::{u16_at, u32_at, u64_at};

/// Sense keys (SPC-4 table 43).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SenseKey(pub u8);

impl SenseKey {
    /// Nothing to say.
    pub const NO_SENSE: Self = Self(0x0);
    /// Done after recovery.
    pub const RECOVERED_ERROR: Self = Self(0x1);
    /// The logical unit cannot be used now.
    pub const NOT_READY: Self = Self(0x2);
    /// The medium failed.
    pub const MEDIUM_ERROR: Self = Self(0x3);
    /// The device failed.
    pub const HARDWARE_ERROR: Self = Self(0x4);
    /// The command or a field of it is not supported.
    pub const ILLEGAL_REQUEST: Self = Self(0x5);
    /// Something happened since the last command.
    pub const UNIT_ATTENTION: Self = Self(0x6);
    /// Reads or writes are not allowed here.
    pub const DATA_PROTECT: Self = Self(0x7);
    /// A third party copy came to no good end.
    pub const COPY_ABORTED: Self = Self(0xa);
    /// The device gave the command up.
    pub const ABORTED_COMMAND: Self = Self(0xb);
    /// The data differed from the medium.
    pub const MISCOMPARE: Self = Self(0xe);
}

impl fmt::Display for SenseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0x0 => "NO SENSE",
            0x1 => "RECOVERED ERROR",
            0x2 => "NOT READY",
            0x3 => "MEDIUM ERROR",
            0x4 => "HARDWARE ERROR",
            0x5 => "ILLEGAL REQUEST",
            0x6 => "UNIT ATTENTION",
            0x7 => "DATA PROTECT",
            0x8 => "BLANK CHECK",
            0x9 => "VENDOR SPECIFIC",
            0xa => "COPY ABORTED",
            0xb => "ABORTED COMMAND",
            0xd => "VOLUME OVERFLOW",
            0xe => "MISCOMPARE",
            0xf => "COMPLETED",
            other => return write!(f, "sense key {other:#x}"),
        })
    }
}

/// What a device says about a command that did not simply succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sense {
    /// What kind of trouble.
    pub key: SenseKey,
    /// Additional sense code.
    pub asc: u8,
    /// Additional sense code qualifier.
    pub ascq: u8,
    /// For disks: the first block in trouble.
    pub information: Option<u64>,
}

impl Sense {
    /// Nothing to say.
    pub const NO_SENSE: Self = Self::new(SenseKey::NO_SENSE, 0x00, 0x00);
    /// The medium cannot be read.
    pub const UNRECOVERED_READ_ERROR: Self = Self::new(SenseKey::MEDIUM_ERROR, 0x11, 0x00);
    /// The medium cannot be written.
    pub const WRITE_ERROR: Self = Self::new(SenseKey::MEDIUM_ERROR, 0x0c, 0x00);
    /// The device failed inside.
    pub const INTERNAL_TARGET_FAILURE: Self = Self::new(SenseKey::HARDWARE_ERROR, 0x44, 0x00);
    /// No such command here.
    pub const INVALID_OPCODE: Self = Self::new(SenseKey::ILLEGAL_REQUEST, 0x20, 0x00);
    /// Beyond the end of the disk.
    pub const LBA_OUT_OF_RANGE: Self = Self::new(SenseKey::ILLEGAL_REQUEST, 0x21, 0x00);
    /// A field of the command is not supported.
    pub const INVALID_FIELD_IN_CDB: Self = Self::new(SenseKey::ILLEGAL_REQUEST, 0x24, 0x00);
    /// No such logical unit.
    pub const LOGICAL_UNIT_NOT_SUPPORTED: Self = Self::new(SenseKey::ILLEGAL_REQUEST, 0x25, 0x00);
    /// The list of parameters is cut short, or has a length that it cannot have.
    pub const PARAMETER_LIST_LENGTH_ERROR: Self = Self::new(SenseKey::ILLEGAL_REQUEST, 0x1a, 0x00);
    /// A field of the parameters is not supported.
    pub const INVALID_FIELD_IN_PARAMETER_LIST: Self =
        Self::new(SenseKey::ILLEGAL_REQUEST, 0x26, 0x00);
    /// The reservation to be released is another one.
    pub const INVALID_RELEASE: Self = Self::new(SenseKey::ILLEGAL_REQUEST, 0x26, 0x04);
    /// A copy names more targets than there can be.
    pub const TOO_MANY_TARGET_DESCRIPTORS: Self = Self::new(SenseKey::ILLEGAL_REQUEST, 0x26, 0x06);
    /// A copy names a target in a way we do not know.
    pub const UNSUPPORTED_TARGET_DESCRIPTOR: Self =
        Self::new(SenseKey::ILLEGAL_REQUEST, 0x26, 0x07);
    /// A copy has more segments than it may have.
    pub const TOO_MANY_SEGMENT_DESCRIPTORS: Self = Self::new(SenseKey::ILLEGAL_REQUEST, 0x26, 0x08);
    /// A copy brings data along.
    pub const INLINE_DATA_LENGTH_EXCEEDED: Self = Self::new(SenseKey::ILLEGAL_REQUEST, 0x26, 0x0b);
    /// A copy has a segment of a kind we do not know.
    pub const UNSUPPORTED_SEGMENT_DESCRIPTOR: Self =
        Self::new(SenseKey::ILLEGAL_REQUEST, 0x26, 0x09);
    /// A copy names a disk that is not here.
    pub const COPY_TARGET_NOT_REACHABLE: Self = Self::new(SenseKey::COPY_ABORTED, 0x08, 0x04);
    /// Too few registrations fit, too little memory.
    pub const INSUFFICIENT_REGISTRATION_RESOURCES: Self =
        Self::new(SenseKey::ILLEGAL_REQUEST, 0x55, 0x04);
    /// An initiator wants the medium to stay.
    pub const MEDIUM_REMOVAL_PREVENTED: Self = Self::new(SenseKey::ILLEGAL_REQUEST, 0x53, 0x02);
    /// The medium is ejected.
    pub const MEDIUM_NOT_PRESENT: Self = Self::new(SenseKey::NOT_READY, 0x3a, 0x00);
    /// Another medium may be there, or the same again.
    pub const MEDIUM_CHANGED: Self = Self::new(SenseKey::UNIT_ATTENTION, 0x28, 0x00);
    /// Another initiator changed the mode parameters.
    pub const MODE_PARAMETERS_CHANGED: Self = Self::new(SenseKey::UNIT_ATTENTION, 0x2a, 0x01);
    /// Another initiator preempted a reservation.
    pub const RESERVATIONS_PREEMPTED: Self = Self::new(SenseKey::UNIT_ATTENTION, 0x2a, 0x03);
    /// Another initiator released a reservation.
    pub const RESERVATIONS_RELEASED: Self = Self::new(SenseKey::UNIT_ATTENTION, 0x2a, 0x04);
    /// Another initiator took a registration away.
    pub const REGISTRATIONS_PREEMPTED: Self = Self::new(SenseKey::UNIT_ATTENTION, 0x2a, 0x05);
    /// The data does not fit the command.
    pub const INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT: Self =
        Self::new(SenseKey::ILLEGAL_REQUEST, 0x0e, 0x03);
    /// There is no more room behind a thin disk.
    pub const SPACE_ALLOCATION_FAILED: Self = Self::new(SenseKey::DATA_PROTECT, 0x27, 0x07);
    /// There are no saved mode pages.
    pub const SAVING_NOT_SUPPORTED: Self = Self::new(SenseKey::ILLEGAL_REQUEST, 0x39, 0x00);
    /// The disk cannot be written.
    pub const WRITE_PROTECTED: Self = Self::new(SenseKey::DATA_PROTECT, 0x27, 0x00);
    /// An initiator has set the disk to read-only (SWP of the control mode page).
    pub const SOFTWARE_WRITE_PROTECTED: Self = Self::new(SenseKey::DATA_PROTECT, 0x27, 0x02);
    /// The device was switched on.
    pub const POWER_ON: Self = Self::new(SenseKey::UNIT_ATTENTION, 0x29, 0x01);
    /// The logical unit was reset by a task management function.
    pub const DEVICE_RESET: Self = Self::new(SenseKey::UNIT_ATTENTION, 0x29, 0x03);
    /// Commands were cleared by another initiator.
    pub const COMMANDS_CLEARED: Self = Self::new(SenseKey::UNIT_ATTENTION, 0x2f, 0x00);
    /// The size of the disk changed.
    pub const CAPACITY_CHANGED: Self = Self::new(SenseKey::UNIT_ATTENTION, 0x2a, 0x09);
    /// Data compared with the medium and differed.
    pub const MISCOMPARE: Self = Self::new(SenseKey::MISCOMPARE, 0x1d, 0x00);

    /// Sense data without an information field.
    #[must_use]
    pub const fn new(key: SenseKey, asc: u8, ascq: u8) -> Self {
        Self {
            key,
            asc,
            ascq,
            information: None,
        }
    }

    /// The same with the block that is in trouble, or the offset of a miscompare.
    #[must_use]
    pub const fn with_information(self, information: u64) -> Self {
        Self {
            information: Some(information),
            ..self
        }
    }

    /// Whether sending the same command again is the answer: the device had something to tell
    /// first, gave the command up on its own, or is on its way to being ready.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(
            (self.key, self.asc, self.ascq),
            (SenseKey::UNIT_ATTENTION | SenseKey::ABORTED_COMMAND, _, _)
                | (SenseKey::NOT_READY, 0x04, 0x01)
        )
    }

    /// Reads either format, as far as it goes. `None` where it is neither.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<Self> {
        match data.first()? & 0x7f {
            0x70 | 0x71 => Some(Self {
                key: SenseKey(data.get(2)? & 0x0f),
                asc: data.get(12).copied().unwrap_or(0),
                ascq: data.get(13).copied().unwrap_or(0),
                information: if data.first()? & 0x80 == 0 {
                    None
                } else {
                    u32_at(data, 3).map(u64::from)
                },
            }),
            0x72 | 0x73 => Some(Self {
                key: SenseKey(data.get(1)? & 0x0f),
                asc: *data.get(2)?,
                ascq: *data.get(3)?,
                information: descriptor_information(data.get(8..).unwrap_or_default()),
            }),
            _ => None,
        }
    }

    /// Fixed format, 18 bytes (SPC-4 section 4.5.3).
    #[must_use]
    pub fn to_fixed(&self) -> [u8; 18] {
        let mut data = [0; 18];
        data[0] = 0x70;
        if let Some(Ok(information)) = self.information.map(u32::try_from) {
            data[0] |= 0x80;
            data[3..7].copy_from_slice(&information.to_be_bytes());
        }
        data[2] = self.key.0 & 0x0f;
        data[7] = 10;
        data[12] = self.asc;
        data[13] = self.ascq;
        data
    }

    /// Descriptor format (SPC-4 section 4.5.2).
    #[must_use]
    pub fn to_descriptor(&self) -> Vec<u8> {
        let mut data = alloc::vec![0x72, self.key.0 & 0x0f, self.asc, self.ascq, 0, 0, 0, 0];
        if let Some(information) = self.information {
            data.extend([0x00, 0x0a, 0x80, 0x00]);
            data.extend(information.to_be_bytes());
        }
        if let Ok(additional) = u8::try_from(data.len() - 8)
            && let Some(length) = data.get_mut(7)
        {
            *length = additional;
        }
        data
    }
}

/// The information descriptor (type 0) among `descriptors` (SPC-4 section 4.5.2.2).
fn descriptor_information(mut descriptors: &[u8]) -> Option<u64> {
    while let [kind, length, rest @ ..] = descriptors {
        if *kind == 0 && u16_at(rest, 0)? & 0x8000 != 0 {
            return u64_at(rest, 2);
        }
        descriptors = rest.get(usize::from(*length)..)?;
    }
    None
}

impl fmt::Display for Sense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            asc,
            ascq,
            information,
        } = self;
        write!(f, "{key}")?;
        if let Some(words) = additional_words(*asc, *ascq) {
            write!(f, ": {words}")?;
        }
        write!(f, " ({:x}/{asc:02x}/{ascq:02x})", key.0)?;
        match information {
            Some(information) => write!(f, " at block {information}"),
            None => Ok(()),
        }
    }
}

/// The additional sense codes that a boot from a disk may meet (SPC-4 annex F).
fn additional_words(asc: u8, ascq: u8) -> Option<&'static str> {
    Some(match (asc, ascq) {
        (0x04, 0x01) => "the logical unit is becoming ready",
        (0x04, 0x02) => "the logical unit needs a START UNIT",
        (0x04, 0x04) => "format in progress",
        (0x04, 0x0a..=0x0c) => "the path to the logical unit is not active",
        (0x04, _) => "the logical unit is not ready",
        (0x08, 0x04) => "a disk of the copy is not reachable here",
        (0x0c, 0x0c) => "unexpected unsolicited data",
        (0x0c, 0x0d) => "incorrect amount of data",
        (0x0c, _) => "write error",
        (0x0e, _) => "the data does not fit the command",
        (0x10, _) => "protection information error",
        (0x11, _) => "unrecovered read error",
        (0x1a, _) => "parameter list length error",
        (0x1d, _) => "the data differs from the medium",
        (0x20, 0x02) => "access denied: no access rights",
        (0x20, _) => "the command is not supported",
        (0x21, _) => "beyond the end of the disk",
        (0x24, _) => "a field of the command is not supported",
        (0x25, _) => "no such logical unit",
        (0x26, _) => "a field of the parameters is not supported",
        (0x27, 0x07) => "the space behind the disk is used up",
        (0x27, _) => "the disk is write protected",
        (0x28, _) => "the medium may have changed",
        (0x29, 0x03 | 0x04) => "the device was reset",
        (0x29, 0x07) => "the session was lost",
        (0x29, _) => "the device was switched on or reset",
        (0x2a, 0x03) => "the reservation was preempted",
        (0x2a, 0x04) => "the reservation was released",
        (0x2a, 0x05) => "the registration was preempted",
        (0x2a, 0x09) => "the size of the disk changed",
        (0x2a, _) => "the parameters changed",
        (0x2f, _) => "commands were cleared by another initiator",
        (0x39, _) => "parameters cannot be saved",
        (0x3a, _) => "no medium",
        (0x3e, _) => "the logical unit has failed its self test",
        (0x3f, 0x0e) => "the list of logical units changed",
        (0x3f, _) => "the target's conditions changed",
        (0x44, _) => "the device failed inside",
        (0x47, _) => "a data check failed on the way",
        (0x4b, _) => "a data phase error",
        (0x4e, _) => "overlapping commands",
        (0x53, _) => "the medium is to stay",
        (0x55, _) => "the device lacks resources",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_come_back() {
        for sense in [
            Sense::LBA_OUT_OF_RANGE,
            Sense::UNRECOVERED_READ_ERROR.with_information(0x1234),
            Sense::MISCOMPARE.with_information(0),
        ] {
            assert_eq!(Sense::parse(&sense.to_fixed()), Some(sense));
            assert_eq!(Sense::parse(&sense.to_descriptor()), Some(sense));
        }
    }

    #[test]
    fn bytes_are_those_of_spc() {
        let fixed = Sense::LBA_OUT_OF_RANGE.to_fixed();
        assert_eq!(
            fixed,
            [0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x21, 0, 0, 0, 0, 0]
        );
        let descriptor = Sense::WRITE_PROTECTED.to_descriptor();
        assert_eq!(descriptor, [0x72, 7, 0x27, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn information_is_found_behind_other_descriptors() {
        let data = [
            0x72, 0x03, 0x11, 0x00, 0, 0, 0, 20, // header
            0x02, 0x06, 0, 0, 0xc0, 0, 0, 0, // sense key specific
            0x00, 0x0a, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 2, // information
        ];
        assert_eq!(
            Sense::parse(&data).unwrap().information,
            Some(0x1_0000_0002)
        );
    }

    #[test]
    fn cut_or_foreign_data_is_no_sense() {
        assert_eq!(Sense::parse(&[]), None);
        assert_eq!(Sense::parse(&[0x70, 0]), None);
        assert_eq!(Sense::parse(&[0x7f; 18]), None);
        assert_eq!(
            Sense::parse(&[0x70, 0, 5]).unwrap().key,
            SenseKey::ILLEGAL_REQUEST
        );
        assert_eq!(
            Sense::parse(&[0x72, 5, 0x21, 0, 0, 0, 0, 9, 1])
                .unwrap()
                .information,
            None
        );
    }

    #[test]
    fn words_for_the_console() {
        assert_eq!(
            Sense::WRITE_PROTECTED.to_string(),
            "DATA PROTECT: the disk is write protected (7/27/00)"
        );
        assert_eq!(
            Sense::UNRECOVERED_READ_ERROR
                .with_information(9)
                .to_string(),
            "MEDIUM ERROR: unrecovered read error (3/11/00) at block 9"
        );
        assert_eq!(
            Sense::new(SenseKey(0xc), 0xfe, 1).to_string(),
            "sense key 0xc (c/fe/01)"
        );
    }
}
