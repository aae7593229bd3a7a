//! Bytes that wait for the socket, in the pieces in which they came.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use super::buffers;

/// A queue of bytes. Many pieces go out with one system call, and none is copied.
#[derive(Debug, Default)]
pub(super) struct Output {
    pieces: VecDeque<Vec<u8>>,
    /// Bytes of the first piece that are gone already.
    sent: usize,
    len: usize,
}

impl Output {
    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn push(&mut self, piece: Vec<u8>) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// Gives bytes to `write`, which says how many it took, until all are gone or it would have
    /// to wait.
    pub(super) fn write(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<()> {
        while !self.is_empty() {
            let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(SLICES_MAX);
            let mut start = self.sent;
            for piece in self.pieces.iter().take(SLICES_MAX) {
                slices.push(IoSlice::new(piece.get(start..).unwrap_or_default()));
                start = 0;
            }
            match write(&slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => self.advance(len),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn advance(&mut self, len: usize) {
        self.len -= len;
        self.sent += len;
        while let Some(first) = self.pieces.front()
            && self.sent >= first.len()
        {
            self.sent -= first.len();
            let gone = self.pieces.pop_front();
            buffers::give(gone.unwrap_or_default());
        }
    }
}

/// Linux takes 1024 slices at most (IOV_MAX); far fewer already cost next to nothing each.
const SLICES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_goes_out_once_and_in_order() {
        for step in 1..50 {
            let mut output = Output::default();
            let mut expected: Vec<u8> = Vec::new();
            for len in [0, 1, 7, 0, 30, 2, 100] {
                let piece: Vec<u8> = (expected.len()..expected.len() + len)
                    .map(|n| n as u8)
                    .collect();
                expected.extend(&piece);
                output.push(piece);
            }
            let (mut sent, mut calls) = (Vec::<u8>::new(), 0);
            while !output.is_empty() {
                output
                    .write(|slices| {
                        calls += 1;
                        if calls % 3 == 0 {
                            return Err(io::ErrorKind::WouldBlock.into());
                        }
                        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
                        sent.extend(&all[..step.min(all.len())]);
                        Ok(step.min(all.len()))
                    })
                    .unwrap();
            }
            assert_eq!(sent, expected, "{step} bytes at a time");
            assert_eq!((output.len(), output.sent, output.pieces.len()), (0, 0, 0));
        }
    }
}
