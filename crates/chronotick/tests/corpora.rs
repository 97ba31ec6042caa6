//! Every input that fuzzing has found worth keeping, and the seeds, through the targets once more: no fuzzer is needed for that.
//! The file of each that once failed stays among them.

#[path = "../../../fuzz/targets.rs"]
mod targets;

use std::path::Path;

#[test]
fn no_input_of_the_corpora_does_harm() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, _) in targets::ALL {
        let folder = std::fs::read_dir(corpora.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut count = 0;
        for entry in folder {
            let path = entry.expect("an entry").path();
            let data = std::fs::read(&path).expect("a file");
            // The name of the file is the last thing said where a target panics.
            println!("{}", path.display());
            targets::run(name, &data);
            count += 1;
        }
        assert!(count > 0, "{name} has no corpus");
    }
}
