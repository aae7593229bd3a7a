//! SendTargets: which targets there are (RFC 7143 appendix C).

use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use super::{DiscoveredTarget, Error, Event, Initiator, Phase, SessionType, SubmitError};
use crate::pdu::{Header, NO_TAG, TextRequest, TextResponse};
use crate::text::{Collector, Pairs};

/// A SendTargets under way.
#[derive(Debug)]
pub(super) struct Discovery {
    pub(super) deadline: Duration,
    tag: u32,
    received: Collector,
}

impl Initiator {
    /// Asks for the targets there are: all of them in a discovery session, the addresses of our
    /// own in a normal one. [`Event::Targets`] is the answer.
    ///
    /// # Errors
    /// [`SubmitError`] without a session, or while a question is open.
    pub fn send_targets(&mut self, now: Duration) -> Result<(), SubmitError> {
        if !matches!(self.phase, Phase::FullFeature) {
            return Err(SubmitError::NotInFullFeaturePhase);
        }
        if self.discovery.is_some() {
            return Err(SubmitError::QueueFull);
        }
        let tag = self.take_tag();
        let mut pairs = Pairs::new();
        let all = if self.config.session == SessionType::Discovery {
            "All"
        } else {
            ""
        };
        pairs.push("SendTargets", all);
        self.send_text(tag, NO_TAG, Header::new(0), &pairs.to_bytes());
        let deadline = now + self.config.command_timeout;
        self.discovery = Some(Discovery {
            deadline,
            tag,
            received: Collector::default(),
        });
        Ok(())
    }

    fn send_text(&mut self, tag: u32, transfer_tag: u32, answered: Header, text: &[u8]) {
        let request = TextRequest {
            immediate: true,
            is_final: true,
            is_continued: false,
            lun: answered.lun(),
            initiator_task_tag: tag,
            target_transfer_tag: transfer_tag,
            cmd_sn: self.cmd_sn,
            exp_stat_sn: self.exp_stat_sn,
        };
        self.send(request.header(), text);
    }

    /// RFC 7143 section 11.11: a text may come in several responses.
    pub(super) fn handle_text_response(
        &mut self,
        header: &Header,
        data: &[u8],
    ) -> Result<(), Error> {
        let response = TextResponse::parse(header);
        self.take_status(response.numbers);
        if matches!(self.phase, Phase::LoggingOut { .. }) {
            return Ok(());
        }
        let foreign = Error::Protocol("a text response came without a request");
        let Some(mut discovery) = self.discovery.take() else {
            return Err(foreign);
        };
        if discovery.tag != response.initiator_task_tag {
            return Err(foreign);
        }
        let more = response.is_continued || !response.is_final;
        let pairs = discovery
            .received
            .add(data, more)
            .map_err(|_| Error::Protocol("the list of targets is no text"))?;
        match pairs {
            Some(pairs) => self.events.push_back(Event::Targets(targets(&pairs))),
            None if response.target_transfer_tag == NO_TAG => {
                return Err(Error::Protocol("a text goes on without a transfer tag"));
            }
            None => {
                self.send_text(discovery.tag, response.target_transfer_tag, *header, &[]);
                self.discovery = Some(discovery);
            }
        }
        Ok(())
    }
}

/// Each TargetName is followed by its addresses. Addresses that cannot be read are left out.
fn targets(pairs: &Pairs) -> Vec<DiscoveredTarget> {
    let mut targets: Vec<DiscoveredTarget> = Vec::new();
    for (key, value) in pairs.iter() {
        match (key, targets.last_mut(), value.parse()) {
            ("TargetName", _, _) => {
                targets.push(DiscoveredTarget {
                    name: value.to_string(),
                    addresses: Vec::new(),
                });
            }
            ("TargetAddress", Some(target), Ok(address)) => target.addresses.push(address),
            _ => {}
        }
    }
    targets
}
