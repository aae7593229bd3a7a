//! Record protection: TLS 1.3 (RFC 8446 section 5.2), TLS 1.2 with AES-GCM (RFC 5288) and with
//! ChaCha20-Poly1305 (RFC 7905).

use super::backend::{Aead, Forged};
use alloc::boxed::Box;
use rustls::crypto::cipher::{
    AeadKey, BorrowedPayload, InboundOpaqueMessage, InboundPlainMessage, Iv, KeyBlockShape,
    MessageDecrypter, MessageEncrypter, NONCE_LEN, Nonce, OutboundOpaqueMessage,
    OutboundPlainMessage, PrefixedPayload, Tls12AeadAlgorithm, Tls13AeadAlgorithm,
    UnsupportedOperationError, make_tls12_aad, make_tls13_aad,
};
use rustls::{ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion};

/// RFC 8446 section 5.1 and RFC 5246 section 6.2.1: the most plaintext a record may carry.
const MAX_PLAINTEXT: usize = 1 << 14;
const TAG: usize = 16;
/// RFC 5288 section 3: the part of the nonce that is sent with each record.
const EXPLICIT_NONCE: usize = 8;

/// One AEAD of a back end: its key length and how to make it.
pub(super) struct Cipher {
    pub(super) key_len: usize,
    pub(super) make: fn(&[u8]) -> Box<dyn Aead>,
}

/// Calls `make` with the key if it has the right length; rustls only passes right ones.
pub(super) fn keyed<const N: usize>(
    key: &[u8],
    make: impl FnOnce(&[u8; N]) -> Box<dyn Aead>,
) -> Box<dyn Aead> {
    match key.try_into() {
        Ok(key) => make(key),
        Err(_) => Box::new(Unusable),
    }
}

/// Stands for a cipher without a proper key: nothing can be sealed or opened.
struct Unusable;

impl Aead for Unusable {
    fn seal(&self, _: &[u8; 12], _: &[u8], _: &mut [u8]) -> Option<[u8; 16]> {
        None
    }

    fn open(&self, _: &[u8; 12], _: &[u8], _: &mut [u8], _: &[u8; 16]) -> Result<(), Forged> {
        Err(Forged)
    }
}

impl Tls13AeadAlgorithm for Cipher {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Tls13Record {
            aead: (self.make)(key.as_ref()),
            iv,
        })
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(Tls13Record {
            aead: (self.make)(key.as_ref()),
            iv,
        })
    }

    fn key_len(&self) -> usize {
        self.key_len
    }

    fn extract_keys(
        &self,
        _: AeadKey,
        _: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

struct Tls13Record {
    aead: Box<dyn Aead>,
    iv: Iv,
}

impl MessageEncrypter for Tls13Record {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        sequence: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let length = self.encrypted_payload_len(message.payload.len());
        let mut payload = PrefixedPayload::with_capacity(length);
        payload.extend_from_chunks(&message.payload);
        payload.extend_from_slice(&[message.typ.into()]);
        let nonce = Nonce::new(&self.iv, sequence).0;
        let tag = self
            .aead
            .seal(&nonce, &make_tls13_aad(length), payload.as_mut())
            .ok_or(Error::EncryptError)?;
        payload.extend_from_slice(&tag);
        // RFC 8446 section 5.2: opaque_type and legacy_record_version are constants.
        Ok(OutboundOpaqueMessage::new(
            ContentType::ApplicationData,
            ProtocolVersion::TLSv1_2,
            payload,
        ))
    }

    fn encrypted_payload_len(&self, payload_len: usize) -> usize {
        payload_len + 1 + TAG
    }
}

impl MessageDecrypter for Tls13Record {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        sequence: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let payload = &mut message.payload;
        let aad = make_tls13_aad(payload.len());
        let nonce = Nonce::new(&self.iv, sequence).0;
        let length = open(&*self.aead, &nonce, &aad, payload, 0)?;
        payload.truncate(length);
        message.into_tls13_unpadded_message()
    }
}

/// Opens what follows the first `skip` bytes of `payload` in place; returns where the plain text
/// ends, counted from the start of the payload.
fn open(
    aead: &dyn Aead,
    nonce: &[u8; 12],
    aad: &[u8],
    payload: &mut BorrowedPayload<'_>,
    skip: usize,
) -> Result<usize, Error> {
    let sealed = payload.get_mut(skip..).ok_or(Error::DecryptError)?;
    let (text, tag) = sealed
        .split_last_chunk_mut::<TAG>()
        .ok_or(Error::DecryptError)?;
    aead.open(nonce, aad, text, tag)
        .map_err(|Forged| Error::DecryptError)?;
    Ok(skip + text.len())
}

/// AES-GCM as TLS 1.2 uses it.
pub(super) struct Tls12Gcm(pub(super) Cipher);

