//! The TLS handshake: within a time, so many at once, and in words when it fails.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::{
    AlertDescription as Alert, CertificateError, Error as TlsError, InvalidMessage,
    PeerIncompatible, ServerConfig,
};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::identity::Identity;

/// How many handshakes may be under way: signing is what costs a server most.
pub(super) const HANDSHAKES_MAX: usize = 64;
/// How long a handshake may take once it is its turn.
pub(super) const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Makes `stream` a TLS connection and tells who the client has proved to be. A failure is logged
/// and gives `None`.
pub(super) async fn accept(
    stream: TcpStream,
    peer: SocketAddr,
    config: Arc<ServerConfig>,
    turns: &Semaphore,
    limit: Duration,
) -> Option<(TlsStream<TcpStream>, Option<Identity>)> {
    let _turn = turns.acquire().await;
    let handshake = TlsAcceptor::from(config).accept(stream);
    let stream = match tokio::time::timeout(limit, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
            match tls {
                Some(error) => {
                    let words = reason(error);
                    tracing::warn!("https: {peer}: TLS handshake failed: {words}");
                }
                // Somebody looked whether the port is open, most likely.
                None => tracing::info!("https: {peer}: gone during the TLS handshake: {error}"),
            }
            return None;
        }
        Err(_) => {
            tracing::warn!("https: {peer}: TLS handshake failed: not finished within {limit:?}");
            return None;
        }
    };
    // rustls has verified the chain before it tells it.
    let (_, connection) = stream.get_ref();
    let certificate = connection.peer_certificates().and_then(<[_]>::first);
    let identity = certificate.map(Identity::of);
    Some((stream, identity))
}

/// What happened, who is to blame and what to try.
fn reason(error: &TlsError) -> String {
    let advice = match error {
        TlsError::NoCertificatesPresented => {
            return "the client shows no certificate, and client-auth = \"required\" asks for one \
                    (bowline ca issue client makes it, bowline loader pack takes it along)"
                .into();
        }
        TlsError::InvalidCertificate(error) => {
            return format!(
                "the client's certificate is refused: {}",
                certificate_reason(error)
            );
        }
        TlsError::AlertReceived(alert) => match alert {
            Alert::UnknownCA | Alert::BadCertificate | Alert::CertificateUnknown => {
                "the client does not accept our certificate; does it trust the CA, and is this the \
                 name that it asked for?"
            }
            Alert::CertificateExpired => "the client finds our certificate expired; its clock?",
            Alert::ProtocolVersion | Alert::HandshakeFailure | Alert::InsufficientSecurity => {
                "the client finds no version or cipher suite in common"
            }
            _ => "the client gave up",
        },
        TlsError::PeerIncompatible(
            // What TLS 1.0 and 1.1 do not send is looked for first.
            PeerIncompatible::SignatureAlgorithmsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        ) => "the client is too old; TLS 1.2 is the least",
        TlsError::PeerIncompatible(_) => "the client has too little in common with us",
        TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "that is not TLS; an http:// URL for the port of https?"
        }
        TlsError::NoApplicationProtocol => "the client does not want HTTP/1.1",
        _ => return error.to_string(),
    };
    format!("{advice} ({error})")
}

fn certificate_reason(error: &CertificateError) -> String {
    let advice = match error {
        CertificateError::UnknownIssuer => "nobody in client-ca has issued it",
        CertificateError::BadSignature => "its issuer has the right name and the wrong key",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired; bowline ca issue client makes a new one"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; is the clock of this server right?"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not for clients (no clientAuth); bowline ca issue client makes one"
        }
        _ => return error.to_string(),
    };
    format!("{advice} ({error})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_with_advice_and_with_the_words_of_rustls() {
        for (error, advice, original) in [
            (
                TlsError::InvalidCertificate(CertificateError::UnknownIssuer),
                "the client's certificate is refused: nobody in client-ca has issued it",
                "(UnknownIssuer)",
            ),
            (
                TlsError::AlertReceived(Alert::UnknownCA),
                "the client does not accept our certificate; does it trust the CA",
                "(received fatal alert: UnknownCA)",
            ),
            (
                TlsError::NoCertificatesPresented,
                "the client shows no certificate",
                "client-auth = \"required\"",
            ),
            (TlsError::DecryptError, "", "cannot decrypt peer's message"),
        ] {
            let told = reason(&error);
            assert!(
                told.starts_with(advice) && told.contains(original),
                "{told}"
            );
        }
    }
}
