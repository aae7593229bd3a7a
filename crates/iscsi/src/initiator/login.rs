//! Login: the stages, CHAP, and what a refusal means (RFC 7143 sections 6.3, 12.1 and 13).

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::{CID, Closed, Config, Error, Event, Initiator, Login, Phase, SessionType};
use crate::chap::{self, Algorithm, Challenge};
use crate::frame::{Digests, Pdu};
use crate::negotiate;
use crate::pdu::{LoginRequest, LoginResponse, Stage};
use crate::text::{Collector, Pairs};
use crate::{Authentication, LoginStatus, Parameters};

/// Round trips of one login at most.
const EXCHANGES_MAX: u32 = 64;

/// Data segment of a login request: the default MaxRecvDataSegmentLength of the target.
const SEGMENT_MAX: usize = 8192;

/// A login under way.
#[derive(Debug)]
pub(super) struct LoginState {
    pub(super) deadline: Duration,
    stage: Stage,
    /// What we asked for in the last request: to go on to this stage.
    asked: Option<Stage>,
    tag: u32,
    exchanges: u32,
    received: Collector,
    /// The rest of a request that did not fit into one PDU.
    unsent: Vec<u8>,
    chap: Chap,
    /// The keys we offered, until they are answered.
    offered: Vec<&'static str>,
    /// The target's numbers start with its first response.
    is_first: bool,
    portal_group_tag: Option<u16>,
    target_alias: Option<String>,
}

/// How far CHAP has come; named for what is awaited.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Chap {
    /// No credentials: nothing is awaited.
    Unused,
    /// AuthMethod.
    Method,
    /// CHAP_A, CHAP_I and CHAP_C.
    Challenge,
    /// The verdict, and with mutual CHAP the target's CHAP_N and CHAP_R.
    Verdict {
        algorithm: Algorithm,
        ours: Option<Challenge>,
        expected_never: Vec<u8>,
    },
    /// Done.
    Proven { algorithm: Algorithm, mutual: bool },
}

impl Initiator {
    /// The first request.
    pub(super) fn start_login(&mut self, now: Duration) -> LoginState {
        let tag = self.take_tag();
        let with_chap = self.config.credentials.is_some();
        let mut state = LoginState {
            deadline: now + self.config.login_timeout,
            stage: if with_chap {
                Stage::SECURITY
            } else {
                Stage::OPERATIONAL
            },
            asked: None,
            tag,
            exchanges: 0,
            received: Collector::default(),
            unsent: Vec::new(),
            chap: if with_chap {
                Chap::Method
            } else {
                Chap::Unused
            },
            offered: Vec::new(),
            is_first: true,
            portal_group_tag: None,
            target_alias: None,
        };
        let mut pairs = Pairs::new();
        pairs.push("InitiatorName", self.config.initiator_name.as_str());
        match &self.config.session {
            SessionType::Normal { target_name } => {
                pairs.push("SessionType", "Normal");
                pairs.push("TargetName", target_name.as_str());
            }
            SessionType::Discovery => pairs.push("SessionType", "Discovery"),
        }
        if with_chap {
            // Never "CHAP,None": a target that chose None would not be the one we trust.
            pairs.push("AuthMethod", "CHAP");
            self.send_login(&mut state, &pairs, None);
        } else {
            self.offer_parameters(&mut state, &mut pairs);
            self.send_login(&mut state, &pairs, Some(Stage::FULL_FEATURE));
        }
        state
    }

    pub(super) fn handle_login_response(&mut self, pdu: &Pdu<'_>) -> Result<(), Error> {
        let Phase::Login(mut state) = core::mem::replace(&mut self.phase, Phase::Closed) else {
            return Ok(());
        };
        let outcome = self.advance(&mut state, pdu);
        // Put back unless it is over: closed, or in full feature phase.
        if matches!(outcome, Ok(Progress::Going) | Err(_)) {
            self.phase = Phase::Login(state);
        }
        outcome.map(drop)
    }

