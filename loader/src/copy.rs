//! `memcpy` with vector registers.
//!
//! Rust's own for UEFI moves eight bytes at a time, or leaves it to `rep movs`, which an emulator
//! takes byte by byte; and a received byte is copied some five times on its way. UEFI switches the
//! registers on (2.10 sections 2.3.4 and 2.3.6) and lets every function change the first of them.

use core::arch::naked_asm;

/// Copies `count` bytes, which do not overlap, and returns `to`. The compiler calls it for every
/// copy: 64 bytes at a time, then 16, and the rest as one that overlaps what was copied before.
///
/// # Safety
///
/// As in C: `from` can be read and `to` be written for `count` bytes.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
#[cfg_attr(target_os = "uefi", unsafe(no_mangle))]
unsafe extern "efiapi" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    naked_asm!(
        "mov x3, x0",
        "cmp x2, #16",
        "b.lo 6f",
        "subs x2, x2, #64",
        "b.lo 3f",
        "2:",
        "ldp q0, q1, [x1]",
        "ldp q2, q3, [x1, #32]",
        "add x1, x1, #64",
        "stp q0, q1, [x3]",
        "stp q2, q3, [x3, #32]",
        "add x3, x3, #64",
        "subs x2, x2, #64",
        "b.hs 2b",
        "3:",
        "adds x2, x2, #64",
        "b.eq 5f",
        "4:",
        "subs x2, x2, #16",
        "b.lo 9f",
        "ldr q0, [x1], #16",
        "str q0, [x3], #16",
        "b.ne 4b",
        "5:",
        "ret",
        // Less than 16 are left, and 16 or more lie before them: `x2` is negative.
        "9:",
        "ldr q0, [x1, x2]",
        "str q0, [x3, x2]",
        "ret",
        // Less than 16 in all.
        "6:",
        "add x4, x1, x2",
        "add x5, x3, x2",
        "tbz x2, #3, 7f",
        "ldr x6, [x1]",
        "ldr x7, [x4, #-8]",
        "str x6, [x3]",
        "str x7, [x5, #-8]",
        "ret",
        "7:",
        "tbz x2, #2, 8f",
        "ldr w6, [x1]",
        "ldr w7, [x4, #-4]",
        "str w6, [x3]",
        "str w7, [x5, #-4]",
        "ret",
        "8:",
        "cbz x2, 5b",
        "ldrb w6, [x1], #1",
        "strb w6, [x3], #1",
        "sub x2, x2, #1",
        "b 8b",
    )
}

/// As above, with the registers of this architecture.
///
/// # Safety
///
/// As above.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[cfg_attr(target_os = "uefi", unsafe(no_mangle))]
unsafe extern "efiapi" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rcx",
        "cmp r8, 16",
        "jb 6f",
        "sub r8, 64",
        "jb 3f",
        "2:",
        "movups xmm0, [rdx]",
        "movups xmm1, [rdx + 16]",
        "movups xmm2, [rdx + 32]",
        "movups xmm3, [rdx + 48]",
        "add rdx, 64",
        "movups [rcx], xmm0",
        "movups [rcx + 16], xmm1",
        "movups [rcx + 32], xmm2",
        "movups [rcx + 48], xmm3",
        "add rcx, 64",
        "sub r8, 64",
        "jae 2b",
        "3:",
        "add r8, 64",
        "jz 5f",
        "4:",
        "sub r8, 16",
        "jb 9f",
        "movups xmm0, [rdx]",
        "movups [rcx], xmm0",
        "lea rdx, [rdx + 16]",
        "lea rcx, [rcx + 16]",
        "jnz 4b",
        "5:",
        "ret",
        // Less than 16 are left, and 16 or more lie before them: `r8` is negative.
        "9:",
        "movups xmm0, [rdx + r8]",
        "movups [rcx + r8], xmm0",
        "ret",
        // Less than 16 in all.
        "6:",
        "cmp r8, 8",
        "jb 7f",
        "mov r9, [rdx]",
        "mov r10, [rdx + r8 - 8]",
        "mov [rcx], r9",
        "mov [rcx + r8 - 8], r10",
        "ret",
        "7:",
        "cmp r8, 4",
        "jb 8f",
        "mov r9d, [rdx]",
        "mov r10d, [rdx + r8 - 4]",
        "mov [rcx], r9d",
        "mov [rcx + r8 - 4], r10d",
        "ret",
        "8:",
        "sub r8, 1",
        "jb 5b",
        "movzx r9d, byte ptr [rdx + r8]",
        "mov [rcx + r8], r9b",
        "jmp 8b",
    )
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn every_byte_is_copied_and_no_other() {
        const ROOM: usize = 20;
        let source: Vec<u8> = (0..1000_u32).map(|i| (i * 7 + i / 251) as u8).collect();
        for count in 0..300 {
            for (from, to) in [(0, 0), (1, 0), (0, 3), (5, 7), (8, 15), (16, 1)] {
                let mut target = vec![0xee; ROOM + count + ROOM];
                let mut expected = target.clone();
                expected[to..to + count].copy_from_slice(&source[from..from + count]);
                let place = &raw mut target[to];
                // SAFETY: both ranges lie within their vectors, which are two.
                let returned = unsafe { super::memcpy(place, &raw const source[from], count) };
                assert_eq!(returned, place);
                assert_eq!(target, expected, "{count} bytes from {from} to {to}");
            }
        }
    }
}
