//! The switch in real time: a thread that runs it, and two more for each port that carry frames
//! from and to a virtual machine or a TAP device.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
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

/// A QEMU guest's card: `-netdev stream,server=off,addr.type=unix,addr.path=PATH`, one machine
/// after another. Each frame follows its length, 32 bits in network order.
#[derive(Debug)]
pub struct Guest {
    listener: UnixListener,
    stream: Mutex<Option<Arc<UnixStream>>>,
}

impl Guest {
    /// Listens at `path`, which must not exist. Fails as sockets do.
    pub fn listen(path: &Path) -> io::Result<Self> {
        Ok(Self {
            listener: UnixListener::bind(path)?,
            stream: Mutex::new(None),
        })
    }

    fn current(&self) -> Option<Arc<UnixStream>> {
        self.stream
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_current(&self, stream: Option<Arc<UnixStream>>) {
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = stream;
    }
}

impl Cable for Guest {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let stream = match self.current() {
                Some(stream) => stream,
                None => {
                    let stream = Arc::new(self.listener.accept()?.0);
                    self.set_current(Some(stream.clone()));
                    stream
                }
            };
            match read_frame(&stream, buffer) {
                Ok(length) => return Ok(length),
                // The machine is gone; the next one may come.
                Err(_) => self.set_current(None),
            }
        }
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        if let Some(stream) = self.current() {
            let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
            let message = [&length.to_be_bytes(), frame].concat();
            // A machine that has ended: the receiving thread notices.
            let _ = (&*stream).write_all(&message);
        }
        Ok(())
    }
}

fn read_frame(mut stream: &UnixStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    let place = buffer
        .get_mut(..length)
        .ok_or_else(|| io::Error::other(format!("a frame of {length} bytes: that is no frame")))?;
    stream.read_exact(place)?;
    Ok(length)
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
