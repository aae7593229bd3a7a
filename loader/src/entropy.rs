//! Randomness fit for secrets: the firmware's generator, else the processor's.

use bowline_boot::platform::EntropyError;
use uefi::boot;
use uefi::proto::rng::Rng;

/// Fills `bytes` from the first source that works.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), EntropyError> {
    if bytes.is_empty() || from_firmware(bytes) || from_processor(bytes) {
        Ok(())
    } else {
        Err(EntropyError)
    }
}

/// `EFI_RNG_PROTOCOL` (UEFI 2.10 section 37.5) with the firmware's default algorithm.
fn from_firmware(bytes: &mut [u8]) -> bool {
    let Ok(handle) = boot::get_handle_for_protocol::<Rng>() else {
        return false;
    };
    let parameters = boot::OpenProtocolParams {
        handle,
        agent: boot::image_handle(),
        controller: None,
    };
    // SAFETY: the interface is used in this function only, which does not give the firmware an
    // occasion to uninstall it. Exclusive access is not asked for: it would disconnect a driver
    // that uses the generator for the firmware itself.
    let rng = unsafe {
        boot::open_protocol::<Rng>(parameters, boot::OpenProtocolAttributes::GetProtocol)
    };
    rng.is_ok_and(|mut rng| rng.get_rng(None, bytes).is_ok())
}

/// The processor's generator, 8 bytes at a time.
fn from_processor(bytes: &mut [u8]) -> bool {
    processor::is_present()
        && bytes.chunks_mut(8).all(|chunk| {
            processor::random().is_some_and(|word| {
                let word = word.to_le_bytes();
                chunk.copy_from_slice(word.get(..chunk.len()).unwrap_or_default());
                true
            })
        })
}

/// How often an instruction is tried that may find its generator short of entropy.
const TRIES: usize = 100;

#[cfg(target_arch = "aarch64")]
mod processor {
    use core::arch::asm;

    use super::TRIES;

    /// FEAT_RNG, told by ID_AA64ISAR0_EL1.RNDR (Arm ARM D19.2.61), bits 63:60.
    pub(super) fn is_present() -> bool {
        let features: u64;
        // SAFETY: reads an identification register; UEFI runs at EL1 or EL2, where that is
        // allowed. No memory and no flags are touched.
        unsafe {
            asm!("mrs {}, id_aa64isar0_el1", out(reg) features, options(nomem, nostack, preserves_flags));
        }
        features >> 60 != 0
    }

    /// RNDRRS, the generator reseeded for each read. To be called where [`is_present`] only.
    pub(super) fn random() -> Option<u64> {
        (0..TRIES).find_map(|_| {
            let word: u64;
            let ok: u64;
            // SAFETY: the register exists, as the caller has made sure; a read that fails sets Z
            // (Arm ARM D19.2.117). No memory is touched.
            unsafe {
                asm!(
                    "mrs {word}, s3_3_c2_c4_1",
                    "cset {ok}, ne",
                    word = out(reg) word,
                    ok = out(reg) ok,
                    options(nomem, nostack),
                );
            }
            (ok == 1).then_some(word)
        })
    }
}

#[cfg(target_arch = "x86_64")]
mod processor {
    use core::arch::asm;
    use core::arch::x86_64::__cpuid;

    use super::TRIES;

    /// RDRAND, told by CPUID leaf 1 ECX bit 30.
    pub(super) fn is_present() -> bool {
        __cpuid(1).ecx & 1 << 30 != 0
    }

    /// RDRAND. To be called where [`is_present`] only.
    ///
    /// Some processors answer all ones after a suspend, which is taken as a failure.
    pub(super) fn random() -> Option<u64> {
        (0..TRIES).find_map(|_| {
            let word: u64;
            let ok: u8;
            // SAFETY: the instruction exists, as the caller has made sure; a failure clears the
            // carry flag. No memory is touched.
            unsafe {
                asm!(
                    "rdrand {word}",
                    "setc {ok}",
                    word = out(reg) word,
                    ok = out(reg_byte) ok,
                    options(nomem, nostack),
                );
            }
            (ok == 1 && word != u64::MAX).then_some(word)
        })
    }
}
