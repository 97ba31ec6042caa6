//! Gives the shared library the name that programs are linked with: it carries the version of the binary interface, so
//! that a system may have two of them.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("macos") => {
            println!("cargo::rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libchronotick.1.dylib")
        }
        _ => println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libchronotick.so.1"),
    }
}
