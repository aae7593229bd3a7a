//! Keys: type-ahead for the shell and prompts, Ctrl-C for the running command.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;

use crate::executor::Executor;
use crate::platform::{Key, Platform};

/// The running command was cancelled by Ctrl-C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interrupted;

/// Reads the console and keeps what nobody has asked for yet.
pub(crate) struct Keyboard {
    platform: Rc<dyn Platform>,
    executor: Rc<Executor>,
    queue: RefCell<VecDeque<Key>>,
    interrupted: Cell<bool>,
    /// When the last command was cancelled: a second Ctrl-C soon after ends the script too.
    cancelled_at: Cell<Option<Duration>>,
    abandoned: Cell<bool>,
    next_look: Cell<Duration>,
}

impl Keyboard {
    pub(crate) fn new(platform: Rc<dyn Platform>, executor: Rc<Executor>) -> Self {
        Self {
            platform,
            executor,
            queue: RefCell::default(),
            interrupted: Cell::new(false),
            cancelled_at: Cell::new(None),
            abandoned: Cell::new(false),
            next_look: Cell::new(Duration::ZERO),
        }
    }

    /// The next key. Ctrl-C is the key `\x03` here.
    pub(crate) async fn read(&self) -> Key {
        poll_fn(|_| {
            self.look();
            if self.interrupted.take() {
                return Poll::Ready(CTRL_C);
            }
            match self.queue.borrow_mut().pop_front() {
                Some(key) => Poll::Ready(key),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Runs a command's future until it is done or Ctrl-C is pressed. Of nested ones the
    /// innermost is cancelled: whoever finds the key, the inner future is polled before the
    /// outer one takes it.
    pub(crate) async fn interruptible<F: Future>(
        &self,
        future: F,
    ) -> Result<F::Output, Interrupted> {
        let mut future = pin!(future);
        poll_fn(|context| {
            self.look();
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            if self.interrupted.take() {
                self.cancelled_at.set(Some(self.executor.now()));
                return Poll::Ready(Err(Interrupted));
            }
            Poll::Pending
        })
        .await
    }

    /// Whether the running script is to end: Ctrl-C between two commands, or twice in a row.
    pub(crate) fn script_abandoned(&self) -> bool {
        self.look();
        if self.interrupted.take() {
            self.abandoned.set(true);
        }
        self.abandoned.get()
    }

    /// A new command line begins: nothing is abandoned any more.
    pub(crate) fn forget_interrupts(&self) {
        self.interrupted.set(false);
        self.abandoned.set(false);
        self.cancelled_at.set(None);
    }

    /// Takes what the console has, now and then: a look costs microseconds on real firmware.
    fn look(&self) {
        let now = self.executor.now();
        let next_look = self.next_look.get();
        if now < next_look {
            self.executor.wake_at(next_look);
            return;
        }
        self.next_look.set(now.saturating_add(LOOK_INTERVAL));
        self.executor.wake_at(self.next_look.get());
        while let Some(key) = self.platform.console().read_key() {
            if key == CTRL_C {
                self.interrupt(now);
            } else if self.queue.borrow().len() < TYPE_AHEAD_MAX {
                self.queue.borrow_mut().push_back(key);
            }
        }
    }

    fn interrupt(&self, now: Duration) {
        let soon = |at: Duration| now.saturating_sub(at) < TWICE_WITHIN;
        if self.cancelled_at.get().is_some_and(soon) {
            self.abandoned.set(true);
        }
        self.queue.borrow_mut().clear();
        self.interrupted.set(true);
    }
}

/// The key that cancels.
pub(crate) const CTRL_C: Key = Key::Char('\x03');

/// Time between two looks at the console.
const LOOK_INTERVAL: Duration = Duration::from_millis(4);

/// A second Ctrl-C within this time after a cancelled command ends the script.
const TWICE_WITHIN: Duration = Duration::from_secs(2);

/// Keys that are kept while nobody reads them.
const TYPE_AHEAD_MAX: usize = 1024;
