//! A disk with a block cache: reads from lines that are here or on their way, writes through.

use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::poll_fn;
use core::ops::Range;
use core::task::Poll;

use litemap::LiteMap;

use crate::failure::Failure;
use crate::platform::Geometry;
use crate::san::cache::{Cache, CommandId, LINE_BYTES, LineIndex, LineState, ReadAhead, Strays};
use crate::san::queue::{CommandQueue, Request};

/// A disk behind a queue, with its cache. One operation at a time.
pub(crate) struct CachedDisk<Q> {
    queue: Q,
    geometry: Geometry,
    cache: RefCell<Cache>,
    read_ahead: RefCell<ReadAhead>,
    strays: RefCell<Strays>,
    /// What each unfinished command is for.
    purposes: RefCell<LiteMap<CommandId, Purpose>>,
    /// Commands that somebody waits for by their identifier, ended.
    answers: RefCell<LiteMap<CommandId, Result<Vec<u8>, Failure>>>,
}

enum Purpose {
    /// Brings these cache lines.
    Lines(Range<LineIndex>),
    /// Somebody waits for exactly this command.
    Answer,
}

impl<Q: CommandQueue> CachedDisk<Q> {
    pub(crate) fn new(queue: Q, geometry: Geometry, cache_bytes: usize) -> Self {
        Self {
            queue,
            geometry,
            cache: RefCell::new(Cache::new(cache_bytes)),
            read_ahead: RefCell::default(),
            strays: RefCell::default(),
            purposes: RefCell::default(),
            answers: RefCell::default(),
        }
    }

