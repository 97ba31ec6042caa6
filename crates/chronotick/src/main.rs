//! The `chronotick` program; everything is in the library.

use chronotick::cli;

fn main() -> std::process::ExitCode {
    cli::arguments(std::env::args_os()).map_or_else(|exit| exit, cli::execute)
}
