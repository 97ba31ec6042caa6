//! The binary as a daemon without models, which are not what is looked at here.

use chronotick_peers::Daemon;

/// A daemon with this configuration file.
pub(crate) fn start(yaml: &str) -> Daemon {
    Daemon::start(env!("CARGO_BIN_EXE_chronotick"), &format!("{yaml}\npreset: minimal\n"), &[])
}
