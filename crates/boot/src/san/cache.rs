//! The block cache of a drive and its read-ahead: pure bookkeeping, no I/O.
//!
//! A disk is cut into lines of [`LINE_BYTES`]. A line is absent, on its way (asked for with a
//! command), or present. Sequential readers are recognised and lines ahead of them are asked for
//! early, so that the next request finds its data here: that hides the way to the disk, which is
//! what costs when a boot loader reads a kernel in pieces of 32 KiB.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ops::Range;

/// A line: small enough that a lone sector read stays within one TCP window of the smallest
/// network card (24 frames), large enough that a map of the cache stays small.
pub(crate) const LINE_BYTES: usize = 16 * 1024;

/// A line of the disk, counted from its start.
pub(crate) type LineIndex = u64;

/// The command that brings lines.
pub(crate) type CommandId = u64;

/// What the cache knows about one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineState {
    /// Nobody asked for it.
    Absent,
    /// Asked for, with this command.
    Pending(CommandId),
    /// Here.
    Present,
}

/// The lines of one disk.
pub(crate) struct Cache {
    lines: BTreeMap<LineIndex, Line>,
    /// Present lines by the time of their last use.
    uses: BTreeMap<u64, LineIndex>,
    clock: u64,
    /// What the present lines keep in memory, and the most that they may.
    kept: usize,
    kept_max: usize,
}

enum Line {
    Pending(CommandId),
    Present {
        answer: Answer,
        /// Where in the answer the line begins.
        start: usize,
        used: u64,
    },
}

/// What a command brought: not copied, but kept for as long as one of its lines is.
type Answer = Rc<RefCell<Vec<u8>>>;

impl Cache {
    /// A cache that keeps at most `kept_max` bytes that have arrived.
    pub(crate) fn new(kept_max: usize) -> Self {
        Self {
            lines: BTreeMap::new(),
            uses: BTreeMap::new(),
            clock: 0,
            kept: 0,
            kept_max,
        }
    }

    pub(crate) fn state(&self, line: LineIndex) -> LineState {
        match self.lines.get(&line) {
            None => LineState::Absent,
            Some(Line::Pending(command)) => LineState::Pending(*command),
            Some(Line::Present { .. }) => LineState::Present,
        }
    }

    /// Whether nothing in `range` is here or on its way.
    pub(crate) fn is_absent(&self, range: Range<LineIndex>) -> bool {
        self.lines.range(range).next().is_none()
    }

    /// The next run of absent lines in `range`, at most `lines_max` long.
    pub(crate) fn absent_run(
        &self,
        range: Range<LineIndex>,
        lines_max: u64,
    ) -> Option<Range<LineIndex>> {
        let known = self.lines.range(range.clone());
        let in_a_row = range
            .clone()
            .zip(known)
            .take_while(|(line, (known, _))| line == *known);
        let start = range.start + in_a_row.count() as u64;
        let limit = range.end.min(start.saturating_add(lines_max));
        if start >= limit {
            return None;
        }
        let next_known = self.lines.range(start..limit).next();
        Some(start..next_known.map_or(limit, |(&line, _)| line))
    }

    /// Notes that a command asks for `lines`.
    pub(crate) fn request(&mut self, lines: Range<LineIndex>, command: CommandId) {
        for line in lines {
            self.forget(line);
            self.lines.insert(line, Line::Pending(command));
        }
    }

    /// Takes what a command brought for `lines`. Those that do not wait for this command any more (a
    /// write went over them) are left alone; those that it did not bring are absent again.
    pub(crate) fn arrive(&mut self, command: CommandId, lines: Range<LineIndex>, data: Vec<u8>) {
        let length = data.len();
        self.make_room(length);
        self.kept += length;
        let answer = Rc::new(RefCell::new(data));
        for (line, start) in lines.clone().zip((0..length).step_by(LINE_BYTES)) {
            if self.state(line) == LineState::Pending(command) {
                let used = self.tick();
                self.uses.insert(used, line);
                let answer = Rc::clone(&answer);
                let present = Line::Present {
                    answer,
                    start,
                    used,
                };
                self.lines.insert(line, present);
            }
        }
        self.let_go(answer);
        self.fail(command, lines);
    }

