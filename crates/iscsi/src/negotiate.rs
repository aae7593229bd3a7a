//! Operational parameters and how two ends come to agree on them (RFC 7143 section 6.2 and
//! chapter 13).
//!
//! Each key has one rule. [`answer`] applies it to an offer of the other end; [`conclude`]
//! checks the answer to an offer of ours against the same rule.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::text::{boolean, number, yes_no};

/// What a session runs with. The default is that of RFC 7143, in force for every key that is
/// not negotiated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// CRC32C over headers.
    pub header_digest: bool,
    /// CRC32C over data.
    pub data_digest: bool,
    /// Connections of the session.
    pub max_connections: u32,
    /// Data beyond the command waits for an R2T.
    pub initial_r2t: bool,
    /// Data may travel with the command.
    pub immediate_data: bool,
    /// The longest data segment this end takes.
    pub max_recv_data_segment_length: u32,
    /// The longest data segment the other end takes.
    pub max_send_data_segment_length: u32,
    /// The longest sequence of data PDUs.
    pub max_burst_length: u32,
    /// The most data that goes without being asked for, immediate data included.
    pub first_burst_length: u32,
    /// Seconds to wait before coming back after a failure.
    pub default_time2wait: u32,
    /// Seconds a target remembers tasks after a failure.
    pub default_time2retain: u32,
    /// R2Ts that a command may have open.
    pub max_outstanding_r2t: u32,
    /// The PDUs of a sequence come in order of their offsets.
    pub data_pdu_in_order: bool,
    /// Sequences come in order of their offsets.
    pub data_sequence_in_order: bool,
    /// 0: a failure ends the session.
    pub error_recovery_level: u32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            header_digest: false,
            data_digest: false,
            max_connections: 1,
            initial_r2t: true,
            immediate_data: true,
            max_recv_data_segment_length: 8192,
            max_send_data_segment_length: 8192,
            max_burst_length: 262_144,
            first_burst_length: 65_536,
            default_time2wait: 2,
            default_time2retain: 20,
            max_outstanding_r2t: 1,
            data_pdu_in_order: true,
            data_sequence_in_order: true,
            error_recovery_level: 0,
        }
    }
}

/// How the value of a key comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Yes if both want it.
    And,
    /// Yes if one wants it.
    Or,
    /// The smaller of the two, within a range.
    Minimum(u32, u32),
    /// The larger of the two, within a range.
    Maximum(u32, u32),
    /// Told, not negotiated, within a range.
    Declared(u32, u32),
    /// The first of a list that the other end can do: digests.
    Digest,
}

const SEGMENT_MAX: u32 = 0x00ff_ffff;

/// The rules (RFC 7143 sections 13.1, 13.2 and 13.10 to 13.20).
const RULES: [(&str, Rule); 15] = [
    ("HeaderDigest", Rule::Digest),
    ("DataDigest", Rule::Digest),
    ("MaxConnections", Rule::Minimum(1, 65_535)),
    ("InitialR2T", Rule::Or),
    ("ImmediateData", Rule::And),
    ("MaxRecvDataSegmentLength", Rule::Declared(512, SEGMENT_MAX)),
    ("MaxBurstLength", Rule::Minimum(512, SEGMENT_MAX)),
    ("FirstBurstLength", Rule::Minimum(512, SEGMENT_MAX)),
    ("DefaultTime2Wait", Rule::Maximum(0, 3600)),
    ("DefaultTime2Retain", Rule::Minimum(0, 3600)),
    ("MaxOutstandingR2T", Rule::Minimum(1, 65_535)),
    ("DataPDUInOrder", Rule::Or),
    ("DataSequenceInOrder", Rule::Or),
    ("ErrorRecoveryLevel", Rule::Minimum(0, 2)),
    // RFC 7144 section 7.1: 1 is RFC 7143.
    ("iSCSIProtocolLevel", Rule::Minimum(0, 31)),
];

fn rule(key: &str) -> Option<Rule> {
    RULES
        .iter()
        .find(|(name, _)| *name == key)
        .map(|(_, rule)| *rule)
}

/// A value read by its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Flag(bool),
    Number(u32),
}

impl Value {
    fn parse(rule: Rule, text: &str) -> Option<Self> {
        match rule {
            Rule::And | Rule::Or => boolean(text).map(Self::Flag),
            Rule::Digest => match text {
                "None" => Some(Self::Flag(false)),
                "CRC32C" => Some(Self::Flag(true)),
                _ => None,
            },
            Rule::Minimum(low, high) | Rule::Maximum(low, high) | Rule::Declared(low, high) => {
                number(text)
                    .filter(|value| (low..=high).contains(value))
                    .map(Self::Number)
            }
        }
    }

