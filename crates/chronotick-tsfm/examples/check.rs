//! Replays the recorded cases of checkpoint folders and prints how far each answer is from its reference's, as a share of
//! the tolerance: `cargo run --release -p chronotick-tsfm --example check -- DIR…`. Exits with 1 if any is beyond it.

use chronotick_tsfm::check;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut passed = true;
    for dir in std::env::args().skip(1) {
        match check::run(Path::new(&dir)) {
            Ok(report) => {
                println!("{dir}: {:?}", report.family);
                for case in &report.cases {
                    let verdict = if case.passes() { "passes" } else { "FAILS" };
                    println!(
                        "  {verdict} {:<40} {:.3} of the tolerance at {}",
                        case.name, case.deviation, case.at
                    );
                }
                passed &= report.passes();
            }
            Err(e) => {
                eprintln!("{dir}: {e}");
                passed = false;
            }
        }
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
