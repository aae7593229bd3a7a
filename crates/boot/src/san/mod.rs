//! SAN drives: iSCSI sessions below, a block cache with read-ahead, disks for the firmware above.

mod cache;
mod cached;
mod queue;
