//! What firmware hands to the loader: lists of certificates, the answers of a TPM.

use bowline_loader::{signature_list, tpm};

pub(super) fn signature_list(data: &[u8]) {
    let certificates = signature_list::certificates(data).unwrap_or_default();
    let total: usize = certificates.iter().map(|der| der.len()).sum();
    assert!(total <= data.len());
}

pub(super) fn tpm_response(data: &[u8]) {
    if let Some(bytes) = tpm::random_bytes(data) {
        // Header and length stand in front of them.
        assert!(bytes.len() + 12 <= data.len());
    }
}