    pub(crate) fn queue(&self) -> &Q {
        &self.queue
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Background work: takes what has come without anybody waiting for it.
    pub(crate) fn turn(&self) -> bool {
        let busy = self.queue.turn();
        self.harvest();
        busy
    }

    /// Reads whole blocks within the disk (the caller has checked).
    pub(crate) async fn read(&self, lba: u64, mut buffer: &mut [u8]) -> Result<(), Failure> {
        let start = lba * u64::from(self.geometry.block_size);
        let lines = lines_of(start, buffer.len());
        let mut offset = (start % LINE_BYTES as u64) as usize;
        let ahead = self.read_ahead.borrow_mut().advise(&lines);
        if self.is_stray_of_many(&lines, ahead) && buffer.len() < LINE_BYTES {
            return self.read_directly(lines.start, offset, buffer).await;
        }
        self.ask_ahead(&lines, ahead.unwrap_or(0));
        for line in lines.clone() {
            if (line - lines.start).is_multiple_of(DEMAND_LINES / 4) {
                self.ask_for(line, lines.end);
            }
            let piece_length = buffer.len().min(LINE_BYTES - offset);
            let (piece, rest) = buffer.split_at_mut(piece_length);
            self.read_from_line(line, lines.end, offset, piece).await?;
            (buffer, offset) = (rest, 0);
        }
        Ok(())
    }

    /// Writes whole blocks within the disk; the disk has taken them when this returns.
    pub(crate) async fn write(&self, lba: u64, data: &[u8]) -> Result<(), Failure> {
        let block_size = u64::from(self.geometry.block_size);
        let mut lba = lba;
        for chunk in data.chunks(self.write_bytes()) {
            let start = lba * block_size;
            let lines = lines_of(start, chunk.len());
            self.cache.borrow_mut().drop_pending(lines.clone());
            match self
                .command(Request::Write {
                    lba,
                    data: chunk.to_vec(),
                })
                .await
            {
                Ok(_) => self.cache.borrow_mut().overwrite(start, chunk),
                Err(failure) => {
                    self.cache.borrow_mut().invalidate(lines);
                    return Err(failure);
                }
            }
            lba += chunk.len() as u64 / block_size;
        }
        Ok(())
    }

    /// Brings what was written to stable storage.
    pub(crate) async fn flush(&self) -> Result<(), Failure> {
        self.command(Request::Flush).await.map(drop)
    }

    async fn read_from_line(
        &self,
        line: LineIndex,
        demanded_end: LineIndex,
        offset: usize,
        piece: &mut [u8],
    ) -> Result<(), Failure> {
        if !self.cache.borrow_mut().copy_out(line, offset, piece) {
            self.ask_for(line, demanded_end);
            let pending = || matches!(self.cache.borrow().state(line), LineState::Pending(_));
            self.wait_until(|| (!pending()).then_some(())).await;
            if !self.cache.borrow_mut().copy_out(line, offset, piece) {
                return self.read_directly(line, offset, piece).await;
            }
        }
        Ok(())
    }

    /// Reads exactly what was asked for, past the cache: the rest of the line is not wanted, or did
    /// not come, perhaps because only a part of it that nobody asked for is bad; what this says is
    /// the verdict.
    async fn read_directly(
        &self,
        line: LineIndex,
        offset: usize,
        piece: &mut [u8],
    ) -> Result<(), Failure> {
        let block_size = u64::from(self.geometry.block_size);
        let lba = (line * LINE_BYTES as u64 + offset as u64) / block_size;
        let blocks = (piece.len() as u64 / block_size) as u32;
        let data = self.command(Request::Read { lba, blocks }).await?;
        match data.get(..piece.len()) {
            Some(data) => piece.copy_from_slice(data),
            None => return Err(Failure::short_read(data.len(), piece.len())),
        }
        Ok(())
    }

    /// Runs one command to its end.
    async fn command(&self, request: Request) -> Result<Vec<u8>, Failure> {
        let command = self.submit(request, Purpose::Answer);
        self.wait_until(|| self.answers.borrow_mut().remove(&command))
            .await
    }

    /// Runs the queue until `done` says so.
    async fn wait_until<T>(&self, mut done: impl FnMut() -> Option<T>) -> T {
        poll_fn(|_| {
            self.turn();
            done().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Puts what has ended where it belongs.
    fn harvest(&self) {
        while let Some((command, result)) = self.queue.take_finished() {
            let purpose = self.purposes.borrow_mut().remove(&command);
            match (purpose, result) {
                (Some(Purpose::Lines(lines)), Ok(data)) => {
                    self.cache.borrow_mut().arrive(command, lines, data);
                }
                (Some(Purpose::Lines(lines)), Err(_)) => {
                    self.cache.borrow_mut().fail(command, lines);
                }
                (Some(Purpose::Answer), result) => {
                    self.answers.borrow_mut().insert(command, result);
                }
                (None, _) => {}
            }
        }
    }

    /// Sees that what is wanted now is on its way, with a window over large requests.
    fn ask_for(&self, line: LineIndex, demanded_end: LineIndex) {
        let window = line..demanded_end.min(line + DEMAND_LINES);
        self.fill(window.clone(), (window.end - window.start) / 2);
    }

    /// Whether a request, about which [`ReadAhead`] has said `ahead`, is one more stray.
    fn is_stray_of_many(&self, lines: &Range<LineIndex>, ahead: Option<u64>) -> bool {
        let is_stray = ahead.is_none() && self.cache.borrow().is_absent(lines.clone());
        let mut strays = self.strays.borrow_mut();
        strays.note(is_stray);
        is_stray && strays.are_many()
    }

    /// Sees that the `ahead` lines that a sequential reader will want soon are on their way.
    fn ask_ahead(&self, lines: &Range<LineIndex>, ahead: u64) {
        if ahead > 0 {
            self.ask_for(lines.start, lines.end);
            let horizon = (lines.end + ahead).min(self.line_count());
            self.fill(lines.end..horizon.max(lines.end), ahead / 2);
        }
    }

    /// Asks for every absent line of `window`, if one of them is within `urgent` lines of its
    /// start: few large commands, not many small ones.
    fn fill(&self, window: Range<LineIndex>, urgent: u64) {
        let urgent_end = window.start + urgent;
        let next = |from| {
            self.cache
                .borrow()
                .absent_run(from..window.end, self.command_lines())
        };
        let Some(mut run) = next(window.start).filter(|run| run.start <= urgent_end) else {
            return;
        };
        loop {
            let end = run.end;
            self.submit_lines(run);
            match next(end) {
                Some(more) => run = more,
                None => return,
            }
        }
    }

    fn submit_lines(&self, lines: Range<LineIndex>) {
        let line_blocks = LINE_BYTES as u64 / u64::from(self.geometry.block_size);
        let lba = lines.start * line_blocks;
        let blocks = (lines.end * line_blocks)
            .min(self.geometry.blocks)
            .saturating_sub(lba);
        let request = Request::Read {
            lba,
            blocks: blocks as u32,
        };
        let command = self.submit(request, Purpose::Lines(lines.clone()));
        self.cache.borrow_mut().request(lines, command);
    }

    fn submit(&self, request: Request, purpose: Purpose) -> CommandId {
        let command = self.queue.submit(request);
        self.purposes.borrow_mut().insert(command, purpose);
        command
    }

    /// Lines of one command, within what the disk takes.
    fn command_lines(&self) -> u64 {
        let most = self.geometry.transfer_max as usize / LINE_BYTES;
        (most as u64).clamp(1, COMMAND_LINES)
    }

    /// Bytes of one write, within what the disk takes.
    fn write_bytes(&self) -> usize {
        let most =
            self.geometry.transfer_max - self.geometry.transfer_max % self.geometry.block_size;
        (most as usize).clamp(LINE_BYTES, COMMAND_BYTES_MAX)
    }

    fn line_count(&self) -> u64 {
        let line_blocks = LINE_BYTES as u64 / u64::from(self.geometry.block_size);
        self.geometry.blocks.div_ceil(line_blocks)
    }
}

fn lines_of(start: u64, length: usize) -> Range<LineIndex> {
    let line = LINE_BYTES as u64;
    start / line..(start + length as u64).div_ceil(line)
}

/// Lines one command asks for: 64 KiB, so that the first of them is there early.
const COMMAND_LINES: u64 = 4;

/// Lines of one large request on their way at a time: 512 KiB.
const DEMAND_LINES: u64 = 32;

/// The longest write in one command.
const COMMAND_BYTES_MAX: usize = 128 * 1024;

#[cfg(test)]
mod tests;
