//! What clap's grammar says on paper: completions for shells, and manual pages.

use super::{Arguments, Failure, say};
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use std::path::Path;
use std::process::ExitCode;

/// Prints the completions for a shell.
pub(super) fn completions(shell: Shell) -> Result<ExitCode, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "chronotick", &mut text);
    say(&String::from_utf8(text)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints `chronotick(1)`, or writes it and a page for each command into a folder.
pub(super) fn man(out: Option<&Path>) -> Result<ExitCode, Failure> {
    match out {
        Some(dir) => {
            std::fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
            clap_mangen::generate_to(Arguments::command(), dir)
                .map_err(|e| format!("{}: {e}", dir.display()))?;
        }
        None => {
            let mut page = Vec::new();
            Man::new(Arguments::command()).render(&mut page)?;
            say(&String::from_utf8(page)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
