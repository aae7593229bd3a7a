//! The loader's heap: page allocations of the firmware, divided up by an allocator of our own.
//!
//! `AllocatePool` takes a whole page for every allocation on U-Boot, so small allocations come
//! from spans of [`SPAN_BYTES`] that are claimed when needed and kept. Allocations of
//! [`LARGE_BYTES`] and more (an image in memory) are page allocations of their own and go back
//! to the firmware, because the kernel that is started next wants that memory.
//!
//! `talc` is the allocator because it takes any number of separate spans: what the firmware
//! hands out page by page is not contiguous.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering};

use talc::TalcLock;
use talc::base::Talc;
use talc::base::binning::Binning;
use talc::lock_api::{GuardNoSend, RawMutex};
use talc::source::Source;
use uefi::boot::{self, AllocateType, MemoryType, PAGE_SIZE};

/// What is claimed from the firmware at a time for small allocations.
const SPAN_BYTES: usize = 2 << 20;

/// From this size on an allocation is one of the firmware's own.
const LARGE_BYTES: usize = 512 << 10;

#[global_allocator]
static HEAP: Heap = Heap {
    small: TalcLock::new(Spans),
    closed: AtomicBool::new(false),
};

/// Forbids calls of the firmware's allocator: from ExitBootServices on the memory map must not
/// change (UEFI 2.10 section 7.4.6).
pub(crate) fn close() {
    HEAP.closed.store(true, Ordering::Release);
}

struct Heap {
    small: TalcLock<Busy, Spans>,
    closed: AtomicBool,
}

impl Heap {
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

// SAFETY: `small` and the firmware hand out memory that nobody else has, of the size and
// alignment of the layout; which of the two is decided from the layout alone, so `dealloc` asks
// the one that `alloc` asked. Neither unwinds.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= LARGE_BYTES {
            return if self.is_closed() {
                ptr::null_mut()
            } else {
                allocate_pages(layout)
            };
        }
        let Some(mut small) = self.small.try_lock() else {
            return ptr::null_mut();
        };
        // SAFETY: the caller of `alloc` guarantees a size that is not zero.
        unsafe { small.allocate(layout) }.map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if layout.size() >= LARGE_BYTES {
            if !self.is_closed()
                && let Some(pointer) = NonNull::new(pointer)
            {
                // SAFETY: an allocation of this size was made by `allocate_pages`, with the
                // number of pages that the size needs; the caller gives it up.
                let _ = unsafe { boot::free_pages(pointer, layout.size().div_ceil(PAGE_SIZE)) };
            }
            return;
        }
        if let Some(mut small) = self.small.try_lock() {
            // SAFETY: an allocation of this size came from `small`; the caller gives it up.
            unsafe { small.deallocate(pointer, layout) }
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if self.resize_in_place(pointer, layout, new_size) {
            return pointer;
        }
        let Ok(new_layout) = Layout::from_size_align(new_size, layout.align()) else {
            return ptr::null_mut();
        };
        // SAFETY: the caller of `realloc` guarantees a new size that is not zero.
        let new = unsafe { self.alloc(new_layout) };
        if !new.is_null() {
            // SAFETY: both are live, distinct allocations of at least the number of bytes copied.
            unsafe { ptr::copy_nonoverlapping(pointer, new, layout.size().min(new_size)) };
            // SAFETY: `pointer` is live with `layout`, and the caller gets `new` in its place.
            unsafe { self.dealloc(pointer, layout) };
        }
        new
    }
}

impl Heap {
    /// Whether the allocation at `pointer` could take `new_size` where it is.
    fn resize_in_place(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> bool {
        match (layout.size() >= LARGE_BYTES, new_size >= LARGE_BYTES) {
            (true, true) => layout.size().div_ceil(PAGE_SIZE) == new_size.div_ceil(PAGE_SIZE),
            (false, false) => self.small.try_lock().is_some_and(|mut small| {
                // SAFETY: called from `realloc` only, whose caller guarantees that `pointer` is
                // live with `layout` and that the new size is not zero; both sizes are small,
                // so the allocation is one of `small` and stays one.
                unsafe { small.try_realloc_in_place(pointer, layout, new_size) }
            }),
            _ => false,
        }
    }
}

/// Where small allocations get their spans from.
#[derive(Debug)]
struct Spans;

// SAFETY: `acquire` uses nothing but the firmware's allocator and the `talc` it is given.
unsafe impl Source for Spans {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        // Room for the allocation, its alignment and the allocator's own tags.
        let needed = layout.size() + layout.align() + PAGE_SIZE;
        let bytes = needed.max(SPAN_BYTES);
        let span = Layout::from_size_align(bytes, PAGE_SIZE).map_err(|_| ())?;
        if HEAP.is_closed() {
            return Err(());
        }
        let base = NonNull::new(allocate_pages(span)).ok_or(())?;
        // SAFETY: the firmware has just handed out these pages to us alone, and they are never
        // given back.
        unsafe { talc.claim(base.as_ptr(), bytes) }
            .map(|_| ())
            .ok_or(())
    }
}

/// Pages of the firmware for `layout`, or null.
fn allocate_pages(layout: Layout) -> *mut u8 {
    if layout.align() > PAGE_SIZE {
        return ptr::null_mut();
    }
    let pages = layout.size().div_ceil(PAGE_SIZE);
    boot::allocate_pages(AllocateType::AnyPages, MemoryType::LOADER_DATA, pages)
        .map_or(ptr::null_mut(), NonNull::as_ptr)
}

/// Tells that the heap is in use.
///
/// There is one thread, but the firmware may call us back from inside its own allocator. That
/// call must neither wait, because it would wait for ever, nor touch a heap that is half changed.
#[derive(Debug)]
struct Busy(AtomicBool);

// SAFETY: `try_lock` succeeds once until `unlock`; `lock`, which nobody calls, spins.
unsafe impl RawMutex for Busy {
    const INIT: Self = Self(AtomicBool::new(false));

    type GuardMarker = GuardNoSend;

    fn lock(&self) {
        while !self.try_lock() {
            core::hint::spin_loop();
        }
    }

    fn try_lock(&self) -> bool {
        !self.0.swap(true, Ordering::Acquire)
    }

    unsafe fn unlock(&self) {
        self.0.store(false, Ordering::Release);
    }
}