impl Tls12AeadAlgorithm for Tls12Gcm {
    fn encrypter(&self, key: AeadKey, iv: &[u8], extra: &[u8]) -> Box<dyn MessageEncrypter> {
        // RFC 5288 leaves the explicit nonce to the sender, if it is unique: like TLS 1.3, a
        // starting point from the key block XORed with the sequence number.
        let mut start = [0; NONCE_LEN];
        for (to, from) in start.iter_mut().zip(iv.iter().chain(extra)) {
            *to = *from;
        }
        Box::new(GcmEncrypter {
            aead: (self.0.make)(key.as_ref()),
            iv: Iv::new(start),
        })
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        let mut salt = [0; 4];
        for (to, from) in salt.iter_mut().zip(iv) {
            *to = *from;
        }
        Box::new(GcmDecrypter {
            aead: (self.0.make)(key.as_ref()),
            salt,
        })
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        KeyBlockShape {
            enc_key_len: self.0.key_len,
            fixed_iv_len: 4,
            explicit_nonce_len: EXPLICIT_NONCE,
        }
    }

    fn extract_keys(
        &self,
        _: AeadKey,
        _: &[u8],
        _: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

struct GcmEncrypter {
    aead: Box<dyn Aead>,
    iv: Iv,
}

impl MessageEncrypter for GcmEncrypter {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        sequence: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let length = message.payload.len();
        let mut payload = PrefixedPayload::with_capacity(self.encrypted_payload_len(length));
        let nonce = Nonce::new(&self.iv, sequence).0;
        payload.extend_from_slice(nonce.last_chunk::<EXPLICIT_NONCE>().unwrap_or(&[0; 8]));
        payload.extend_from_chunks(&message.payload);
        let aad = make_tls12_aad(sequence, message.typ, message.version, length);
        let text = payload
            .as_mut()
            .get_mut(EXPLICIT_NONCE..)
            .ok_or(Error::EncryptError)?;
        let tag = self
            .aead
            .seal(&nonce, &aad, text)
            .ok_or(Error::EncryptError)?;
        payload.extend_from_slice(&tag);
        Ok(OutboundOpaqueMessage::new(
            message.typ,
            message.version,
            payload,
        ))
    }

    fn encrypted_payload_len(&self, payload_len: usize) -> usize {
        payload_len + EXPLICIT_NONCE + TAG
    }
}

struct GcmDecrypter {
    aead: Box<dyn Aead>,
    salt: [u8; 4],
}

impl MessageDecrypter for GcmDecrypter {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        sequence: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let payload = &mut message.payload;
        let plain = payload
            .len()
            .checked_sub(EXPLICIT_NONCE + TAG)
            .ok_or(Error::DecryptError)?;
        let mut nonce = [0; NONCE_LEN];
        for (to, from) in nonce.iter_mut().zip(self.salt.iter().chain(payload.iter())) {
            *to = *from;
        }
        let aad = make_tls12_aad(sequence, message.typ, message.version, plain);
        let end = open(&*self.aead, &nonce, &aad, payload, EXPLICIT_NONCE)?;
        if plain > MAX_PLAINTEXT {
            return Err(Error::PeerSentOversizedRecord);
        }
        Ok(message.into_plain_message_range(EXPLICIT_NONCE..end))
    }
}

/// ChaCha20-Poly1305 as TLS 1.2 uses it.
pub(super) struct Tls12ChaCha20(pub(super) Cipher);

impl Tls12AeadAlgorithm for Tls12ChaCha20 {
    fn encrypter(&self, key: AeadKey, iv: &[u8], _: &[u8]) -> Box<dyn MessageEncrypter> {
        Box::new(ChaCha20Record {
            aead: (self.0.make)(key.as_ref()),
            iv: Iv::copy(iv),
        })
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        Box::new(ChaCha20Record {
            aead: (self.0.make)(key.as_ref()),
            iv: Iv::copy(iv),
        })
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        KeyBlockShape {
            enc_key_len: self.0.key_len,
            fixed_iv_len: NONCE_LEN,
            explicit_nonce_len: 0,
        }
    }

    fn extract_keys(
        &self,
        _: AeadKey,
        _: &[u8],
        _: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

struct ChaCha20Record {
    aead: Box<dyn Aead>,
    iv: Iv,
}

impl MessageEncrypter for ChaCha20Record {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        sequence: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let length = message.payload.len();
        let mut payload = PrefixedPayload::with_capacity(self.encrypted_payload_len(length));
        payload.extend_from_chunks(&message.payload);
        let aad = make_tls12_aad(sequence, message.typ, message.version, length);
        let nonce = Nonce::new(&self.iv, sequence).0;
        let tag = self
            .aead
            .seal(&nonce, &aad, payload.as_mut())
            .ok_or(Error::EncryptError)?;
        payload.extend_from_slice(&tag);
        Ok(OutboundOpaqueMessage::new(
            message.typ,
            message.version,
            payload,
        ))
    }

    fn encrypted_payload_len(&self, payload_len: usize) -> usize {
        payload_len + TAG
    }
}

impl MessageDecrypter for ChaCha20Record {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        sequence: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let payload = &mut message.payload;
        let plain = payload.len().checked_sub(TAG).ok_or(Error::DecryptError)?;
        let aad = make_tls12_aad(sequence, message.typ, message.version, plain);
        let nonce = Nonce::new(&self.iv, sequence).0;
        let end = open(&*self.aead, &nonce, &aad, payload, 0)?;
        if plain > MAX_PLAINTEXT {
            return Err(Error::PeerSentOversizedRecord);
        }
        payload.truncate(end);
        Ok(message.into_plain_message())
    }
}
