//! Links the accelerator (`crates/cipher`, compiled with the processor's AES instructions) into the
//! loader, if `cargo xtask build` has made it and says where it is; and leaves debug information out.

fn main() {
    const LIBRARY: &str = "BOWLINE_ACCELERATOR";
    // An image names its debug information by a number that depends on folders of the machine: the
    // same source would give other bytes on another one.
    println!("cargo:rustc-link-arg-bins=/DEBUG:NONE");
    println!("cargo:rerun-if-env-changed={LIBRARY}");
    println!("cargo:rustc-check-cfg=cfg(bowline_accelerator)");
    if let Ok(library) = std::env::var(LIBRARY) {
        println!("cargo:rerun-if-changed={library}");
        println!("cargo:rustc-link-arg-bins={library}");
        println!("cargo:rustc-cfg=bowline_accelerator");
    }
}