    fn advance(&mut self, state: &mut LoginState, pdu: &Pdu<'_>) -> Result<Progress, Error> {
        let response = LoginResponse::parse(&pdu.header);
        if response.initiator_task_tag != state.tag {
            return Err(Error::Protocol("a login response has a foreign task tag"));
        }
        if response.status.class() != 0 {
            return self.refused(response.status, &state.chap, &pdu.data);
        }
        if response.version_active != 0 {
            return Err(Error::LoginRefused(LoginStatus::UNSUPPORTED_VERSION));
        }
        if core::mem::take(&mut state.is_first) {
            self.exp_stat_sn = response.numbers.stat_sn;
        }
        self.take_status(response.numbers);
        state.exchanges += 1;
        if state.exchanges > EXCHANGES_MAX {
            return Err(Error::Protocol("the login does not come to an end"));
        }
        if response.is_continued && response.transit {
            return Err(Error::Protocol(
                "a login response is unfinished and final at once",
            ));
        }
        if response.current_stage != state.stage {
            return Err(Error::Protocol("a login response is of another stage"));
        }
        // More of our own request first (RFC 7143 section 6.2: C bit).
        if !state.unsent.is_empty() {
            let rest = core::mem::take(&mut state.unsent);
            let asked = state.asked;
            self.send_login_text(state, &rest, asked);
            return Ok(Progress::Going);
        }
        let Some(pairs) = state
            .received
            .add(&pdu.data, response.is_continued)
            .map_err(|_| Error::Protocol("a login response is no text"))?
        else {
            self.send_login(state, &Pairs::new(), None);
            return Ok(Progress::Going);
        };
        if let Some(key) = pairs.repeated() {
            return Err(Error::Negotiation {
                key: key.to_string(),
            });
        }
        let answers = self.take_keys(state, &pairs)?;
        self.go_on(state, &response, &pairs, answers)
    }

    /// The keys that do not depend on the stage. Returns answers to the target's own offers.
    fn take_keys(&mut self, state: &mut LoginState, pairs: &Pairs) -> Result<Pairs, Error> {
        let wanted = wanted(&self.config);
        let mut answers = Pairs::new();
        for (key, value) in pairs.iter() {
            let wrong = || Error::Negotiation {
                key: key.to_string(),
            };
            match key {
                "TargetPortalGroupTag" => {
                    let tag = crate::text::number(value).and_then(|tag| u16::try_from(tag).ok());
                    state.portal_group_tag = Some(tag.ok_or_else(wrong)?);
                }
                "TargetAlias" => state.target_alias = Some(value.to_string()),
                "TargetAddress" | "AuthMethod" | "CHAP_A" | "CHAP_I" | "CHAP_C" | "CHAP_N"
                | "CHAP_R" => {}
                _ => match state.offered.iter().position(|offered| *offered == key) {
                    Some(position) => {
                        state.offered.swap_remove(position);
                        negotiate::conclude(&mut self.parameters, &wanted, key, value)
                            .map_err(|_| wrong())?;
                    }
                    None => {
                        let agreed = &mut self.parameters;
                        let said = negotiate::answer(agreed, &wanted, false, key, value);
                        if let Some(said) = said {
                            answers.push(key, said);
                        }
                    }
                },
            }
        }
        Ok(answers)
    }

    /// The next request, or the end of the login.
    fn go_on(
        &mut self,
        state: &mut LoginState,
        response: &LoginResponse,
        pairs: &Pairs,
        mut answers: Pairs,
    ) -> Result<Progress, Error> {
        if state.stage == Stage::SECURITY {
            self.authenticate(state, pairs, &mut answers)?;
        }
        if response.transit {
            // The target may go less far than asked, never further (RFC 7143 section 11.13.3).
            let next = response.next_stage;
            let allowed = matches!(next, Stage::OPERATIONAL | Stage::FULL_FEATURE)
                && next.0 > state.stage.0
                && state.asked.is_some_and(|asked| next.0 <= asked.0);
            if !allowed || !answers.is_empty() {
                return Err(Error::Protocol(
                    "the target went to a stage that was not asked for",
                ));
            }
            if response.next_stage == Stage::FULL_FEATURE {
                return self.finish(state, response);
            }
            state.stage = response.next_stage;
        }
        if state.stage == Stage::OPERATIONAL {
            if response.transit {
                self.offer_parameters(state, &mut answers);
            }
            self.send_login(state, &answers, Some(Stage::FULL_FEATURE));
        } else {
            // RFC 7143 section 6.2: T says that all of ours is said, which it is with the proof. With
            // mutual CHAP the target's proof must come with its agreement, which `authenticate` saw
            // to. tgt refuses logins that go on without T (status 0200).
            let done = matches!(state.chap, Chap::Verdict { .. } | Chap::Proven { .. });
            self.send_login(state, &answers, done.then_some(Stage::OPERATIONAL));
        }
        Ok(Progress::Going)
    }

