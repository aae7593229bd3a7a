//! The switch in real time: a thread that runs it, and two more for each port that carry frames
//! from and to a virtual machine or a TAP device.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Captures, Switch};

/// Frames that wait for a receiver which does not take them; those after them are dropped.
const OUTPUT_QUEUE: usize = 1024;
/// The largest frame: what a TAP device's largest MTU needs.
const MAX_FRAME: usize = 65535;
/// Captures are brought into their files at least as often while nothing happens.
const IDLE: Duration = Duration::from_secs(1);

/// What a port's cable leads to. Both calls come from threads of their own.
pub trait Cable: Send + Sync {
    /// Waits for a frame and puts it into `buffer`: its length. An error ends the port.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Sends a frame. Nobody there is no error.
    fn send(&self, frame: &[u8]) -> io::Result<()>;
}

/// A QEMU guest's card, one machine after another: each datagram is a frame.
///
/// QEMU takes a datagram only when the card has room, as it does with a TAP device: what the card
/// cannot take yet waits, as in the memory of a real one. Of a stream it would take all that has come,
/// and its e1000 loses all but the first of that.
#[derive(Debug)]
pub struct Guest {
    socket: UnixDatagram,
    card: PathBuf,
}

impl Guest {
    /// Listens at `path`, which must not exist. Fails as sockets do.
    pub fn listen(path: &Path) -> io::Result<Self> {
        Ok(Self {
            socket: UnixDatagram::bind(path)?,
            card: card(path),
        })
    }

    /// The options of QEMU's `-netdev` for the card of the guest that is listened for at `path`.
    pub fn netdev(path: &Path) -> String {
        format!(
            "dgram,local.type=unix,local.path={},remote.type=unix,remote.path={}",
            card(path).display(),
            path.display()
        )
    }
}

/// Where the guest's card receives.
fn card(path: &Path) -> PathBuf {
    path.with_extension("card")
}

impl Cable for Guest {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.recv(buffer)
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        // A machine that has ended, or has not begun.
        let _ = self.socket.send_to(frame, &self.card);
        Ok(())
    }
}

#[cfg(feature = "tap")]
/// A TAP device: the servers' side of a port.
pub struct Tap(tun_rs::SyncDevice);

#[cfg(feature = "tap")]
impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tap")
    }
}

#[cfg(feature = "tap")]
impl Tap {
    /// Makes the TAP device `name`, or opens it if it exists; its address is its owner's affair.
    /// Needs CAP_NET_ADMIN and /dev/net/tun.
    pub fn open(name: &str) -> io::Result<Self> {
        tun_rs::DeviceBuilder::new()
            .name(name)
            .layer(tun_rs::Layer::L2)
            .build_sync()
            .map(Self)
    }
}

#[cfg(feature = "tap")]
impl Cable for Tap {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer)
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        // The device may be down for a while: the frame is lost, as on a real link.
        let _ = self.0.send(frame);
        Ok(())
    }
}

type Errand = Box<dyn FnOnce(&mut Switch) + Send>;

enum Input {
    Frame(usize, Vec<u8>),
    Errand(Errand),
    Stop,
}

/// A running switch. Dropping it stops it.
#[derive(Debug)]
pub struct Running {
    inputs: Sender<Input>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts `switch` with one cable for each of its ports, in their order.
    pub fn start(switch: Switch, cables: Vec<Arc<dyn Cable>>, captures: Option<Captures>) -> Self {
        let (inputs, receiver) = channel();
        let outputs = cables
            .into_iter()
            .enumerate()
            .map(|(port, cable)| attach(port, cable, inputs.clone()))
            .collect();
        let engine = Engine {
            started: Instant::now(),
            switch,
            inputs: receiver,
            outputs,
            captures,
        };
        Self {
            inputs,
            thread: Some(std::thread::spawn(|| engine.run())),
        }
    }

    /// Does something with the switch between two frames: changes a port, reads counters. None if
    /// it has stopped.
    pub fn with<R: Send + 'static>(
        &self,
        errand: impl FnOnce(&mut Switch) -> R + Send + 'static,
    ) -> Option<R> {
        let (answer, answered) = channel();
        let errand: Errand = Box::new(move |switch| {
            let _ = answer.send(errand(switch));
        });
        self.inputs.send(Input::Errand(errand)).ok()?;
        answered.recv().ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.inputs.send(Input::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts the two threads of a port: what is put into the result leaves by the cable.
fn attach(port: usize, cable: Arc<dyn Cable>, inputs: Sender<Input>) -> SyncSender<Vec<u8>> {
    let (output, frames) = sync_channel::<Vec<u8>>(OUTPUT_QUEUE);
    let outward = cable.clone();
    std::thread::spawn(move || {
        while let Ok(frame) = frames.recv() {
            if outward.send(&frame).is_err() {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        let mut buffer = vec![0; MAX_FRAME];
        while let Ok(length) = cable.receive(&mut buffer) {
            let frame = buffer[..length].to_vec();
            if inputs.send(Input::Frame(port, frame)).is_err() {
                return;
            }
        }
    });
    output
}

struct Engine {
    started: Instant,
    switch: Switch,
    inputs: Receiver<Input>,
    outputs: Vec<SyncSender<Vec<u8>>>,
    captures: Option<Captures>,
}

impl Engine {
    fn run(mut self) {
        loop {
            let now = self.started.elapsed();
            let wait = self
                .switch
                .poll_at()
                .map_or(IDLE, |at| at.saturating_sub(now).min(IDLE));
            match self.inputs.recv_timeout(wait) {
                Ok(Input::Frame(port, frame)) => {
                    self.switch.receive(self.started.elapsed(), port, &frame);
                }
                Ok(Input::Errand(errand)) => errand(&mut self.switch),
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => self.save(wait == IDLE),
            }
            while let Some((port, frame)) = self.switch.poll_transmit(self.started.elapsed()) {
                // Full: dropped, as a switch does.
                let _ = self.outputs[port].try_send(frame);
            }
            self.save(false);
        }
        self.save(true);
    }

    /// Captures are a help only: without disk space the switch goes on.
    fn save(&mut self, flush: bool) {
        let captured = self.switch.take_captured();
        if let Some(captures) = &mut self.captures {
            let written = captured.iter().try_for_each(|frame| captures.write(frame));
            let flushed = if flush { captures.flush() } else { Ok(()) };
            if let Err(error) = written.and(flushed) {
                eprintln!("the switch can capture no more: {error}");
                self.captures = None;
            }
        }
    }
}
