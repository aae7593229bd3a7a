//! What is at the other end: is the unit a disk, is it ready, how large is it, may it be written.
//! All questions are asked at once: one round trip.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::future::poll_fn;
use core::task::Poll;

use litemap::LiteMap;

use bowline_scsi::identity::Identity;
use bowline_scsi::inquiry::{BlockLimits, page};
use bowline_scsi::lun::parse_report;
use bowline_scsi::mode::{self, ModeParameters};
use bowline_scsi::{Capacity, Cdb, Form, Inquiry};

use crate::failure::{Code, Failure};
use crate::platform::Geometry;
use crate::san::cache::{CommandId, LINE_BYTES};
use crate::san::identity::{self, PAGE_BYTES};
use crate::san::queue::{CommandQueue, Request};

/// Answers to the questions.
pub(crate) struct Found {
    pub(crate) geometry: Geometry,
    /// Vendor and product.
    pub(crate) product: String,
    pub(crate) identity: Identity,
}

/// Asks.
pub(crate) async fn probe(queue: &impl CommandQueue) -> Result<Found, Failure> {
    let mut questions = Questions {
        queue,
        answers: LiteMap::new(),
    };
    let inquiry = questions.ask(
        Cdb::Inquiry {
            page: None,
            allocation_length: 96,
        },
        96,
    );
    let ready = questions.ask(Cdb::TestUnitReady, 0);
    let capacity = questions.ask(
        Cdb::ReadCapacity16 {
            allocation_length: 32,
        },
        32,
    );
    let mode = questions.ask(mode_sense(), 192);
    let limits = questions.ask(
        Cdb::Inquiry {
            page: Some(page::BLOCK_LIMITS),
            allocation_length: 64,
        },
        64,
    );
    let identity = identity::questions().map(|question| questions.ask(question, PAGE_BYTES as u32));

    let inquiry = questions.answer(inquiry).await?;
    let inquiry = Inquiry::parse(&inquiry)
        .ok_or_else(|| Failure::new(Code::DiskProtocol, "the INQUIRY data is too short"))?;
    if !inquiry.is_disk() {
        // A qualifier says that nothing answers at this number (SPC-4 section 6.6.2).
        let message = match inquiry.peripheral_qualifier {
            0 => format!("it is no disk but {inquiry}"),
            _ => questions.missing_unit().await,
        };
        return Err(Failure::new(Code::DiskNoUnit, message));
    }
    questions.answer(ready).await?;
    let capacity = match questions.answer(capacity).await {
        Ok(data) => Capacity::parse16(&data),
        // Disks below 2 TiB may not know the long form.
        Err(failure) if failure.code() == Code::DiskError => {
            let short = questions.ask(Cdb::ReadCapacity10, 8);
            Capacity::parse10(&questions.answer(short).await?).and_then(Result::ok)
        }
        Err(failure) => return Err(failure),
    };
    let capacity = capacity
        .ok_or_else(|| Failure::new(Code::DiskProtocol, "the READ CAPACITY data makes no sense"))?;
    // A disk that does not know the question can be written for all we know.
    let mode = questions.answer(mode).await.ok();
    let mode = mode
        .and_then(|data| ModeParameters::parse(Form::Six, &data))
        .unwrap_or_default();
    let limits = questions.answer(limits).await.ok();
    let limits = limits.and_then(|data| BlockLimits::parse(&data));
    let [names, serial] = identity;
    let names = questions.answer(names).await.unwrap_or_default();
    let serial = questions.answer(serial).await.unwrap_or_default();
    Ok(Found {
        geometry: geometry(capacity, mode.write_protected, limits.unwrap_or_default())?,
        product: format!("{} {}", inquiry.vendor, inquiry.product),
        identity: Identity::parse(&names, &serial),
    })
}

fn mode_sense() -> Cdb {
    Cdb::ModeSense {
        form: Form::Six,
        long_lba: false,
        disable_block_descriptors: true,
        page_control: 0,
        page: mode::PAGE_ALL,
        subpage: 0,
        allocation_length: 192,
    }
}

fn geometry(capacity: Capacity, read_only: bool, limits: BlockLimits) -> Result<Geometry, Failure> {
    let Capacity {
        blocks, block_size, ..
    } = capacity;
    if !matches!(block_size, 512 | 1024 | 2048 | 4096) {
        let message = format!("the disk has blocks of {block_size} bytes");
        return Err(Failure::new(Code::DiskUnsupported, message));
    }
    if blocks.checked_mul(u64::from(block_size)).is_none() {
        let message = format!("the disk says it has {blocks} blocks of {block_size} bytes");
        return Err(Failure::new(Code::DiskUnsupported, message));
    }
    let transfer_max = match limits.maximum_transfer {
        0 => u32::MAX,
        blocks => blocks.saturating_mul(block_size),
    };
    if transfer_max < TRANSFER_MIN {
        let message = format!("the disk moves {transfer_max} bytes in one command at most");
        return Err(Failure::new(Code::DiskUnsupported, message));
    }
    let physical = 1_u32.checked_shl(capacity.physical_block_exponent.into());
    Ok(Geometry {
        physical_block_size: physical.map_or(block_size, |blocks| {
            block_size.checked_mul(blocks).unwrap_or(block_size)
        }),
        granularity: limits.optimal_granularity.into(),
        transfer_max,
        ..Geometry::new(block_size, blocks, read_only)
    })
}

/// The least that a disk must take in one command: a line of the cache.
const TRANSFER_MIN: u32 = LINE_BYTES as u32;

/// Room for sixteen units in the answer to REPORT LUNS.
const REPORT_BYTES: u32 = 8 + 16 * 8;

/// Several commands under way, answered in any order.
struct Questions<'q, Q> {
    queue: &'q Q,
    answers: LiteMap<CommandId, Result<Vec<u8>, Failure>>,
}

impl<Q: CommandQueue> Questions<'_, Q> {
    fn ask(&self, cdb: Cdb, length: u32) -> CommandId {
        self.queue.submit(Request::Ask { cdb, length })
    }

    /// What to say where there is no logical unit of this number: which ones there are.
    async fn missing_unit(&mut self) -> String {
        let question = self.ask(
            Cdb::ReportLuns {
                select_report: 0,
                allocation_length: REPORT_BYTES,
            },
            REPORT_BYTES,
        );
        let luns = self.answer(question).await.ok();
        let luns = luns
            .and_then(|data| parse_report(&data))
            .unwrap_or_default();
        let luns: Vec<String> = luns.iter().map(ToString::to_string).collect();
        let missing = "the target has no logical unit of this number";
        match luns.as_slice() {
            [] => String::from(missing),
            luns => format!("{missing}; it has {}", luns.join(", ")),
        }
    }

    async fn answer(&mut self, command: CommandId) -> Result<Vec<u8>, Failure> {
        poll_fn(|_| {
            self.queue.turn();
            while let Some((ended, result)) = self.queue.take_finished() {
                self.answers.insert(ended, result);
            }
            let answer = self.answers.remove(&command);
            answer.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}
