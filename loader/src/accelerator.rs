//! The processor's AES, carry-less multiplication and SHA instructions, where it has them.
//!
//! The functions are those of `crates/cipher`, compiled once more with these instructions and
//! linked in by `cargo xtask build`. `bowline_tls` compares them with the portable code before it
//! uses them.

use bowline_tls::provider::Accelerator;

/// What TLS may use here; nothing if the processor lacks an instruction or the loader was built
/// without the library.
pub(crate) fn find() -> Option<Accelerator> {
    #[cfg(bowline_accelerator)]
    if is_usable() {
        return Some(Accelerator {
            aes_gcm_seal: library::aes_gcm_seal,
            aes_gcm_open: library::aes_gcm_open,
            sha256_blocks: library::sha256_blocks,
        });
    }
    None
}

/// AES, PCLMULQDQ, SSSE3 and SSE4.1 (Intel SDM volume 2, CPUID), and SSE switched on by the firmware (volume 3,
/// section 15.1). SHA is found out by the library itself.
#[cfg(all(bowline_accelerator, target_arch = "x86_64"))]
fn is_usable() -> bool {
    use core::arch::asm;
    use core::arch::x86_64::__cpuid;
    const PCLMULQDQ: u32 = 1 << 1;
    const SSSE3: u32 = 1 << 9;
    const SSE4_1: u32 = 1 << 19;
    const AES: u32 = 1 << 25;
    const NEEDED: u32 = PCLMULQDQ | SSSE3 | SSE4_1 | AES;
    /// CR0.EM and CR0.TS: SSE instructions trap.
    const TRAPPING: u64 = 1 << 2 | 1 << 3;
    /// CR4.OSFXSR: SSE is switched on.
    const OSFXSR: u64 = 1 << 9;
    let (cr0, cr4): (u64, u64);
    // SAFETY: reading control registers changes nothing; UEFI runs applications in ring 0 (UEFI
    // 2.10 section 2.3.4), where it is allowed.
    unsafe {
        asm!("mov {}, cr0", "mov {}, cr4", out(reg) cr0, out(reg) cr4,
             options(nomem, nostack, preserves_flags));
    }
    __cpuid(1).ecx & NEEDED == NEEDED && cr0 & TRAPPING == 0 && cr4 & OSFXSR != 0
}

/// ID_AA64ISAR0_EL1 (Arm ARM D23.2.61): AES with PMULL, and SHA-256. NEON itself is in the base
/// that UEFI prescribes.
#[cfg(all(bowline_accelerator, target_arch = "aarch64"))]
fn is_usable() -> bool {
    use core::arch::asm;
    let features: u64;
    // SAFETY: an identification register, readable at the exception levels UEFI runs at.
    unsafe {
        asm!("mrs {}, ID_AA64ISAR0_EL1", out(reg) features,
             options(nomem, nostack, preserves_flags));
    }
    let (aes, sha2) = (features >> 4 & 0xf, features >> 12 & 0xf);
    aes >= 2 && sha2 >= 1
}

#[cfg(bowline_accelerator)]
mod library {
    use bowline_tls::provider::{NONCE, TAG};

    // As in crates/cipher/src/ffi.rs.
    unsafe extern "C" {
        fn bowline_aes_gcm_seal(
            key: *const u8,
            key_len: usize,
            nonce: *const [u8; NONCE],
            aad: *const u8,
            aad_len: usize,
            text: *mut u8,
            text_len: usize,
            tag: *mut [u8; TAG],
        ) -> bool;
        fn bowline_aes_gcm_open(
            key: *const u8,
            key_len: usize,
            nonce: *const [u8; NONCE],
            aad: *const u8,
            aad_len: usize,
            text: *mut u8,
            text_len: usize,
            tag: *const [u8; TAG],
        ) -> bool;
        fn bowline_sha256_blocks(state: *mut [u32; 8], blocks: *const [u8; 64], count: usize);
    }

    pub(super) fn aes_gcm_seal(
        key: &[u8],
        nonce: &[u8; NONCE],
        aad: &[u8],
        text: &mut [u8],
    ) -> Option<[u8; TAG]> {
        let mut tag = [0; TAG];
        // SAFETY: all pointers come from references that live longer than the call; `find` has
        // seen that the processor has the library's instructions.
        let done = unsafe {
            bowline_aes_gcm_seal(
                key.as_ptr(),
                key.len(),
                nonce,
                aad.as_ptr(),
                aad.len(),
                text.as_mut_ptr(),
                text.len(),
                &mut tag,
            )
        };
        done.then_some(tag)
    }

    pub(super) fn aes_gcm_open(
        key: &[u8],
        nonce: &[u8; NONCE],
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG],
    ) -> Option<()> {
        // SAFETY: as above.
        let done = unsafe {
            bowline_aes_gcm_open(
                key.as_ptr(),
                key.len(),
                nonce,
                aad.as_ptr(),
                aad.len(),
                text.as_mut_ptr(),
                text.len(),
                tag,
            )
        };
        done.then_some(())
    }

    pub(super) fn sha256_blocks(state: &mut [u32; 8], blocks: &[[u8; 64]]) {
        // SAFETY: as above.
        unsafe { bowline_sha256_blocks(state, blocks.as_ptr(), blocks.len()) }
    }
}