    /// Notes that a command failed: those of its `lines` that wait for it are absent again.
    pub(crate) fn fail(&mut self, command: CommandId, lines: Range<LineIndex>) {
        for line in lines {
            if self.state(line) == LineState::Pending(command) {
                self.lines.remove(&line);
            }
        }
    }

    /// Copies from a present line, beginning `offset` bytes into it; false where it is not here
    /// or shorter than that.
    pub(crate) fn copy_out(&mut self, line: LineIndex, offset: usize, buffer: &mut [u8]) -> bool {
        let now = self.tick();
        let Some(Line::Present {
            answer,
            start,
            used,
        }) = self.lines.get_mut(&line)
        else {
            return false;
        };
        let answer = answer.borrow();
        let from = answer.get(*start + offset..);
        let Some(from) = from.and_then(|from| from.get(..buffer.len())) else {
            return false;
        };
        buffer.copy_from_slice(from);
        // What was used lately need not be moved up.
        if now - *used > (self.kept_max / LINE_BYTES / 4) as u64 {
            self.uses.remove(used);
            *used = now;
            self.uses.insert(now, line);
        }
        true
    }

    /// A write that the disk has taken: present lines get the new bytes.
    pub(crate) fn overwrite(&mut self, byte_offset: u64, mut bytes: &[u8]) {
        let mut line = byte_offset / LINE_BYTES as u64;
        let mut offset = (byte_offset % LINE_BYTES as u64) as usize;
        while !bytes.is_empty() {
            let (here, rest) = bytes.split_at(bytes.len().min(LINE_BYTES - offset));
            if let Some(Line::Present { answer, start, .. }) = self.lines.get(&line)
                && let Some(to) = answer.borrow_mut().get_mut(*start + offset..)
                && let Some(to) = to.get_mut(..here.len())
            {
                to.copy_from_slice(here);
            }
            (line, offset, bytes) = (line + 1, 0, rest);
        }
    }

    /// Lines on their way in `range` would arrive with the bytes of before a write: what comes
    /// for them is dropped.
    pub(crate) fn drop_pending(&mut self, range: Range<LineIndex>) {
        let stale: Vec<LineIndex> = self
            .lines
            .range(range)
            .filter(|(_, line)| matches!(line, Line::Pending(_)))
            .map(|(&index, _)| index)
            .collect();
        for line in stale {
            self.lines.remove(&line);
        }
    }

    /// Forgets the lines of `range`, present or not.
    pub(crate) fn invalidate(&mut self, range: Range<LineIndex>) {
        for line in range {
            self.forget(line);
        }
    }

    fn forget(&mut self, line: LineIndex) {
        if let Some(Line::Present { answer, used, .. }) = self.lines.remove(&line) {
            self.uses.remove(&used);
            self.let_go(answer);
        }
    }

    /// One less has the answer; after the last it is no longer in memory.
    fn let_go(&mut self, answer: Answer) {
        if let Some(data) = Rc::into_inner(answer) {
            self.kept -= data.into_inner().len();
        }
    }