    /// The text of the value.
    fn text(self, rule: Rule) -> String {
        match self {
            Self::Flag(flag) if rule == Rule::Digest => {
                if flag { "CRC32C" } else { "None" }.to_string()
            }
            Self::Flag(flag) => yes_no(flag).to_string(),
            Self::Number(number) => number.to_string(),
        }
    }

    /// The result function (RFC 7143 section 6.2.2) on what the two ends say.
    fn result(rule: Rule, offered: Self, ours: Self) -> Self {
        match (rule, offered, ours) {
            (Rule::And, Self::Flag(a), Self::Flag(b)) => Self::Flag(a && b),
            (Rule::Or, Self::Flag(a), Self::Flag(b)) => Self::Flag(a || b),
            (Rule::Minimum(..), Self::Number(a), Self::Number(b)) => Self::Number(a.min(b)),
            (Rule::Maximum(..), Self::Number(a), Self::Number(b)) => Self::Number(a.max(b)),
            _ => offered,
        }
    }
}

/// A field of [`Parameters`].
enum Field<'a> {
    Flag(&'a mut bool),
    Number(&'a mut u32),
}

impl Parameters {
    /// The field of a key, as this end wants it or as it was agreed. What the other end declares
    /// as its MaxRecvDataSegmentLength is not among them.
    fn field(&mut self, key: &str) -> Option<Field<'_>> {
        Some(match key {
            "HeaderDigest" => Field::Flag(&mut self.header_digest),
            "DataDigest" => Field::Flag(&mut self.data_digest),
            "MaxConnections" => Field::Number(&mut self.max_connections),
            "InitialR2T" => Field::Flag(&mut self.initial_r2t),
            "ImmediateData" => Field::Flag(&mut self.immediate_data),
            "MaxRecvDataSegmentLength" => Field::Number(&mut self.max_recv_data_segment_length),
            "MaxBurstLength" => Field::Number(&mut self.max_burst_length),
            "FirstBurstLength" => Field::Number(&mut self.first_burst_length),
            "DefaultTime2Wait" => Field::Number(&mut self.default_time2wait),
            "DefaultTime2Retain" => Field::Number(&mut self.default_time2retain),
            "MaxOutstandingR2T" => Field::Number(&mut self.max_outstanding_r2t),
            "DataPDUInOrder" => Field::Flag(&mut self.data_pdu_in_order),
            "DataSequenceInOrder" => Field::Flag(&mut self.data_sequence_in_order),
            "ErrorRecoveryLevel" => Field::Number(&mut self.error_recovery_level),
            _ => return None,
        })
    }

    fn value(&self, key: &str) -> Option<Value> {
        let mut copy = self.clone();
        Some(match copy.field(key)? {
            Field::Flag(flag) => Value::Flag(*flag),
            Field::Number(number) => Value::Number(*number),
        })
    }

    fn set(&mut self, key: &str, value: Value) {
        match (self.field(key), value) {
            (Some(Field::Flag(flag)), Value::Flag(value)) => *flag = value,
            (Some(Field::Number(number)), Value::Number(value)) => *number = value,
            _ => {}
        }
    }
}

/// The offers of an initiator that wants `wanted`, as key and value. Digests are insisted on.
#[must_use]
pub fn offers(wanted: &Parameters) -> Vec<(&'static str, String)> {
    let offer = |(key, rule): &(&'static str, Rule)| {
        wanted.value(key).map(|value| (*key, value.text(*rule)))
    };
    RULES.iter().filter_map(offer).collect()
}

/// Takes into `agreed` what is agreed on where the other end says nothing to an offer of
/// [`offers`], as it may when that decides (RFC 7143 section 6.2.2).
pub fn presume(agreed: &mut Parameters, wanted: &Parameters) {
    for (key, rule) in RULES {
        let decided = match rule {
            Rule::And => Value::Flag(false),
            Rule::Or => Value::Flag(true),
            _ => continue,
        };
        if wanted.value(key) == Some(decided) {
            agreed.set(key, decided);
        }
    }
}

