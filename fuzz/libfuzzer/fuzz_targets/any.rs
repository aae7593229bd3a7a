//! The target that the environment variable `BOWLINE_FUZZ_TARGET` names, under libFuzzer.
#![no_main]

use std::sync::LazyLock;

use bowline_fuzz::Target;
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = std::env::var("BOWLINE_FUZZ_TARGET").unwrap_or_default();
    Target::find(&name).expect("BOWLINE_FUZZ_TARGET names a target")
});

fuzz_target!(|data: &[u8]| (TARGET.run)(data));