    /// CHAP, step by step. What is to be said goes into `answers`.
    fn authenticate(
        &self,
        state: &mut LoginState,
        pairs: &Pairs,
        answers: &mut Pairs,
    ) -> Result<(), Error> {
        match core::mem::replace(&mut state.chap, Chap::Unused) {
            Chap::Method => {
                if pairs.get("AuthMethod") != Some("CHAP") {
                    return Err(Error::ChapRefused);
                }
                let numbers: Vec<_> = self
                    .config
                    .chap_algorithms
                    .iter()
                    .map(|a| a.number().to_string())
                    .collect();
                answers.push("CHAP_A", numbers.join(","));
                state.chap = Chap::Challenge;
            }
            Chap::Challenge => state.chap = self.respond(pairs, answers)?,
            Chap::Verdict {
                algorithm,
                ours,
                expected_never,
            } => {
                let mutual = ours.is_some();
                if let Some(ours) = ours {
                    self.verify(algorithm, &ours, &expected_never, pairs)?;
                }
                state.chap = Chap::Proven { algorithm, mutual };
            }
            proven @ (Chap::Proven { .. } | Chap::Unused) => state.chap = proven,
        }
        Ok(())
    }

    /// Answers the target's challenge, and with mutual CHAP sends one.
    fn respond(&self, pairs: &Pairs, answers: &mut Pairs) -> Result<Chap, Error> {
        let value = |key: &'static str| {
            pairs.get(key).ok_or_else(|| Error::Negotiation {
                key: key.to_string(),
            })
        };
        let wrong = |key: &str| Error::Negotiation {
            key: key.to_string(),
        };
        let chosen = value("CHAP_A")?;
        if chosen == "Reject" {
            return Err(Error::NoCommonAlgorithm);
        }
        let algorithm = crate::text::number(chosen)
            .and_then(Algorithm::from_number)
            .filter(|algorithm| self.config.chap_algorithms.contains(algorithm))
            .ok_or_else(|| wrong("CHAP_A"))?;
        let identifier = crate::text::number(value("CHAP_I")?)
            .and_then(|identifier| u8::try_from(identifier).ok())
            .ok_or_else(|| wrong("CHAP_I"))?;
        let theirs = chap::decode(value("CHAP_C")?).ok_or_else(|| wrong("CHAP_C"))?;
        let Some(credentials) = &self.config.credentials else {
            return Err(wrong("CHAP_C"));
        };
        let response = algorithm.response(identifier, &credentials.secret, &theirs);
        answers.push("CHAP_N", credentials.name.as_str());
        answers.push("CHAP_R", chap::encode(&response));
        if self.config.reverse.is_none() {
            return Ok(Chap::Verdict {
                algorithm,
                ours: None,
                expected_never: Vec::new(),
            });
        }
        let ours = Challenge::new(&self.config.entropy, algorithm);
        // RFC 7143 section 9.2.1: a challenge is never answered by its author.
        if theirs == ours.bytes {
            return Err(Error::ReverseReflected);
        }
        answers.push("CHAP_I", ours.identifier.to_string());
        answers.push("CHAP_C", chap::encode(&ours.bytes));
        // What we would answer ourselves: the target must not (RFC 7143 section 9.2.1).
        let expected_never = algorithm.response(ours.identifier, &credentials.secret, &ours.bytes);
        Ok(Chap::Verdict {
            algorithm,
            ours: Some(ours),
            expected_never,
        })
    }

    /// Checks that the target knows the reverse secret.
    fn verify(
        &self,
        algorithm: Algorithm,
        ours: &Challenge,
        expected_never: &[u8],
        pairs: &Pairs,
    ) -> Result<(), Error> {
        let Some(reverse) = &self.config.reverse else {
            return Err(Error::ReverseMissing);
        };
        let (Some(name), Some(response)) = (pairs.get("CHAP_N"), pairs.get("CHAP_R")) else {
            return Err(Error::ReverseMissing);
        };
        let response = chap::decode(response).ok_or(Error::ReverseMissing)?;
        if chap::is_same(&response, expected_never) {
            return Err(Error::ReverseReflected);
        }
        let expected = algorithm.response(ours.identifier, &reverse.secret, &ours.bytes);
        if !chap::is_same(&response, &expected) {
            return Err(Error::ReverseSecretMismatch);
        }
        if name != reverse.name {
            return Err(Error::ReverseNameMismatch {
                received: name.to_string(),
            });
        }
        Ok(())
    }

    fn finish(
        &mut self,
        state: &mut LoginState,
        response: &LoginResponse,
    ) -> Result<Progress, Error> {
        let (authentication, algorithm) = match (&state.chap, &self.config.credentials) {
            (
                Chap::Proven {
                    algorithm,
                    mutual: true,
                },
                _,
            ) => (Authentication::Mutual, Some(*algorithm)),
            (
                Chap::Proven {
                    algorithm,
                    mutual: false,
                },
                _,
            ) => (Authentication::OneWay, Some(*algorithm)),
            (_, None) => (Authentication::None, None),
            // Cannot be: the stage is not left before the proof. If it were, this is the guard.
            (_, Some(_)) => return Err(Error::ChapRefused),
        };
        let agreed = &self.parameters;
        self.digests = Digests {
            header: agreed.header_digest,
            data: agreed.data_digest,
        };
        self.decoder.set_digests(self.digests);
        self.phase = Phase::FullFeature;
        self.events.push_back(Event::LoggedIn(Login {
            tsih: response.tsih,
            portal_group_tag: state.portal_group_tag,
            target_alias: state.target_alias.take(),
            authentication,
            algorithm,
            parameters: self.parameters.clone(),
        }));
        Ok(Progress::Over)
    }

    /// A status other than success (RFC 7143 section 11.13.5).
    fn refused(
        &mut self,
        status: LoginStatus,
        chap: &Chap,
        data: &[u8],
    ) -> Result<Progress, Error> {
        if status.class() == 1 {
            let address = Pairs::parse(data)
                .ok()
                .and_then(|pairs| pairs.get("TargetAddress")?.parse().ok())
                .ok_or(Error::LoginRefused(status))?;
            let permanent = status == LoginStatus::MOVED_PERMANENTLY;
            self.events
                .push_back(Event::TargetMoved { address, permanent });
            self.close(Closed::Moved);
            return Ok(Progress::Over);
        }
        // How far CHAP had come tells what was not accepted.
        Err(match (status, chap) {
            (LoginStatus::AUTHENTICATION_FAILURE, Chap::Unused) => Error::AuthenticationRequired,
            (LoginStatus::AUTHENTICATION_FAILURE, Chap::Method) => Error::ChapRefused,
            (LoginStatus::AUTHENTICATION_FAILURE, Chap::Challenge) => Error::NoCommonAlgorithm,
            (LoginStatus::AUTHENTICATION_FAILURE, _) => Error::AuthenticationFailed,
            (LoginStatus::NOT_FOUND, _) => Error::TargetNotFound,
            (status, _) => Error::LoginRefused(status),
        })
    }

    fn offer_parameters(&mut self, state: &mut LoginState, pairs: &mut Pairs) {
        let is_discovery = self.config.session == SessionType::Discovery;
        let wanted = wanted(&self.config);
        negotiate::presume(&mut self.parameters, &wanted);
        for (key, value) in negotiate::offers(&wanted) {
            // In a discovery session most keys are irrelevant (RFC 7143 chapter 13).
            let relevant = matches!(
                key,
                "HeaderDigest" | "DataDigest" | "MaxRecvDataSegmentLength"
            );
            if !is_discovery || relevant {
                pairs.push(key, value);
                state.offered.push(key);
            }
        }
    }

    fn send_login(&mut self, state: &mut LoginState, pairs: &Pairs, next: Option<Stage>) {
        self.send_login_text(state, &pairs.to_bytes(), next);
    }

    fn send_login_text(&mut self, state: &mut LoginState, text: &[u8], next: Option<Stage>) {
        let (piece, rest) = text.split_at_checked(SEGMENT_MAX).unwrap_or((text, &[]));
        state.unsent = rest.to_vec();
        state.asked = next;
        let is_continued = !rest.is_empty();
        let transit = next.is_some() && !is_continued;
        let request = LoginRequest {
            transit,
            is_continued,
            current_stage: state.stage,
            next_stage: next.unwrap_or(state.stage),
            version_max: 0,
            version_min: 0,
            isid: self.config.isid,
            tsih: 0,
            initiator_task_tag: state.tag,
            cid: CID,
            cmd_sn: self.cmd_sn,
            exp_stat_sn: self.exp_stat_sn,
        };
        self.send(request.header(), piece);
    }
}

/// Whether a login goes on.
enum Progress {
    Going,
    Over,
}

/// What we ask for.
fn wanted(config: &Config) -> Parameters {
    Parameters {
        header_digest: config.header_digest,
        data_digest: config.data_digest,
        max_connections: 1,
        initial_r2t: config.initial_r2t,
        immediate_data: config.immediate_data,
        max_recv_data_segment_length: config.max_recv_data_segment_length,
        max_burst_length: config.max_burst_length,
        first_burst_length: config.first_burst_length,
        default_time2wait: 0,
        default_time2retain: 0,
        max_outstanding_r2t: u32::from(config.max_outstanding_r2t),
        ..Parameters::default()
    }
}
