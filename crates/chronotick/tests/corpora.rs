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

/// Numbers that are the same each time (SplitMix64).
fn generator(mut state: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below.max(1) as u64) as usize
    }
}

/// One input made of two: bytes changed, cut out, doubled, exchanged for the other's or for what often does harm.
fn mutant(one: &[u8], other: &[u8], random: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
    const HARM: [&[u8]; 9] = [
        b"\xff",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"-1",
        b"9223372036854775807",
        b"1e999",
        b"\"",
        b"[[[[",
        b"NaN",
    ];
    let mut made = one.to_vec();
    for _ in 0..=random(4) {
        let at = random(made.len() + 1);
        let end = (at + random(9)).min(made.len());
        match random(6) {
            0 => made.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random(8)),
            1 => drop(made.drain(at..end)),
            2 => drop(made.splice(at..end, HARM[random(HARM.len())].iter().copied())),
            3 => drop(made.splice(at..at, made[at..end].to_vec())),
            4 => drop(made.splice(at..end, other.iter().skip(random(other.len())).take(random(40)).copied())),
            _ => made.truncate(at.max(1)),
        }
    }
    made
}

/// So many mutants of each corpus; `CHRONOTICK_MUTANTS` for more.
#[test]
fn no_mutant_of_the_corpora_does_harm() {
    let count = std::env::var("CHRONOTICK_MUTANTS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, target) in targets::ALL {
        let mut paths: Vec<_> = std::fs::read_dir(corpora.join(name))
            .expect("a corpus")
            .map(|e| e.expect("an entry").path())
            .collect();
        paths.sort();
        let corpus: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).expect("a file")).collect();
        let mut random = generator(1);
        for _ in 0..count {
            let (one, other) = (&corpus[random(corpus.len())], &corpus[random(corpus.len())]);
            let made = mutant(one, other, &mut random);
            if std::panic::catch_unwind(|| target(&made)).is_err() {
                panic!("{name}: {}", made.escape_ascii());
            }
        }
    }
}
