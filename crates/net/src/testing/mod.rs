//! A wire between stacks, with a virtual clock.
