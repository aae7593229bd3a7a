//! One thread, no interrupts: polls a future and the network cards in turn.
//!
//! [`Executor::block_on`] may run inside itself: while a started image runs, the firmware reads
//! blocks from our disks, and each such call is a nested `block_on`. So nothing that is borrowed
//! may be held across an await or across a call into the firmware. [`Executor::outside`] marks
//! the calls during which the firmware runs other programs.

use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::{Cell, OnceCell, RefCell};
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use bowline_net::{Clock, Stack};

use crate::platform::Platform;

/// Work that goes on beside the running command: a SAN session answering pings.
pub(crate) trait Background {
    /// Does what can be done without waiting; true if something happened.
    fn turn(&self) -> bool;

    /// When [`Self::turn`] has something to do by itself.
    fn wake_up(&self) -> Option<Duration>;

    /// Ends in order: the operating system is about to start. May wait for a moment.
    fn end(&self) {}
}

/// Polls futures and network cards in turn.
pub(crate) struct Executor {
    platform: Rc<dyn Platform>,
    clock: Rc<dyn Clock>,
    stacks: RefCell<Vec<Stack>>,
    background: RefCell<Vec<Weak<dyn Background>>>,
    /// The earliest moment a sleeping future of the running `block_on` asked for.
    deadline: Cell<Option<Duration>>,
    /// Our code is running, as opposed to firmware or an image that we started.
    inside: Cell<bool>,
    /// The cards are stopped for good.
    quiesced: Cell<bool>,
}

impl Executor {
    pub(crate) fn new(platform: Rc<dyn Platform>, stacks: Vec<Stack>) -> Self {
        Self {
            clock: platform.clock(),
            platform,
            stacks: RefCell::new(stacks),
            background: RefCell::default(),
            deadline: Cell::new(None),
            inside: Cell::new(false),
            quiesced: Cell::new(false),
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.now()
    }

    pub(crate) fn stacks(&self) -> Vec<Stack> {
        self.stacks.borrow().clone()
    }

    /// Polls one more stack from now on.
    pub(crate) fn add_stack(&self, stack: Stack) {
        self.stacks.borrow_mut().push(stack);
    }

    /// Polls a stack no more.
    pub(crate) fn remove_stack(&self, stack: &Stack) {
        self.stacks.borrow_mut().retain(|other| !other.is(stack));
    }

    /// Runs `future` to its end.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        let was_inside = self.inside.replace(true);
        let outer_deadline = self.deadline.take();
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        let output = loop {
            self.deadline.set(None);
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                break output;
            }
            if !self.turn() {
                self.platform.relax(self.wake_up());
            }
        };
        self.deadline.set(outer_deadline);
        self.inside.set(was_inside);
        output
    }

    /// Makes a call during which the firmware runs other programs, which may call us back. What
    /// the cards held back is sent before: nobody may poll them for a while.
    pub(crate) fn outside<T>(&self, call: impl FnOnce() -> T) -> T {
        self.settle();
        let was_inside = self.inside.replace(false);
        let output = call();
        self.inside.set(was_inside);
        output
    }

    /// Sends what the cards held back: nobody may poll them for a while.
    pub(crate) fn settle(&self) {
        if !self.quiesced.get() {
            self.each_stack(Stack::settle);
        }
    }

    /// Sends what cannot wait for the next [`Self::tick`], before the return into another program: where
    /// that may be long in coming, all that the cards held back.
    pub(crate) fn hand_back(&self) {
        if !self.platform.has_interrupts() {
            self.settle();
        } else if !self.quiesced.get() {
            self.each_stack(|stack| {
                stack.poll();
            });
        }
    }

    /// One turn of the network, unless it is our own code that was interrupted.
    pub(crate) fn tick(&self) {
        if !self.inside.replace(true) {
            self.turn();
            self.inside.set(false);
        }
    }

    /// Stops every card for good.
    pub(crate) fn quiesce(&self) {
        if !self.quiesced.replace(true) {
            self.each_stack(Stack::shutdown);
        }
    }

    /// Ends all background work in order, unless the loader's own code was interrupted.
    fn end(&self) {
        if self.inside.get() || self.quiesced.get() {
            return;
        }
        let mut index = 0;
        while let Some(work) = self.background_at(index) {
            if let Some(work) = work.upgrade() {
                work.end();
            }
            index += 1;
        }
    }

    pub(crate) fn is_quiesced(&self) -> bool {
        self.quiesced.get()
    }

    /// Adds work that is done for as long as somebody else keeps it alive.
    pub(crate) fn add_background(&self, work: Weak<dyn Background>) {
        let mut background = self.background.borrow_mut();
        background.retain(|work| work.strong_count() > 0);
        background.push(work);
    }

    /// Waits. Never more than asked for, and the network goes on meanwhile.
    pub(crate) async fn sleep(&self, duration: Duration) {
        let until = self.now().saturating_add(duration);
        self.sleep_until(until).await;
    }

    /// Waits until a moment of the clock.
    pub(crate) async fn sleep_until(&self, until: Duration) {
        poll_fn(|_| {
            if self.now() >= until {
                return Poll::Ready(());
            }
            self.wake_at(until);
            Poll::Pending
        })
        .await;
    }

    /// Runs `future`, but not past `until`; `None` when it was not done by then.
    pub(crate) async fn until<F: Future>(&self, until: Duration, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            if self.now() >= until {
                return Poll::Ready(None);
            }
            self.wake_at(until);
            Poll::Pending
        })
        .await
    }

    /// Asks that the running future is polled again at `moment` at the latest.
    pub(crate) fn wake_at(&self, moment: Duration) {
        self.deadline
            .set(earliest(self.deadline.get(), Some(moment)));
    }

    fn turn(&self) -> bool {
        if self.quiesced.get() {
            return false;
        }
        let mut busy = false;
        self.each_stack(|stack| busy |= stack.poll());
        let mut index = 0;
        while let Some(work) = self.background_at(index) {
            busy |= work.upgrade().is_some_and(|work| work.turn());
            index += 1;
        }
        busy
    }

    fn wake_up(&self) -> Option<Duration> {
        let mut moment = self.deadline.get();
        self.each_stack(|stack| moment = earliest(moment, stack.poll_at()));
        let mut index = 0;
        while let Some(work) = self.background_at(index) {
            moment = earliest(moment, work.upgrade().and_then(|work| work.wake_up()));
            index += 1;
        }
        moment
    }

    /// The list is not borrowed while a card is called: what runs inside may shut the cards down.
    fn each_stack(&self, mut visit: impl FnMut(&Stack)) {
        let mut index = 0;
        while let Some(stack) = self.stack_at(index) {
            visit(&stack);
            index += 1;
        }
    }

    fn stack_at(&self, index: usize) -> Option<Stack> {
        self.stacks.borrow().get(index).cloned()
    }

    /// The list is not borrowed while work runs: work may add work.
    fn background_at(&self, index: usize) -> Option<Weak<dyn Background>> {
        self.background.borrow().get(index).cloned()
    }
}

