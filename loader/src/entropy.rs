//! Randomness fit for secrets: the firmware's generator, the processor's, the TPM's, and timing, all
//! mixed.
//!
//! Each source adds to the generator of [`bowline_tls::entropy`], which gives nothing out before
//! enough has come in; a bad source takes nothing away from a good one.

use core::cell::Cell;

use bowline_boot::platform::EntropyError;
use bowline_loader::{jitter, tpm};
use bowline_net::Clock as _;
use bowline_tls::entropy::{self, Entropy, SECURITY_BITS, Unavailable};
use uefi::boot;
use uefi::proto::rng::Rng;
use uefi::proto::tcg::v2::Tcg;

use crate::clock::CounterClock;

/// The machine's sources, asked when something is wanted for the first time.
#[derive(Debug, Default)]
pub(crate) struct Randomness {
    is_gathered: Cell<bool>,
}

impl Randomness {
    /// Fills `bytes` with what nobody can guess.
    pub(crate) fn fill(&self, bytes: &mut [u8], clock: CounterClock) -> Result<(), EntropyError> {
        if !self.is_gathered.replace(true) {
            gather(clock);
        }
        entropy::fill(bytes).map_err(|error| EntropyError {
            bits: match error {
                Unavailable::NotEnough { have } => have,
                Unavailable::Busy => 0,
            },
        })
    }
}

/// Asks all sources. Timing takes the longest and is asked more often where nothing else helps.
fn gather(clock: CounterClock) {
    // A source that fails adds nothing; whether there is enough is asked when it is needed.
    let _ = entropy::mix(&mut Firmware);
    let _ = entropy::mix(&mut Processor);
    let _ = entropy::mix(&mut Tpm);
    for _ in 0..JITTER_ROUNDS {
        let _ = entropy::mix(&mut Jitter { clock });
        if entropy::ready().is_ok() {
            break;
        }
    }
}

/// Rounds of timing where nothing else has given enough: each credits up to 256 bits.
const JITTER_ROUNDS: usize = 16;

/// `EFI_RNG_PROTOCOL` (UEFI 2.10 section 37.5) with the firmware's default algorithm.
struct Firmware;

impl Entropy for Firmware {
    fn name(&self) -> &str {
        "EFI_RNG_PROTOCOL"
    }

    fn gather(&mut self, buffer: &mut [u8; 64]) -> u32 {
        if from_firmware(buffer) && is_varied(buffer) {
            SECURITY_BITS
        } else {
            0
        }
    }
}

/// RNDR or RDRAND.
struct Processor;

impl Entropy for Processor {
    fn name(&self) -> &str {
        "processor"
    }

    fn gather(&mut self, buffer: &mut [u8; 64]) -> u32 {
        if from_processor(buffer) && is_varied(buffer) {
            SECURITY_BITS
        } else {
            0
        }
    }
}

/// The TPM's generator.
struct Tpm;

impl Entropy for Tpm {
    fn name(&self) -> &str {
        "TPM"
    }

    fn gather(&mut self, buffer: &mut [u8; 64]) -> u32 {
        if from_tpm(buffer).is_some() && is_varied(buffer) {
            SECURITY_BITS
        } else {
            0
        }
    }
}

/// Whether a generator gave something: a broken one gives the same word again and again.
fn is_varied(bytes: &[u8; 64]) -> bool {
    let (words, _) = bytes.as_chunks::<8>();
    words.windows(2).all(|pair| pair.first() != pair.last())
}

/// How long the same work takes, again and again.
struct Jitter {
    clock: CounterClock,
}

impl Entropy for Jitter {
    fn name(&self) -> &str {
        "timing"
    }

    fn gather(&mut self, buffer: &mut [u8; 64]) -> u32 {
        let mut samples = alloc::vec![0_u64; jitter::SAMPLES];
        let mut memory = alloc::vec![0_u8; MEMORY];
        let mut place = 1_usize;
        for sample in &mut samples {
            let before = self.clock.ticks();
            for _ in 0..STEPS {
                place = place.wrapping_mul(1_103_515_245).wrapping_add(12_345) % MEMORY;
                if let Some(byte) = memory.get_mut(place) {
                    *byte = core::hint::black_box(byte.wrapping_add(place as u8));
                }
            }
            *sample = self.clock.ticks().wrapping_sub(before);
        }
        let now = self.clock.now().as_nanos() as u64;
        // The generator hashes what it is given: all samples go through it, the credit comes with
        // what is returned.
        for samples in samples.chunks(8) {
            let bytes: alloc::vec::Vec<u8> = samples
                .iter()
                .flat_map(|sample| sample.to_le_bytes())
                .collect();
            let _ = entropy::add(&bytes, 0);
        }
        buffer[..8].copy_from_slice(&now.to_le_bytes());
        jitter::credit(&samples)
    }
}

/// Memory that the timed work goes through: more than a first level cache.
const MEMORY: usize = 128 * 1024;
/// Places in it that one sample touches.
const STEPS: usize = 64;

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

/// `EFI_TCG2_PROTOCOL.SubmitCommand` (TCG EFI Protocol Specification section 6.6); a TPM gives no
/// more at once than its longest digest.
fn from_tpm(bytes: &mut [u8]) -> Option<()> {
    let handle = boot::get_handle_for_protocol::<Tcg>().ok()?;
    let parameters = boot::OpenProtocolParams {
        handle,
        agent: boot::image_handle(),
        controller: None,
    };
    // SAFETY: as for the firmware's generator: used here only, and drivers keep their access.
    let tcg = unsafe {
        boot::open_protocol::<Tcg>(parameters, boot::OpenProtocolAttributes::GetProtocol)
    };
    let mut tcg = tcg.ok()?;
    if !tcg.get_capability().ok()?.tpm_present() {
        return None;
    }
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let count = u8::try_from(rest.len()).unwrap_or(u8::MAX);
        let mut response = [0; tpm::RESPONSE_MAX];
        tcg.submit_command(&tpm::get_random(count), &mut response)
            .ok()?;
        let random = tpm::random_bytes(&response).filter(|random| !random.is_empty())?;
        let count = random.len().min(rest.len());
        rest.get_mut(..count)?.copy_from_slice(random.get(..count)?);
        filled += count;
    }
    Some(())
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
