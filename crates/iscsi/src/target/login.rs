//! Login: the stages, CHAP, and refusals (RFC 7143 sections 6.3, 11.12, 11.13 and 12.1).
//!
//! An initiator may ask to go on (T) at every step, also where it knows that CHAP is not over:
//! iPXE does. Such a request is answered without T and the login goes on.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::{Admission, Applicant, Closed, Connection, Directory, Event, Login, Phase, Session};
use crate::chap::{self, Algorithm, Challenge};
use crate::frame::{Digests, Pdu};
use crate::name::{Isid, NAME_MAX};
use crate::negotiate;
use crate::pdu::{LoginRequest, LoginResponse, Stage, opcode};
use crate::text::{Collector, Pairs, number};
use crate::{Authentication, LoginStatus};

/// Round trips of one login at most.
const EXCHANGES_MAX: u32 = 64;

/// A refusal: what the initiator is told, and what the log is.
type Refusal = (LoginStatus, &'static str);

/// A login under way.
#[derive(Debug)]
pub(super) struct LoginState {
    pub(super) deadline: Duration,
    exchanges: u32,
    received: Collector,
    applicant: Option<Admitted>,
    stage: Stage,
    chap: Chap,
    /// Our own declarations were made.
    declared: bool,
}

/// Who asked, and the terms.
#[derive(Debug)]
struct Admitted {
    initiator_name: String,
    initiator_alias: Option<String>,
    isid: Isid,
    task_tag: u32,
    cid: u16,
    target_name: Option<String>,
    admission: Admission,
}

/// How far CHAP has come; named for what is awaited.
#[derive(Clone, Debug)]
enum Chap {
    /// AuthMethod.
    Method,
    /// CHAP_A.
    Algorithm,
    /// CHAP_N and CHAP_R.
    Response {
        algorithm: Algorithm,
        challenge: Challenge,
    },
    /// Done.
    Proven { algorithm: Algorithm, mutual: bool },
}

impl LoginState {
    pub(super) fn new(deadline: Duration) -> Self {
        Self {
            deadline,
            exchanges: 0,
            received: Collector::default(),
            applicant: None,
            stage: Stage::SECURITY,
            chap: Chap::Method,
            declared: false,
        }
    }

    /// Whether nothing is missing to leave the security stage.
    fn is_proven(&self) -> bool {
        let wanted = self
            .applicant
            .as_ref()
            .is_some_and(|a| !a.admission.credentials.is_empty());
        !wanted || matches!(self.chap, Chap::Proven { .. })
    }
}

impl<D: Directory> Connection<D> {
    pub(super) fn handle_login_request(&mut self, pdu: &Pdu<'_>) -> Result<(), Closed> {
        if pdu.header.opcode() != opcode::LOGIN_REQUEST {
            // RFC 7143 section 6.3: nothing else before the full feature phase.
            return Err(Closed::Protocol("something else than a login request came"));
        }
        let Phase::Login(mut state) = core::mem::replace(&mut self.phase, Phase::Closed) else {
            return Ok(());
        };
        let request = LoginRequest::parse(&pdu.header);
        let outcome = self.advance(&mut state, &request, &pdu.data);
        match outcome {
            Ok(true) => self.phase = Phase::FullFeature,
            Ok(false) => self.phase = Phase::Login(state),
            Err((status, reason)) => {
                let refusal = LoginResponse {
                    status,
                    ..self.response_to(&request)
                };
                let text = self.new_address(&state).to_bytes();
                self.send(refusal.header(), &text);
                self.phase = Phase::Login(state);
                return Err(Closed::LoginRefused { status, reason });
            }
        }
        Ok(())
    }

    /// A response that grants nothing yet.
    fn response_to(&mut self, request: &LoginRequest) -> LoginResponse {
        LoginResponse {
            transit: false,
            is_continued: false,
            current_stage: request.current_stage,
            next_stage: request.current_stage,
            version_max: 0,
            version_active: 0,
            isid: request.isid,
            tsih: request.tsih,
            initiator_task_tag: request.initiator_task_tag,
            numbers: self.take_numbers(),
            status: LoginStatus::SUCCESS,
        }
    }

    /// One request; whether the login is over.
    fn advance(
        &mut self,
        state: &mut LoginState,
        request: &LoginRequest,
        text: &[u8],
    ) -> Result<bool, Refusal> {
        // The first command carries the CmdSN of the login (RFC 7143 section 11.12.8).
        self.exp_cmd_sn = request.cmd_sn;
        check_request(state, request)?;
        let pairs = state.received.add(text, request.is_continued);
        let pairs = pairs.map_err(|_| (LoginStatus::INITIATOR_ERROR, "the request is no text"))?;
        let Some(pairs) = pairs else {
            let response = self.response_to(request);
            self.send(response.header(), &[]);
            return Ok(false);
        };
        if pairs.repeated().is_some() {
            return Err((LoginStatus::INITIATOR_ERROR, "a key is repeated"));
        }
        let mut answers = Pairs::new();
        if state.applicant.is_none() {
            let admitted = state.applicant.insert(self.admit(request, &pairs)?);
            if let Some(moved) = &admitted.admission.moved {
                return Err(match moved.permanent {
                    true => (LoginStatus::MOVED_PERMANENTLY, "the target is elsewhere"),
                    false => (
                        LoginStatus::MOVED_TEMPORARILY,
                        "the target is elsewhere for now",
                    ),
                });
            }
            state.stage = request.current_stage;
            self.introduce(state, &mut answers);
        }
        if request.current_stage != state.stage {
            return Err((
                LoginStatus::INVALID_DURING_LOGIN,
                "the stage is not the current one",
            ));
        }
        if state.stage == Stage::SECURITY {
            self.authenticate(state, &pairs, &mut answers)?;
        } else if !state.is_proven() {
            return Err((LoginStatus::AUTHENTICATION_FAILURE, "no proof was offered"));
        }
        self.negotiate(&pairs, &mut answers);
        self.answer(state, request, answers)
    }

    /// Looks at the keys of the first request (RFC 7143 section 6.3.1).
    fn admit(&self, request: &LoginRequest, pairs: &Pairs) -> Result<Admitted, Refusal> {
        if request.tsih != 0 {
            let reason = "the initiator wants to continue a session";
            return Err((LoginStatus::SESSION_DOES_NOT_EXIST, reason));
        }
        let missing = |reason| (LoginStatus::MISSING_PARAMETER, reason);
        let is_name = |name: &&str| !name.is_empty() && name.len() <= NAME_MAX;
        let initiator_name = pairs
            .get("InitiatorName")
            .filter(is_name)
            .ok_or(missing("InitiatorName is missing"))?;
        let target_name = match pairs.get("SessionType") {
            Some("Discovery") => None,
            None | Some("Normal") => {
                let name = pairs.get("TargetName").filter(is_name);
                Some(name.ok_or(missing("TargetName is missing"))?)
            }
            Some(_) => {
                let reason = "the session type is unknown";
                return Err((LoginStatus::SESSION_TYPE_NOT_SUPPORTED, reason));
            }
        };
        let applicant = Applicant {
            initiator_name,
            isid: request.isid,
            target_name,
        };
        let admission = self
            .directory
            .admit(&applicant)
            .map_err(|status| (status, "the target is not open to this initiator"))?;
        Ok(Admitted {
            initiator_name: initiator_name.to_string(),
            initiator_alias: pairs.get("InitiatorAlias").map(ToString::to_string),
            isid: request.isid,
            task_tag: request.initiator_task_tag,
            cid: request.cid,
            target_name: target_name.map(ToString::to_string),
            admission,
        })
    }

    /// What a refusal tells besides its status: where a target is that is not here.
    fn new_address(&self, state: &LoginState) -> Pairs {
        let mut answers = Pairs::new();
        let admission = state.applicant.as_ref().map(|it| &it.admission);
        if let Some(moved) = admission.and_then(|it| it.moved.as_ref()) {
            answers.push("TargetAddress", moved.address.to_string());
        }
        answers
    }

    /// What the first response tells of the target (RFC 7143 sections 13.5 and 13.9).
    fn introduce(&self, state: &LoginState, answers: &mut Pairs) {
        let Some(applicant) = &state.applicant else {
            return;
        };
        if applicant.target_name.is_some() {
            let tag = applicant.admission.portal_group_tag;
            answers.push("TargetPortalGroupTag", tag.to_string());
        }
        if let Some(alias) = &applicant.admission.alias {
            answers.push("TargetAlias", alias.as_str());
        }
    }

    /// The security stage: method, algorithm, response, in as many requests as it takes.
    fn authenticate(
        &self,
        state: &mut LoginState,
        pairs: &Pairs,
        answers: &mut Pairs,
    ) -> Result<(), Refusal> {
        let failure = |reason| (LoginStatus::AUTHENTICATION_FAILURE, reason);
        let Some(applicant) = &state.applicant else {
            return Ok(());
        };
        let admission = &applicant.admission;
        if let Some(methods) = pairs.get("AuthMethod") {
            let mut methods = methods.split(',');
            if !matches!(state.chap, Chap::Method) {
                return Err((
                    LoginStatus::INITIATOR_ERROR,
                    "AuthMethod is negotiated twice",
                ));
            }
            if admission.credentials.is_empty() {
                if !methods.any(|method| method == "None") {
                    return Err(failure("CHAP is wanted, and no credentials are configured"));
                }
                answers.push("AuthMethod", "None");
                return Ok(());
            }
            if !methods.any(|method| method == "CHAP") {
                return Err(failure("CHAP is required and was not offered"));
            }
            answers.push("AuthMethod", "CHAP");
            state.chap = Chap::Algorithm;
        }
        if let Some(offered) = pairs.get("CHAP_A") {
            if !matches!(state.chap, Chap::Algorithm) {
                return Err((LoginStatus::INITIATOR_ERROR, "CHAP_A came out of turn"));
            }
            // The first of the initiator's list that may be used (RFC 7143 section 12.1.3).
            let allowed = &admission.algorithms;
            let algorithm = offered
                .split(',')
                .filter_map(|n| Algorithm::from_number(number(n)?))
                .find(|algorithm| allowed.is_empty() || allowed.contains(algorithm));
            let algorithm = algorithm.ok_or(failure("no CHAP algorithm in common"))?;
            let challenge = Challenge::new(&self.connected.entropy, algorithm);
            answers.push("CHAP_A", algorithm.number().to_string());
            answers.push("CHAP_I", challenge.identifier.to_string());
            answers.push("CHAP_C", chap::encode(&challenge.bytes));
            state.chap = Chap::Response {
                algorithm,
                challenge,
            };
            return Ok(());
        }
        if pairs.get("CHAP_R").is_some() {
            let Chap::Response {
                algorithm,
                challenge,
            } = &state.chap
            else {
                return Err((LoginStatus::INITIATOR_ERROR, "CHAP_R came out of turn"));
            };
            let mutual =
                verify(admission, *algorithm, challenge, pairs, answers).map_err(failure)?;
            state.chap = Chap::Proven {
                algorithm: *algorithm,
                mutual,
            };
        }
        Ok(())
    }

    /// The operational keys, in whichever stage they come.
    fn negotiate(&mut self, pairs: &Pairs, answers: &mut Pairs) {
        for (key, value) in pairs.iter() {
            let is_other = matches!(
                key,
                "InitiatorName"
                    | "InitiatorAlias"
                    | "TargetName"
                    | "SessionType"
                    | "AuthMethod"
                    | "CHAP_A"
                    | "CHAP_I"
                    | "CHAP_C"
                    | "CHAP_N"
                    | "CHAP_R"
            );
            if is_other {
                continue;
            }
            let wanted = &self.config.parameters;
            let digests = self.config.digests;
            let said = negotiate::answer(&mut self.parameters, wanted, digests, key, value);
            if let Some(said) = said {
                answers.push(key, said);
            }
        }
    }

    /// Answers, and goes on to the next stage where the initiator asks and nothing is missing.
    fn answer(
        &mut self,
        state: &mut LoginState,
        request: &LoginRequest,
        mut answers: Pairs,
    ) -> Result<bool, Refusal> {
        let transit = request.transit && state.is_proven();
        let is_last = transit && request.next_stage == Stage::FULL_FEATURE;
        // Told once, in the operational stage or with the last response.
        if (state.stage == Stage::OPERATIONAL || is_last)
            && !core::mem::replace(&mut state.declared, true)
        {
            let length = self.parameters.max_recv_data_segment_length;
            answers.push("MaxRecvDataSegmentLength", length.to_string());
        }
        let tsih = if is_last { self.connected.tsih } else { 0 };
        let next_stage = request.next_stage;
        let response = LoginResponse {
            transit,
            next_stage,
            tsih,
            ..self.response_to(request)
        };
        self.send(response.header(), &answers.to_bytes());
        if transit {
            state.stage = request.next_stage;
        }
        if is_last {
            self.enter_full_feature_phase(state);
        }
        Ok(is_last)
    }

    fn enter_full_feature_phase(&mut self, state: &mut LoginState) {
        let Some(applicant) = state.applicant.take() else {
            return;
        };
        let (authentication, algorithm) = match state.chap {
            Chap::Proven {
                algorithm,
                mutual: true,
            } => (Authentication::Mutual, Some(algorithm)),
            Chap::Proven {
                algorithm,
                mutual: false,
            } => (Authentication::OneWay, Some(algorithm)),
            _ => (Authentication::None, None),
        };
        let agreed = &self.parameters;
        self.digests = Digests {
            header: agreed.header_digest,
            data: agreed.data_digest,
        };
        self.decoder.set_digests(self.digests);
        self.session = Some(Session {
            initiator_name: applicant.initiator_name.clone(),
            target_name: applicant.target_name.clone(),
        });
        self.events.push_back(Event::LoggedIn(Login {
            initiator_name: applicant.initiator_name,
            isid: applicant.isid,
            tsih: self.connected.tsih,
            target_name: applicant.target_name,
            initiator_alias: applicant.initiator_alias,
            authentication,
            algorithm,
            parameters: self.parameters.clone(),
        }));
    }
}

/// The header of a request: what RFC 7143 section 11.12 demands whatever the text says.
fn check_request(state: &mut LoginState, request: &LoginRequest) -> Result<(), Refusal> {
    state.exchanges += 1;
    if state.exchanges > EXCHANGES_MAX {
        return Err((
            LoginStatus::INITIATOR_ERROR,
            "the login does not come to an end",
        ));
    }
    if request.version_min > 0 {
        return Err((
            LoginStatus::UNSUPPORTED_VERSION,
            "the protocol version is unknown",
        ));
    }
    let stages = (request.current_stage, request.next_stage);
    let legal = match stages {
        (Stage::SECURITY, Stage::OPERATIONAL | Stage::FULL_FEATURE)
        | (Stage::OPERATIONAL, Stage::FULL_FEATURE) => true,
        (Stage::SECURITY | Stage::OPERATIONAL, _) => !request.transit,
        _ => false,
    };
    if !legal || (request.transit && request.is_continued) {
        return Err((LoginStatus::INITIATOR_ERROR, "the stages make no sense"));
    }
    if let Some(applicant) = &state.applicant {
        let same = applicant.isid == request.isid
            && applicant.task_tag == request.initiator_task_tag
            && applicant.cid == request.cid;
        if !same {
            return Err((
                LoginStatus::INITIATOR_ERROR,
                "the request is of another login",
            ));
        }
    }
    Ok(())
}

/// Checks the initiator's response, and answers its challenge if there is one. Whether there is.
fn verify(
    admission: &Admission,
    algorithm: Algorithm,
    challenge: &Challenge,
    pairs: &Pairs,
    answers: &mut Pairs,
) -> Result<bool, &'static str> {
    let name = pairs.get("CHAP_N").ok_or("CHAP_N is missing")?;
    let response = pairs
        .get("CHAP_R")
        .and_then(chap::decode)
        .ok_or("CHAP_R cannot be read")?;
    let expected = |secret| algorithm.response(challenge.identifier, secret, &challenge.bytes);
    // RFC 7143 section 9.2.1: what we would have answered ourselves is no proof.
    if let Some(reverse) = &admission.reverse
        && chap::is_same(&response, &expected(&reverse.secret))
    {
        return Err("the response is made with the target's own secret");
    }
    let known = admission
        .credentials
        .iter()
        .find(|credentials| credentials.name == name);
    let known = known.ok_or("the CHAP name is unknown")?;
    if !chap::is_same(&response, &expected(&known.secret)) {
        return Err("the CHAP response is wrong");
    }
    let theirs = match (pairs.get("CHAP_I"), pairs.get("CHAP_C")) {
        (None, None) => return Ok(false),
        (Some(identifier), Some(challenge)) => (identifier, challenge),
        _ => return Err("CHAP_I or CHAP_C is missing"),
    };
    let identifier = number(theirs.0).and_then(|identifier| u8::try_from(identifier).ok());
    let identifier = identifier.ok_or("CHAP_I cannot be read")?;
    let bytes: Vec<u8> = chap::decode(theirs.1).ok_or("CHAP_C cannot be read")?;
    if bytes == challenge.bytes {
        return Err("the initiator sent our own challenge back");
    }
    let reverse = admission.reverse.as_ref();
    let reverse = reverse.ok_or("the target is to prove itself, and has no secret for it")?;
    answers.push("CHAP_N", reverse.name.as_str());
    answers.push(
        "CHAP_R",
        chap::encode(&algorithm.response(identifier, &reverse.secret, &bytes)),
    );
    Ok(true)
}
