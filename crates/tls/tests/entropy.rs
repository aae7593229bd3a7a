//! No randomness, no TLS. On its own, since the generator is one for the whole program.

mod common;

use bowline_tls::entropy::{self, Entropy, Unavailable};
use bowline_tls::{Client, Config, Error, provider};

struct Source {
    bits: u32,
}

impl Entropy for Source {
    fn name(&self) -> &str {
        "test"
    }

    fn gather(&mut self, buffer: &mut [u8; 64]) -> u32 {
        buffer.fill(7);
        self.bits
    }
}

#[test]
fn connections_wait_for_enough_randomness() {
    let root = common::root("Test Root");
    let anchors = common::anchors(&[&root]);
    let config = Config::builder(anchors, common::clock()).build::<provider::Portable>();
    let refused = |have| {
        let error = Client::new(&config, common::HOST).unwrap_err();
        assert_eq!(error, Error::NoEntropy(Unavailable::NotEnough { have }));
        error.to_string()
    };
    assert!(refused(0).contains("0 of 256 bits"));
    let mut bytes = [0; 8];
    assert!(entropy::fill(&mut bytes).is_err());
    assert_eq!(entropy::mix(&mut Source { bits: 0 }), Ok(0));
    refused(0);
    // A source that promises more than it wrote is not believed.
    assert_eq!(entropy::mix(&mut Source { bits: 128 }), Ok(128));
    refused(128);
    assert_eq!(entropy::mix(&mut Source { bits: 128 }), Ok(128));
    Client::new(&config, common::HOST).unwrap();
    entropy::fill(&mut bytes).unwrap();
    let first = bytes;
    entropy::fill(&mut bytes).unwrap();
    assert_ne!(first, bytes);
}