/// The answer to an offer or declaration of the other end, and takes its result into `agreed`.
/// `ours` is what this end wants, with `digests` where it can do them. `None` where nothing is to
/// be said.
#[must_use]
pub fn answer(
    agreed: &mut Parameters,
    ours: &Parameters,
    digests: bool,
    key: &str,
    text: &str,
) -> Option<String> {
    // The answers to answers of ours that displeased: nothing to add.
    if matches!(text, "Reject" | "Irrelevant" | NOT_UNDERSTOOD) {
        return None;
    }
    let Some(rule) = rule(key) else {
        return Some(answer_other(key, text).to_string());
    };
    if key == "iSCSIProtocolLevel" {
        return Some(
            number(text)
                .map_or("Reject", |level| if level == 0 { "0" } else { "1" })
                .into(),
        );
    }
    if rule == Rule::Digest {
        // A list: the first that we can do (RFC 7143 section 6.2.1).
        let known = |name: &&str| *name == "None" || (*name == "CRC32C" && digests);
        let Some(chosen) = text.split(',').find(known) else {
            return Some("Reject".to_string());
        };
        agreed.set(key, Value::Flag(chosen == "CRC32C"));
        return Some(chosen.to_string());
    }
    let Some(offered) = Value::parse(rule, text) else {
        return Some("Reject".to_string());
    };
    if let (Rule::Declared(..), Value::Number(length)) = (rule, offered) {
        agreed.max_send_data_segment_length = length;
        return None;
    }
    let result = Value::result(rule, offered, ours.value(key)?);
    agreed.set(key, result);
    Some(result.text(rule))
}

/// What is answered to a key that is not known (RFC 7143 section 6.2).
pub(crate) const NOT_UNDERSTOOD: &str = "NotUnderstood";

/// The answers to keys without a parameter of ours.
fn answer_other(key: &str, text: &str) -> &'static str {
    match key {
        // Obsolete (RFC 7143 section 13.23): never used, but old initiators still say so.
        "IFMarker" | "OFMarker" => "No",
        "IFMarkInt" | "OFMarkInt" => "Reject",
        // RFC 7143 section 13.23: what a target without the newer ways says.
        "TaskReporting" if text.split(',').any(|way| way == "RFC3720") => "RFC3720",
        "TaskReporting" => "Reject",
        _ => NOT_UNDERSTOOD,
    }
}

/// The other end's value does not follow from what was offered to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IllegalAnswer;

/// Takes the answer to an offer of [`offers`] into `agreed`.
///
/// # Errors
/// [`IllegalAnswer`] where the rule of the key does not allow it.
pub fn conclude(
    agreed: &mut Parameters,
    wanted: &Parameters,
    key: &str,
    text: &str,
) -> Result<(), IllegalAnswer> {
    let rule = rule(key).ok_or(IllegalAnswer)?;
    // Then the key keeps its default (RFC 7143 section 6.2).
    if matches!(text, "Irrelevant" | NOT_UNDERSTOOD) {
        return Ok(());
    }
    let answered = Value::parse(rule, text).ok_or(IllegalAnswer)?;
    let ours = wanted.value(key).ok_or(IllegalAnswer)?;
    let legal = match (rule, ours) {
        (Rule::Declared(..), _) => {
            if let Value::Number(length) = answered {
                agreed.max_send_data_segment_length = length;
            }
            return Ok(());
        }
        (Rule::Digest, _) => answered == ours,
        // The result function must leave the answer as it is.
        _ => Value::result(rule, ours, answered) == answered,
    };
    if !legal {
        return Err(IllegalAnswer);
    }
    agreed.set(key, answered);
    Ok(())
}