    /// Makes room for so many bytes: the lines used longest ago go.
    fn make_room(&mut self, length: usize) {
        while self.kept + length > self.kept_max {
            let Some((_, &line)) = self.uses.first_key_value() else {
                return;
            };
            self.forget(line);
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

/// Recognises sequential readers and says how far ahead of them to ask.
#[derive(Debug, Default)]
pub(crate) struct ReadAhead {
    readers: [Option<Reader>; READERS_MAX],
    clock: u64,
}

/// Somebody who reads a file from front to back.
#[derive(Clone, Copy, Debug)]
struct Reader {
    /// The line after the last one it asked for.
    next: LineIndex,
    /// How many lines ahead of it are asked for.
    window: u64,
    used: u64,
}

impl ReadAhead {
    /// Takes note of a request for `lines` and returns how many lines after them to ask for;
    /// `None` where it goes on from no other.
    ///
    /// The window doubles with every step, so what is asked for in vain at the end of a file
    /// stays less than what was read of it.
    pub(crate) fn advise(&mut self, lines: &Range<LineIndex>) -> Option<u64> {
        self.clock += 1;
        let clock = self.clock;
        let follows = |reader: &Reader| {
            lines.start + 1 >= reader.next && lines.start <= reader.next + reader.window
        };
        if let Some(reader) = self
            .readers
            .iter_mut()
            .flatten()
            .find(|reader| follows(reader))
        {
            if lines.end > reader.next {
                reader.window = (reader.window * 2).clamp(WINDOW_LINES_MIN, WINDOW_LINES_MAX);
                reader.next = lines.end;
            }
            reader.used = clock;
            return Some(reader.window);
        }
        let fresh = Reader {
            next: lines.end,
            window: 0,
            used: clock,
        };
        let oldest = self
            .readers
            .iter_mut()
            .min_by_key(|slot| slot.map_or(0, |r| r.used));
        if let Some(slot) = oldest {
            *slot = Some(fresh);
        }
        None
    }
}

/// Says whether the rest of a line is worth bringing with a part of it: not to a reader who jumps
/// about, for whom it only makes the way longer.
#[derive(Debug, Default)]
pub(crate) struct Strays(u32);

impl Strays {
    /// Takes note of a request: a stray goes on from no other, and nothing of it is here.
    pub(crate) fn note(&mut self, is_stray: bool) {
        self.0 = if is_stray {
            (self.0 + 1).min(STRAYS_MAX)
        } else {
            self.0.saturating_sub(STRAYS_PAID)
        };
    }

    /// Whether requests find too little of what came along with others.
    pub(crate) fn are_many(&self) -> bool {
        self.0 == STRAYS_MAX
    }
}

/// Strays in a row that make many; a boot loader's metadata makes fewer.
const STRAYS_MAX: u32 = 8;

/// A request that finds a line is worth so many strays: a line costs up to three times as much as
/// the few blocks that were asked for.
const STRAYS_PAID: u32 = 2;

/// Readers that are told apart: the kernel, the initrd, directories in between.
const READERS_MAX: usize = 4;

/// The first window of a reader, in lines: 64 KiB.
const WINDOW_LINES_MIN: u64 = 4;

/// The largest window, in lines: 1 MiB, more than any receive budget holds in flight.
const WINDOW_LINES_MAX: u64 = 64;

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn line(byte: u8) -> Vec<u8> {
        vec![byte; LINE_BYTES]
    }

    fn first_byte(cache: &mut Cache, index: LineIndex) -> Option<u8> {
        let mut byte = [0];
        cache.copy_out(index, 0, &mut byte).then_some(byte[0])
    }

    #[test]
    fn lines_come_and_the_least_used_goes() {
        let mut cache = Cache::new(2 * LINE_BYTES);
        cache.request(0..3, 7);
        assert_eq!(cache.state(1), LineState::Pending(7));
        cache.arrive(7, 0..1, line(1));
        assert_eq!(cache.state(1), LineState::Pending(7));
        cache.arrive(7, 1..2, line(2));
        assert_eq!(first_byte(&mut cache, 0), Some(1));
        cache.arrive(7, 2..3, line(3));
        assert_eq!(
            first_byte(&mut cache, 1),
            None,
            "line 1 was used longest ago"
        );
        assert_eq!(first_byte(&mut cache, 0), Some(1));
        assert_eq!(first_byte(&mut cache, 2), Some(3));
    }

    #[test]
    fn an_answer_is_in_memory_until_its_last_line_goes() {
        let mut cache = Cache::new(3 * LINE_BYTES);
        cache.request(0..5, 7);
        cache.arrive(7, 0..2, [line(1), line(2)].concat());
        cache.arrive(7, 2..3, line(3));
        assert_eq!(first_byte(&mut cache, 1), Some(2));
        cache.arrive(7, 3..4, line(4));
        assert_eq!(cache.state(0), LineState::Absent, "used longest ago");
        assert_eq!(cache.state(2), LineState::Absent, "line 1 kept the first");
        assert_eq!(
            (first_byte(&mut cache, 1), cache.kept),
            (Some(2), 3 * LINE_BYTES)
        );
        cache.invalidate(0..4);
        assert_eq!(cache.kept, 0);
        cache.drop_pending(4..5);
        cache.arrive(7, 4..5, line(5));
        assert_eq!(cache.kept, 0, "nobody waited for it");
    }

    #[test]
    fn what_a_write_overtook_is_dropped() {
        let mut cache = Cache::new(8 * LINE_BYTES);
        cache.request(0..2, 1);
        cache.drop_pending(1..2);
        cache.arrive(1, 0..2, [line(1), line(2)].concat());
        assert_eq!(cache.state(0), LineState::Present);
        assert_eq!(cache.state(1), LineState::Absent);
    }

    #[test]
    fn a_write_changes_present_lines_across_their_edges() {
        let mut cache = Cache::new(8 * LINE_BYTES);
        cache.request(0..2, 1);
        cache.arrive(1, 0..2, [line(1), line(1)].concat());
        cache.overwrite(LINE_BYTES as u64 - 2, &[9; 4]);
        let mut bytes = [0; 4];
        assert!(cache.copy_out(0, LINE_BYTES - 4, &mut bytes));
        assert_eq!(bytes, [1, 1, 9, 9]);
        assert!(cache.copy_out(1, 0, &mut bytes));
        assert_eq!(bytes, [9, 9, 1, 1]);
    }

    #[test]
    fn runs_of_absent_lines() {
        let mut cache = Cache::new(8 * LINE_BYTES);
        cache.request(2..3, 1);
        assert_eq!(cache.absent_run(0..6, 8), Some(0..2));
        assert_eq!(cache.absent_run(2..6, 8), Some(3..6));
        assert_eq!(cache.absent_run(2..6, 2), Some(3..5));
        assert_eq!(cache.absent_run(2..3, 2), None);
        cache.fail(1, 2..3);
        assert_eq!(cache.absent_run(2..3, 2), Some(2..3));
    }

    #[test]
    fn a_short_last_line_gives_what_it_has() {
        let mut cache = Cache::new(8 * LINE_BYTES);
        cache.request(0..2, 1);
        cache.arrive(1, 0..2, vec![5; 512]);
        assert_eq!(cache.state(1), LineState::Absent, "nothing came for it");
        assert!(cache.copy_out(0, 0, &mut [0; 512]));
        assert!(!cache.copy_out(0, 512, &mut [0; 1]));
    }

    #[test]
    fn strays_are_many_when_few_requests_find_anything() {
        let mut strays = Strays::default();
        let mut after = |requests: &[bool]| {
            requests.iter().for_each(|stray| strays.note(*stray));
            strays.are_many()
        };
        assert!(!after(&[true; 7]));
        assert!(after(&[true]));
        assert!(!after(&[false]), "one finds what came along");
        assert!(!after(&[true]));
        assert!(after(&[true]));
        assert!(!after(&[true, false, true, false, true, false]));
        assert!(!after(&[true, true, false].repeat(20)));
    }

    #[test]
    fn read_ahead_grows_with_a_sequential_reader_only() {
        let mut ahead = ReadAhead::default();
        assert_eq!(
            ahead.advise(&(100..102)),
            None,
            "a first request proves nothing"
        );
        assert_eq!(ahead.advise(&(102..104)), Some(4));
        assert_eq!(
            ahead.advise(&(103..104)),
            Some(4),
            "the same line again is no step"
        );
        assert_eq!(ahead.advise(&(104..106)), Some(8));
        assert_eq!(ahead.advise(&(5000..5001)), None, "elsewhere");
        assert_eq!(
            ahead.advise(&(106..108)),
            Some(16),
            "the reader is remembered"
        );
        assert_eq!(ahead.advise(&(108..110)), Some(32));
        assert_eq!(ahead.advise(&(110..112)), Some(64));
        assert_eq!(
            ahead.advise(&(112..114)),
            Some(64),
            "there is a largest window"
        );
        for other in [9000, 8000, 7000, 6000] {
            assert_eq!(ahead.advise(&(other..other + 1)), None);
        }
        assert_eq!(
            ahead.advise(&(114..116)),
            None,
            "the least used reader is forgotten"
        );
    }
}
