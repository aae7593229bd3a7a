//! One path to a disk: a login, and the session it made. A path that is lost is made anew, for
//! as long as the drive exists.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell, RefMut};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use crate::executor::Executor;
use crate::failure::Failure;
use crate::network::Network;
use crate::platform::Platform;
use crate::san::connection::{self, LoggedIn};
use crate::san::identity::Known;
use crate::san::login::Login;

/// What every path of a drive works with.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) executor: Rc<Executor>,
    pub(crate) platform: Rc<dyn Platform>,
    pub(crate) network: Network,
}

/// A path, up or not.
pub(crate) struct Path {
    surroundings: Surroundings,
    login: Rc<Login>,
    /// The disk that it has to lead to, once one was found.
    known: Rc<RefCell<Option<Rc<Known>>>>,
    state: RefCell<State>,
    /// Attempts in a row that came to nothing, and why the last one did.
    failures: Cell<usize>,
    failure: RefCell<Option<Failure>>,
}

enum State {
    Up(Box<LoggedIn>),
    Opening(Opening),
    /// The next attempt is made then.
    Down(Duration),
    /// No attempt is made any more.
    Closed,
}

/// Boxed: a login is large, and the stack of a boot loader that reads from us is small.
type Opening = Pin<Box<dyn Future<Output = Result<LoggedIn, Failure>>>>;

/// What a turn came to.
pub(crate) enum Step {
    Nothing,
    /// The path has come up.
    Up,
    /// An attempt has failed; it is news if it is the first in a row, or failed in another way
    /// than the one before.
    Failed {
        failure: Failure,
        is_news: bool,
    },
}

impl Path {
    /// A path that [`Self::turn`] opens.
    pub(crate) fn new(surroundings: Surroundings, login: Login) -> Self {
        Self {
            surroundings,
            login: Rc::new(login),
            known: Rc::default(),
            state: RefCell::new(State::Down(Duration::ZERO)),
            failures: Cell::new(0),
            failure: RefCell::default(),
        }
    }

    pub(crate) fn login(&self) -> &Login {
        &self.login
    }

    /// From now on it has to lead to this disk. If it is up already, that is looked at now, unless
    /// it is the path by which the disk was found.
    pub(crate) fn expect(&self, known: &Rc<Known>, is_proven: bool) {
        self.known.replace(Some(Rc::clone(known)));
        if is_proven || !self.is_up() {
            return;
        }
        let state = self.state.replace(State::Closed);
        if let State::Up(logged_in) = state {
            let (around, login) = (self.surroundings.clone(), Rc::clone(&self.login));
            let known = Rc::clone(known);
            self.state.replace(State::Opening(Box::pin(async move {
                known.check(&around.executor, &login, *logged_in).await
            })));
        }
    }

    /// Goes on opening, if the path is not up.
    pub(crate) fn turn(&self, now: Duration) -> Step {
        let Ok(mut state) = self.state.try_borrow_mut() else {
            return Step::Nothing;
        };
        if matches!(*state, State::Down(until) if now >= until) {
            *state = State::Opening(self.open());
        }
        let State::Opening(opening) = &mut *state else {
            return Step::Nothing;
        };
        match opening
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Pending => Step::Nothing,
            Poll::Ready(Ok(logged_in)) => {
                *state = State::Up(Box::new(logged_in));
                self.failures.set(0);
                self.failure.take();
                Step::Up
            }
            Poll::Ready(Err(failure)) => {
                let pause = PAUSES.get(self.failures.get()).unwrap_or(&PAUSE_MAX);
                let before = self.failure.replace(Some(failure.clone()));
                let is_other = before.is_some_and(|before| before.code() != failure.code());
                let is_news = is_other || self.failures.get() == 0;
                self.failures.set(self.failures.get() + 1);
                *state = State::Down(now.saturating_add(*pause));
                Step::Failed { failure, is_news }
            }
        }
    }

    /// What was logged in to, while the path is up.
    pub(crate) fn logged_in(&self) -> Option<RefMut<'_, LoggedIn>> {
        let state = self.state.try_borrow_mut().ok()?;
        RefMut::filter_map(state, |state| match state {
            State::Up(logged_in) => Some(&mut **logged_in),
            _ => None,
        })
        .ok()
    }

    /// Why the last attempt failed, while the path is not up.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.failure.borrow().clone()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.logged_in().is_some()
    }

    /// Drops the connection, which is of no more use; the next turn begins anew.
    pub(crate) fn lose(&self, failure: &Failure) {
        self.failure.replace(Some(failure.clone()));
        self.state.replace(State::Down(Duration::ZERO));
    }

    /// When [`Self::turn`], or the session, has something to do by itself. What an attempt waits
    /// for is known to the network and the executor.
    pub(crate) fn wake_up(&self) -> Option<Duration> {
        match &*self.state.try_borrow().ok()? {
            State::Up(logged_in) => logged_in.connection.wake_up(),
            State::Opening(_) | State::Closed => None,
            State::Down(until) => Some(*until),
        }
    }

    /// Logs out; the path is not opened again.
    pub(crate) async fn abandon(&self, failure: Failure) {
        self.failure.replace(Some(failure));
        self.close().await;
    }

    /// Logs out.
    pub(crate) async fn close(&self) {
        let state = self.state.replace(State::Closed);
        if let State::Up(logged_in) = state {
            logged_in
                .connection
                .close(&self.surroundings.executor)
                .await;
        }
    }

    fn open(&self) -> Opening {
        let (around, login) = (self.surroundings.clone(), Rc::clone(&self.login));
        let known = Rc::clone(&self.known);
        Box::pin(async move {
            let executor = &around.executor;
            let opened = connection::open(executor, &*around.platform, &login, &around.network);
            let opened = opened.await?;
            // The first disk may have been found meanwhile.
            let known = known.borrow().clone();
            match known {
                Some(known) => known.check(executor, &login, opened).await,
                None => Ok(opened),
            }
        })
    }
}

/// Pauses after the first attempts that failed, so that a target that starts again is found soon.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// The pause after later ones.
const PAUSE_MAX: Duration = Duration::from_secs(5);
