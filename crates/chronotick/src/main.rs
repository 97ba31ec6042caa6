//! The `chronotick` program; everything is in the library.

use clap::Parser;

fn main() -> std::process::ExitCode {
    chronotick::cli::execute(chronotick::cli::Arguments::parse())
}