/// Whether `key` is one that [`offers`] offers.
pub(crate) fn is_parameter(key: &str) -> bool {
    Parameters::default().field(key).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes() -> Parameters {
        Parameters {
            initial_r2t: false,
            immediate_data: true,
            max_burst_length: 1_048_576,
            first_burst_length: 262_144,
            max_outstanding_r2t: 4,
            ..Parameters::default()
        }
    }

    #[test]
    fn every_key_follows_its_result_function() {
        for (key, offered, expected) in [
            ("HeaderDigest", "None", Some("None")),
            ("HeaderDigest", "CRC32C,None", Some("CRC32C")),
            ("HeaderDigest", "X-other,None", Some("None")),
            ("DataDigest", "X-other", Some("Reject")),
            ("MaxConnections", "8", Some("1")),
            ("MaxConnections", "0", Some("Reject")),
            ("InitialR2T", "Yes", Some("Yes")),
            ("InitialR2T", "No", Some("No")),
            ("ImmediateData", "Yes", Some("Yes")),
            ("ImmediateData", "No", Some("No")),
            ("ImmediateData", "yes", Some("Reject")),
            ("MaxRecvDataSegmentLength", "65536", None),
            ("MaxRecvDataSegmentLength", "511", Some("Reject")),
            ("MaxBurstLength", "16776192", Some("1048576")),
            ("MaxBurstLength", "0x10000", Some("65536")),
            ("FirstBurstLength", "16777216", Some("Reject")),
            ("DefaultTime2Wait", "0", Some("2")),
            ("DefaultTime2Wait", "3", Some("3")),
            ("DefaultTime2Retain", "0", Some("0")),
            ("MaxOutstandingR2T", "1", Some("1")),
            ("MaxOutstandingR2T", "100", Some("4")),
            ("DataPDUInOrder", "No", Some("Yes")),
            ("DataSequenceInOrder", "No", Some("Yes")),
            ("ErrorRecoveryLevel", "2", Some("0")),
            ("ErrorRecoveryLevel", "3", Some("Reject")),
            ("iSCSIProtocolLevel", "2", Some("1")),
            ("TaskReporting", "FastAbort,RFC3720", Some("RFC3720")),
            ("IFMarker", "Yes", Some("No")),
            ("OFMarkInt", "2048~8192", Some("Reject")),
            ("X-com.example.key", "1", Some("NotUnderstood")),
            ("X-com.example.key", "NotUnderstood", None),
        ] {
            let mut agreed = Parameters::default();
            let said = answer(&mut agreed, &wishes(), true, key, offered);
            assert_eq!(said.as_deref(), expected, "{key}={offered}");
        }
    }

    #[test]
    fn results_are_in_force() {
        let mut agreed = Parameters::default();
        for (key, value) in [
            ("HeaderDigest", "CRC32C"),
            ("MaxRecvDataSegmentLength", "4096"),
            ("MaxBurstLength", "131072"),
            ("InitialR2T", "No"),
        ] {
            let _ = answer(&mut agreed, &wishes(), true, key, value);
        }
        let expected = Parameters {
            header_digest: true,
            max_send_data_segment_length: 4096,
            max_burst_length: 131_072,
            initial_r2t: false,
            ..Parameters::default()
        };
        assert_eq!(agreed, expected);
        assert_eq!(
            answer(&mut agreed, &wishes(), false, "DataDigest", "CRC32C").as_deref(),
            Some("Reject")
        );
    }

    #[test]
    fn answers_must_follow_from_offers() {
        for (key, text, legal) in [
            ("MaxBurstLength", "262144", true),
            ("MaxBurstLength", "1048576", true),
            ("MaxBurstLength", "2097152", false),
            ("MaxBurstLength", "many", false),
            ("InitialR2T", "Yes", true),
            ("InitialR2T", "No", true),
            ("ImmediateData", "No", true),
            ("DefaultTime2Wait", "1", false),
            ("DefaultTime2Wait", "5", true),
            ("DefaultTime2Retain", "21", false),
            ("DataPDUInOrder", "Yes", true),
            ("DataPDUInOrder", "No", false),
            ("HeaderDigest", "None", true),
            ("HeaderDigest", "CRC32C", false),
            ("ErrorRecoveryLevel", "Reject", false),
            ("MaxOutstandingR2T", "Irrelevant", true),
            ("MaxRecvDataSegmentLength", "1024", true),
        ] {
            let mut agreed = Parameters::default();
            let outcome = conclude(&mut agreed, &wishes(), key, text);
            assert_eq!(outcome.is_ok(), legal, "{key}={text}");
        }
    }

    #[test]
    fn silence_is_consent_where_an_offer_decides() {
        let wanted = Parameters {
            immediate_data: false,
            ..wishes()
        };
        let mut agreed = Parameters::default();
        presume(&mut agreed, &wanted);
        let expected = Parameters {
            immediate_data: false,
            ..Parameters::default()
        };
        // InitialR2T=No does not decide: without an answer its default stays.
        assert_eq!(agreed, expected);
    }

    #[test]
    fn both_ends_come_to_the_same() {
        let (ours, theirs) = (
            wishes(),
            Parameters {
                immediate_data: false,
                ..wishes()
            },
        );
        let mut target = Parameters::default();
        let mut initiator = Parameters::default();
        for (key, value) in offers(&ours) {
            if let Some(said) = answer(&mut target, &theirs, true, key, &value) {
                conclude(&mut initiator, &ours, key, &said).unwrap();
            }
        }
        assert_eq!(initiator, target);
        assert!(!target.immediate_data && !target.initial_r2t);
    }
}
