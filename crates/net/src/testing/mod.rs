//! A seeded Ethernet with a virtual clock, model cards, and an executor for tests.

mod spy;
mod wire;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub(crate) use self::wire::{Card, Faults, Overflow, Wire};
use crate::{Clock, Ipv4Config, Ipv6Config, ReceiveRing, Stack, VlanTag};

pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 50);
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
pub(crate) const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
pub(crate) const SERVER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// Virtual time in which every test must be over.
const PATIENCE: Duration = Duration::from_secs(600);

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub(crate) struct TestClock(Cell<Duration>);

impl Clock for TestClock {
    fn now(&self) -> Duration {
        self.0.get()
    }
}

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.set(self.0.get() + by);
    }
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Stacks on one wire.
pub(crate) struct Net {
    pub(crate) clock: Rc<TestClock>,
    pub(crate) wire: Rc<RefCell<Wire>>,
    stacks: RefCell<Vec<Stack>>,
    tasks: RefCell<Vec<Task>>,
    /// The stacks of the first card and the future given to `run` compute until then.
    busy_until: Cell<Duration>,
    seed: u64,
}

impl Net {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        let clock = Rc::new(TestClock::default());
        clock.advance(Duration::from_secs(1000));
        Self {
            wire: Rc::new(RefCell::new(Wire::new(clock.clone(), seed, faults))),
            clock,
            stacks: RefCell::default(),
            tasks: RefCell::default(),
            busy_until: Cell::default(),
            seed,
        }
    }

    /// A client with this card and a server with a large one, both with addresses.
    pub(crate) fn pair(&self, card: Card) -> (Stack, Stack) {
        let client = self.stack(card, Some(CLIENT));
        let server = self.stack(Card::large(), Some(SERVER));
        (client, server)
    }

    /// The same, with addresses of IPv6 besides.
    pub(crate) fn pair_ipv6(&self, card: Card) -> (Stack, Stack) {
        let (client, server) = self.pair(card);
        for (stack, address) in [(&client, CLIENT6), (&server, SERVER6)] {
            let config = Ipv6Config {
                address: Some(address),
                prefix_len: 64,
                ..Ipv6Config::default()
            };
            stack.configure_ipv6(Some(config)).unwrap();
        }
        (client, server)
    }

    pub(crate) fn stack(&self, card: Card, address: Option<Ipv4Addr>) -> Stack {
        let nic = Wire::plug(&self.wire, card);
        let stack = Stack::new(Box::new(nic), self.clock.clone(), self.next_seed());
        if let Some(address) = address {
            stack.configure_ipv4(Some(config(address))).unwrap();
        }
        self.stacks.borrow_mut().push(stack.clone());
        stack
    }

    /// A stack on a VLAN of another one's card.
    pub(crate) fn on_vlan(&self, stack: &Stack, id: u16, address: Ipv4Addr) -> Stack {
        let tag = VlanTag::new(id, 0).unwrap();
        let stack = stack.on_vlan(tag, self.next_seed()).unwrap();
        stack.configure_ipv4(Some(config(address))).unwrap();
        self.stacks.borrow_mut().push(stack.clone());
        stack
    }

    /// A seed for the next stack.
    fn next_seed(&self) -> u64 {
        let index = self.stacks.borrow().len() as u64;
        self.seed.wrapping_mul(1000).wrapping_add(index)
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.tasks.borrow_mut().push(Box::pin(task));
    }

    /// The client computes for so long without polling; it must yield next.
    pub(crate) fn compute(&self, duration: Duration) {
        self.busy_until.set(self.clock.now() + duration);
    }

    /// Runs the tasks, the stacks and `future` until that is done.
    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        let end = self.clock.now() + PATIENCE;
        loop {
            let busy = self.clock.now() < self.busy_until.get();
            if !busy && let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            let mut tasks = self.tasks.take();
            tasks.retain_mut(|task| task.as_mut().poll(&mut context).is_pending());
            self.tasks.borrow_mut().append(&mut tasks);
            self.wire.borrow_mut().deliver();
            let stacks = self.stacks.borrow().clone();
            let mut active = false;
            for stack in stacks.iter().filter(|stack| !busy || self.is_other(stack)) {
                active |= stack.poll();
            }
            if !active {
                self.jump(&stacks);
            }
            assert!(
                self.clock.now() < end,
                "nothing came of it (seed {})",
                self.seed
            );
        }
    }

    /// Whether a stack is on another card than the first.
    fn is_other(&self, stack: &Stack) -> bool {
        stack.mac() != self.stacks.borrow()[0].mac()
    }

    /// Moves the clock to the next moment in which something happens.
    fn jump(&self, stacks: &[Stack]) {
        let now = self.clock.now();
        let busy = now < self.busy_until.get();
        let next = stacks
            .iter()
            .filter(|stack| !busy || self.is_other(stack))
            .filter_map(Stack::poll_at)
            .chain(self.wire.borrow().next_delivery())
            .chain(busy.then(|| self.busy_until.get()))
            .min();
        let least = Duration::from_micros(1);
        let next = next.unwrap_or(now + Duration::from_millis(1));
        self.clock.advance(next.saturating_sub(now).max(least));
    }
}

pub(crate) fn config(address: Ipv4Addr) -> Ipv4Config {
    Ipv4Config {
        address,
        prefix_len: 24,
        router: None,
        dns: vec![SERVER],
        mtu: None,
    }
}

pub(crate) fn at(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(address), port)
}

pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Bytes that are not the same at any two places near each other.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64)
        .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect()
}

pub(crate) fn ring(initial: usize, limit: usize) -> ReceiveRing {
    ReceiveRing { initial, limit }
}

/// Both futures, one after the other in each turn.
pub(crate) async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut first, mut second) = (None, None);
    std::future::poll_fn(|context| {
        if first.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(context)
        {
            first = Some(output);
        }
        if second.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(context)
        {
            second = Some(output);
        }
        match (first.take(), second.take()) {
            (Some(x), Some(y)) => Poll::Ready((x, y)),
            (x, y) => {
                (first, second) = (x, y);
                Poll::Pending
            }
        }
    })
    .await
}
