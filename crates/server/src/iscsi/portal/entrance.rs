//! The portal as one connection sees it: who may log in, on which terms, and what is told to whom.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bowline_iscsi::target::{Admission, Applicant, Directory, Listing, Moved};
use bowline_iscsi::{Credentials, LoginStatus, TargetAddress};

use super::{Portal, Target, printable};

/// Answers the machine, and remembers who asked.
#[derive(Debug)]
pub(in crate::iscsi) struct Entrance {
    portal: Arc<Portal>,
    /// The address that the initiator has connected to.
    local: SocketAddr,
    /// And from which.
    peer: SocketAddr,
    applicant: Mutex<Option<String>>,
    /// The target whose rules the login is checked by.
    admitting: Mutex<Option<Arc<Target>>>,
}

impl Entrance {
    pub(in crate::iscsi) fn new(portal: Arc<Portal>, local: SocketAddr, peer: SocketAddr) -> Self {
        Self {
            portal,
            local,
            peer,
            applicant: Mutex::default(),
            admitting: Mutex::default(),
        }
    }

    /// The target that has let the initiator in.
    pub(in crate::iscsi) fn admitted(&self) -> Option<Arc<Target>> {
        let admitting = self.admitting.lock();
        admitting.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who has tried to log in, and to what. Not proven.
    pub(in crate::iscsi) fn applicant(&self) -> Option<String> {
        self.applicant
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Directory for Entrance {
    fn admit(&self, applicant: &Applicant<'_>) -> Result<Admission, LoginStatus> {
        let place = applicant.target_name.unwrap_or("discovery");
        *self
            .applicant
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(format!(
            "{} at {}",
            printable(applicant.initiator_name),
            printable(place)
        ));
        let mut admission = Admission {
            portal_group_tag: PORTAL_GROUP_TAG,
            ..Admission::default()
        };
        let offer = self.portal.offer();
        let chap = match applicant.target_name {
            // Names and addresses are no secret where nobody has said so; what they name asks for
            // a proof of its own.
            None => &offer.discovery_chap,
            Some(name) => {
                let target = offer.targets.get(name).ok_or(LoginStatus::NOT_FOUND)?;
                let target = target.as_ref().ok_or(LoginStatus::SERVICE_UNAVAILABLE)?;
                if !target.admits(applicant.initiator_name, self.peer.ip()) {
                    return Err(LoginStatus::AUTHORIZATION_FAILURE);
                }
                *self
                    .admitting
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(target));
                admission.moved = target.config.redirect.as_ref().map(|redirect| Moved {
                    address: redirect.address.clone(),
                    permanent: redirect.permanent,
                });
                &target.config.chap
            }
        };
        if let Some(chap) = chap {
            let credentials = Credentials::new(&chap.username, chap.password.expose());
            admission.credentials.push(credentials);
            admission.algorithms.clone_from(&chap.algorithms);
            admission.reverse = chap
                .mutual
                .as_ref()
                .map(|mutual| Credentials::new(&mutual.username, mutual.password.expose()));
        }
        Ok(admission)
    }

    /// The targets that this initiator may log in to, at the address that was asked. RFC 7143 §C allows to leave the address out
    /// then, but iscsi-ls shows only targets that have one.
    fn targets(&self, initiator_name: &str) -> Vec<Listing> {
        let address = TargetAddress {
            host: self.local.ip().to_string(),
            port: self.local.port(),
            portal_group_tag: Some(PORTAL_GROUP_TAG),
        };
        let listing = |target: &Arc<Target>| Listing {
            name: target.name.clone(),
            addresses: vec![address.clone()],
        };
        let offer = self.portal.offer();
        let targets = offer.targets.values().flatten();
        let open = targets.filter(|it| it.admits(initiator_name, self.peer.ip()));
        open.map(listing).collect()
    }
}

const PORTAL_GROUP_TAG: u16 = 1;
