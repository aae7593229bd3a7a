//! Memory for data on its way, used again and again: new memory costs a page fault for every 4096
//! bytes, which takes longer than to fill them.

use std::sync::{Mutex, PoisonError};

/// What nobody uses now. The process has it, not a session: most sessions are idle most of the
/// time.
static IDLE: Mutex<Idle> = Mutex::new(Idle {
    buffers: Vec::new(),
    bytes: 0,
});

struct Idle {
    /// The last given is the next taken: it may still be in the processor's cache.
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

/// `len` bytes that hold anything, also what another session was sent.
pub(super) fn take(len: usize) -> Vec<u8> {
    let mut buffer = {
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        let buffer = idle.buffers.pop().unwrap_or_default();
        idle.bytes -= buffer.capacity();
        buffer
    };
    buffer.resize(len, 0);
    buffer
}

/// Keeps a buffer for the next who needs one.
pub(super) fn give(buffer: Vec<u8>) {
    let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    let bytes = idle.bytes + buffer.capacity();
    // Small ones are cheap, and would only be in the way of large ones.
    if buffer.capacity() >= BUFFER_BYTES_MIN && bytes <= IDLE_BYTES_MAX {
        idle.buffers.push(buffer);
        idle.bytes = bytes;
    }
}

const BUFFER_BYTES_MIN: usize = 32 * 1024;
const IDLE_BYTES_MAX: usize = 32 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_idle_is_bounded() {
        (0..40).for_each(|_| give(vec![7; 1024 * 1024]));
        give(vec![7; 100]);
        let idle = IDLE.lock().unwrap();
        let bytes: usize = idle.buffers.iter().map(Vec::capacity).sum();
        assert_eq!(bytes, idle.bytes);
        assert!(bytes <= IDLE_BYTES_MAX, "{bytes}");
        assert!(
            idle.buffers
                .iter()
                .all(|it| it.capacity() >= BUFFER_BYTES_MIN)
        );
        drop(idle);
        assert_eq!(take(5000).len(), 5000);
    }
}