/// The earlier of two moments, where there are any.
pub(crate) fn earliest(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// What firmware events may call while the loader, or what it started, runs.
///
/// Made before [`crate::run`] and given to it; every clone is the same handle. Before `run` and
/// after it the calls do nothing.
#[derive(Clone, Default)]
pub struct Handle {
    executor: Rc<OnceCell<Rc<Executor>>>,
}

impl Handle {
    /// A handle for one [`crate::run`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops every network card for good; later disk accesses fail. For ExitBootServices
    /// (UEFI 2.10 section 7.4.6): allocates nothing, waits for nothing, prints nothing.
    pub fn quiesce(&self) {
        if let Some(executor) = self.executor.get() {
            executor.quiesce();
        }
    }

    /// The operating system is about to take over: logs out of targets. Waits for a moment where
    /// one does not answer. To be called before [`Self::quiesce`], while the network still works.
    pub fn end(&self) {
        if let Some(executor) = self.executor.get() {
            executor.end();
        }
    }

    /// One turn of the network while other programs run, for a timer event: answers the pings of
    /// targets. Never waits, and does nothing when it interrupts the loader's own code.
    pub fn tick(&self) {
        if let Some(executor) = self.executor.get() {
            executor.tick();
        }
    }

    /// Connects the handle; the first caller wins.
    pub(crate) fn connect(&self, executor: &Rc<Executor>) {
        // A handle serves one run: a second one keeps the first executor, which is quiesced.
        let _ = self.executor.set(Rc::clone(executor));
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("connected", &self.executor.get().is_some())
            .finish()
    }
}
