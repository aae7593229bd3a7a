//! What is asked of the targets, how often and by whom.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Everything, unless told otherwise.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How often every measurement is made.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) runs: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) seconds: u32,
    /// Some of these.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["4k", "64k", "1m"])]
    patterns: Vec<Pattern>,
    /// Commands under way in each session.
    #[arg(long, value_delimiter = ',', default_value = "1,32")]
    depths: Vec<usize>,
    /// Sessions at the same time.
    #[arg(long, value_delimiter = ',', default_value = "1,8,64")]
    sessions: Vec<usize>,
    /// Who asks.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["iscsi-perf", "fio"])]
    pub(super) clients: Vec<Client>,
    /// The same again inside its namespaces, with the image in this folder.
    #[arg(long, hide = true)]
    pub(super) inside: Option<PathBuf>,
}

/// Where and how much is read at a time.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Pattern {
    /// 4 KiB, anywhere.
    #[value(name = "4k")]
    Small,
    /// 64 KiB, anywhere.
    #[value(name = "64k")]
    Medium,
    /// 1 MiB, one after the other.
    #[value(name = "1m")]
    Large,
}

/// A program that asks.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Client {
    /// A process for each session.
    IscsiPerf,
    /// A thread for each session.
    Fio,
}

/// What is asked of the targets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) name: &'static str,
    pub(super) bytes: usize,
    pub(super) random: bool,
    pub(super) depth: usize,
    pub(super) sessions: usize,
}

impl Arguments {
    /// All that is to be measured.
    pub(super) fn loads(&self) -> Vec<Load> {
        let mut loads = Vec::new();
        for pattern in &self.patterns {
            let (name, bytes, random) = match pattern {
                Pattern::Small => ("4 KiB random", 4 << 10, true),
                Pattern::Medium => ("64 KiB random", 64 << 10, true),
                Pattern::Large => ("1 MiB sequential", 1 << 20, false),
            };
            for &depth in &self.depths {
                for &sessions in &self.sessions {
                    loads.push(Load {
                        name,
                        bytes,
                        random,
                        depth,
                        sessions,
                    });
                }
            }
        }
        loads
    }
}

impl Client {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::IscsiPerf => "iscsi-perf",
            Self::Fio => "fio",
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &str) -> Option<Arguments> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        Some(Line::try_parse_from(words).ok()?.arguments)
    }

    #[test]
    fn everything_is_measured_unless_some_of_it_is_named() {
        let all = parse("").unwrap();
        assert_eq!((all.loads().len(), all.clients.len()), (18, 2));
        let some = parse("--patterns 1m --depths 4,8 --sessions 3 --clients fio").unwrap();
        let loads: Vec<_> = some
            .loads()
            .iter()
            .map(|it| (it.name, it.bytes, it.depth, it.sessions))
            .collect();
        let expected = [4, 8].map(|depth| ("1 MiB sequential", 1 << 20, depth, 3));
        assert_eq!(loads, expected);
        assert_eq!(some.clients.len(), 1);
        assert!(parse("--patterns 3k").is_none());
        assert!(parse("--runs 0").is_none());
    }
}
