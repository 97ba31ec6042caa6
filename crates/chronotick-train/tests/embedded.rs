//! The embedded model, in worlds that it was not trained in.

use chronotick_core::Span;
use chronotick_train::{EXPECTED, Judgement, embedded, evaluate};

#[test]
fn the_embedded_model_helps_far_ahead_and_never_harms() {
    let Judgement { lines } = evaluate(&embedded().unwrap(), &EXPECTED, &["b", "e4"], &[77]).unwrap();
    assert_eq!(lines.len(), 8);
    for line in &lines {
        assert!(line.fused < 1.02 * line.bank, "{line:?}");
        assert!(line.model < 1.1 * line.bank, "{line:?}");
    }
    let heated = lines.iter().find(|l| l.scenario == "e4" && l.horizon == Span::from_secs(1800)).unwrap();
    assert!(heated.model < 0.85 * heated.bank && heated.inside > 0.8, "{heated:?}");
    assert!(heated.fused < 0.85 * heated.bank, "{heated:?}");
}
