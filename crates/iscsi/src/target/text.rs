//! Text requests in full feature phase: SendTargets and the few keys that may change
//! (RFC 7143 sections 11.10, 11.11 and appendix C).

use alloc::vec::Vec;

use super::{Connection, Directory, Listing};
use crate::negotiate;
use crate::pdu::{Header, NO_TAG, RejectReason, TextRequest, TextResponse};
use crate::text::{Collector, Pairs};

/// A text sequence under way. There is one at a time (RFC 7143 section 11.10.3).
#[derive(Debug)]
pub(super) struct TextState {
    tag: u32,
    transfer_tag: u32,
    received: Collector,
    /// The rest of our answer.
    unsent: Vec<u8>,
}

impl<D: Directory> Connection<D> {
    /// One request; the reason to refuse it, if there is one.
    pub(super) fn handle_text_request(
        &mut self,
        header: &Header,
        data: &[u8],
    ) -> Option<RejectReason> {
        let request = TextRequest::parse(header);
        if request.initiator_task_tag == NO_TAG {
            return Some(RejectReason::INVALID_PDU_FIELD);
        }
        let mut state = match self.text.take() {
            // A request without transfer tag starts anew.
            _ if request.target_transfer_tag == NO_TAG => TextState {
                tag: request.initiator_task_tag,
                transfer_tag: request.initiator_task_tag & 0x7fff_ffff,
                received: Collector::default(),
                unsent: Vec::new(),
            },
            Some(state)
                if state.tag == request.initiator_task_tag
                    && state.transfer_tag == request.target_transfer_tag =>
            {
                state
            }
            _ => return Some(RejectReason::INVALID_PDU_FIELD),
        };
        if !state.unsent.is_empty() {
            if !data.is_empty() {
                return Some(RejectReason::PROTOCOL_ERROR);
            }
            self.send_text(state, request.is_final);
            return None;
        }
        match state.received.add(data, request.is_continued) {
            Err(_) => Some(RejectReason::PROTOCOL_ERROR),
            Ok(None) => {
                self.send_text(state, false);
                None
            }
            Ok(Some(pairs)) if pairs.repeated().is_some() => Some(RejectReason::PROTOCOL_ERROR),
            Ok(Some(pairs)) => match self.answer_text(&pairs) {
                Ok(answers) => {
                    state.unsent = answers.to_bytes();
                    self.send_text(state, request.is_final);
                    None
                }
                Err(reason) => Some(reason),
            },
        }
    }

    /// As much of the answer as the initiator takes at once.
    fn send_text(&mut self, mut state: TextState, is_final: bool) {
        let room = usize::try_from(self.parameters.max_send_data_segment_length).unwrap_or(0);
        let rest = match state.unsent.len() > room {
            true => state.unsent.split_off(room),
            false => Vec::new(),
        };
        let is_continued = !rest.is_empty();
        let is_final = is_final && !is_continued;
        let response = TextResponse {
            is_final,
            is_continued,
            lun: bowline_scsi::Lun::ZERO,
            initiator_task_tag: state.tag,
            target_transfer_tag: if is_final { NO_TAG } else { state.transfer_tag },
            numbers: self.take_numbers(),
        };
        self.send(response.header(), &state.unsent);
        state.unsent = rest;
        self.text = (!is_final).then_some(state);
    }

    fn answer_text(&mut self, pairs: &Pairs) -> Result<Pairs, RejectReason> {
        let mut answers = Pairs::new();
        for (key, value) in pairs.iter() {
            if key == "SendTargets" {
                self.send_targets(value, &mut answers)?;
            } else if negotiate::is_parameter(key) && key != "MaxRecvDataSegmentLength" {
                // To be settled at login (RFC 7143 chapter 13: "Use: LO" and "IO").
                answers.push(key, "Reject");
            } else {
                let wanted = &self.config.parameters;
                match negotiate::answer(&mut self.parameters, wanted, false, key, value).as_deref()
                {
                    // After the login nobody tries out what the other end knows: such a key is
                    // no extension (RFC 7143 section 13.3) but a mistake.
                    Some(negotiate::NOT_UNDERSTOOD) if !key.starts_with("X-") => {
                        return Err(RejectReason::PROTOCOL_ERROR);
                    }
                    Some(said) => answers.push(key, said),
                    None => {}
                }
            }
        }
        Ok(answers)
    }

    /// RFC 7143 appendix C: All is answered in discovery sessions. In a session with a target,
    /// where it should not be asked, it gets what may be told there: that target.
    fn send_targets(&self, which: &str, answers: &mut Pairs) -> Result<(), RejectReason> {
        let Some(session) = &self.session else {
            return Ok(());
        };
        let own = session.target_name.as_deref();
        let is_name = |name: &str| {
            ["iqn.", "eui.", "naa."]
                .iter()
                .any(|it| name.starts_with(it))
        };
        let wanted = match (which, own) {
            ("All", None) => None,
            ("All" | "", Some(own)) => Some(own),
            (name, _) if is_name(name) => Some(name),
            _ => return Err(RejectReason::INVALID_PDU_FIELD),
        };
        let is_wanted = |listing: &Listing| {
            wanted.is_none_or(|name| listing.name == name)
                && own.is_none_or(|own| listing.name == own)
        };
        for listing in self
            .directory
            .targets(&session.initiator_name)
            .into_iter()
            .filter(is_wanted)
        {
            answers.push("TargetName", listing.name);
            for address in listing.addresses {
                answers.push("TargetAddress", alloc::format!("{address}"));
            }
        }
        Ok(())
    }
}
