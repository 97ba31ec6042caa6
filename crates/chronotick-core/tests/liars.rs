//! Sources that lie while they claim to be better than everybody: what the answer, the state and the reason are, whoever
//! lies and however many do. `docs/refclocks.md` tells the same in a table.

use chronotick_core::*;
use proptest::prelude::*;

const EPOCH: i64 = 1_790_000_000_000_000_000;
const MILLI: i64 = 1_000_000;

/// One source: how wrong it is at a second, and how wrong it says that it may be.
struct Told {
    lie: Box<dyn Fn(i64) -> i64>,
    delay: i64,
    role: Role,
}

/// Honest, 20 ms of round trip away, and off by less than half of that.
fn honest(asymmetry: i64) -> Told {
    Told { lie: Box::new(move |_| asymmetry), delay: 20 * MILLI, role: Role::default() }
}

/// Wrong by so many ns, and claiming to be next door.
fn liar(by: i64) -> Told {
    Told { lie: Box::new(move |_| by), delay: 1_000, role: Role::default() }
}

/// What a crowd of sources makes of the engine: the reading at the end, how wrong its bound ever was, and the verdicts.
struct Outcome {
    reading: Reading,
    error: i64,
    always_inside: bool,
    ever_synced: bool,
    verdicts: Vec<Verdict>,
}

/// Lets the sources answer once a second; true time is the raw clock's own.
fn hear(crowd: &[Told], seconds: i64) -> Outcome {
    let start = RawInstant::from_nanos(0);
    let mut engine = Engine::new(Settings::default(), start);
    let ids: Vec<SourceId> = (0..crowd.len()).map(|i| engine.add_source(format!("s{i}"))).collect();
    for (id, told) in ids.iter().zip(crowd) {
        engine.set_role(*id, told.role);
    }
    let (mut always_inside, mut ever_synced, mut last) = (true, false, None);
    for second in 0..seconds {
        for (i, (source, told)) in ids.iter().zip(crowd).enumerate() {
            let at = start + Span::from_secs(second) + Span::from_millis(20 * i as i64);
            engine.measure(&Measurement {
                source: *source,
                at,
                received: at + Span::from_nanos(told.delay / 2),
                utc: Timestamp::from_nanos(EPOCH + at.as_nanos() + (told.lie)(second)),
                delay: Span::from_nanos(told.delay),
                root_delay: Span::ZERO,
                root_dispersion: Span::from_micros(1),
                stratum: 1,
                leap: Leap::None,
                stamps: Stamps::Kernel,
            });
        }
        let now = start + Span::from_secs(second) + Span::from_millis(900);
        let reading = engine.solution(now).reading(now);
        let truth = Timestamp::from_nanos(EPOCH + now.as_nanos());
        always_inside &= reading.earliest <= truth && truth <= reading.latest;
        ever_synced |= reading.state == State::Synced;
        last = Some((reading, (reading.estimate - truth).as_nanos()));
    }
    let now = start + Span::from_secs(seconds);
    let (reading, error) = last.expect("some seconds");
    let verdicts = engine.sources(now).into_iter().map(|s| s.verdict).collect();
    Outcome { reading, error, always_inside, ever_synced, verdicts }
}

fn four_honest() -> Vec<Told> {
    vec![honest(2 * MILLI), honest(-3 * MILLI), honest(MILLI), honest(-MILLI)]
}

/// The case in which a selector that believes the tightest interval follows the liar.
#[test]
fn one_of_five_does_not_win_by_a_second_nor_by_fifty_milliseconds() {
    for by in [1_000 * MILLI, -1_000 * MILLI, 50 * MILLI, -50 * MILLI] {
        let mut crowd = four_honest();
        crowd.insert(0, liar(by));
        let outcome = hear(&crowd, 60);
        assert!(outcome.always_inside, "{by}");
        assert_eq!((outcome.reading.state, outcome.reading.reason), (State::Synced, Reason::Agreement));
        assert_eq!(outcome.verdicts[0], Verdict::Falseticker);
        assert!(outcome.error.abs() < 4 * MILLI, "{by}: off by {} ns", outcome.error);
    }
}

#[test]
fn two_of_five_do_not_win_even_together() {
    for lies in [[50 * MILLI, 50 * MILLI], [1_000 * MILLI, -1_000 * MILLI]] {
        let mut crowd = vec![honest(2 * MILLI), honest(-3 * MILLI), honest(MILLI)];
        crowd.extend(lies.map(liar));
        let outcome = hear(&crowd, 60);
        assert!(outcome.always_inside && outcome.reading.state == State::Synced);
        assert_eq!(outcome.verdicts[3..], [Verdict::Falseticker; 2]);
    }
}

/// Nobody can tell which half lies: the bound spans both, and the state says why.
#[test]
fn exactly_half_are_nobodys_majority() {
    let crowd = vec![honest(2 * MILLI), honest(-2 * MILLI), liar(50 * MILLI), liar(50 * MILLI)];
    let outcome = hear(&crowd, 60);
    assert!(outcome.always_inside && !outcome.ever_synced);
    assert_eq!((outcome.reading.state, outcome.reading.reason), (State::Unsynced, Reason::NoMajority));
    assert!(outcome.verdicts.iter().all(|v| *v == Verdict::NoMajority));
}

/// Three of five that drift away together are a majority, and no protocol can help; but not unnoticed where one source is
/// trusted by the operator.
#[test]
fn a_majority_that_lies_slowly_wins_unless_someone_is_trusted() {
    let slow = || Told { lie: Box::new(|second| second * MILLI), ..liar(0) };
    let crowd = vec![honest(MILLI), honest(-MILLI), slow(), slow(), slow()];
    let outcome = hear(&crowd, 120);
    assert!(!outcome.always_inside, "a majority is believed");
    assert_eq!(outcome.verdicts[..2], [Verdict::Falseticker; 2], "and what it excludes is shown");
    let trusted = Told { role: Role { trust: true, ..Role::default() }, ..honest(MILLI) };
    let outcome = hear(&[trusted, honest(-MILLI), slow(), slow(), slow()], 120);
    assert!(outcome.always_inside && outcome.reading.state == State::Synced);
    assert_eq!(outcome.verdicts[2..], [Verdict::Falseticker; 3]);
}

/// Four servers of one operator are four votes: operators are not known here. One operator's mistake shows as soon as the
/// others are a majority.
#[test]
fn an_operators_servers_count_each_for_itself() {
    let mut crowd: Vec<Told> = (0..3).map(|_| liar(80 * MILLI)).collect();
    crowd.extend([honest(MILLI), honest(-MILLI), honest(2 * MILLI)]);
    let outcome = hear(&crowd, 60);
    assert!(outcome.always_inside);
    assert_eq!(outcome.reading.reason, Reason::NoMajority);
    crowd.push(honest(0));
    let outcome = hear(&crowd, 60);
    assert!(outcome.always_inside && outcome.reading.state == State::Synced);
}

/// A smeared leap second: two of five run slow for a day, by half a second in the middle.
#[test]
fn smeared_servers_among_others_become_falsetickers_while_they_smear() {
    let smeared = || Told { lie: Box::new(|second| -second * 11_574), ..honest(0) };
    let crowd = vec![honest(MILLI), honest(-MILLI), honest(2 * MILLI), smeared(), smeared()];
    let outcome = hear(&crowd, 4_000);
    assert!(outcome.always_inside && outcome.reading.state == State::Synced);
    assert_eq!(outcome.verdicts[3..], [Verdict::Falseticker; 2]);
    assert!(outcome.error.abs() < 4 * MILLI, "off by {} ns", outcome.error);
}

/// A reference clock that is preferred narrows the bound to its own, and one that lies does not.
#[test]
fn a_preferred_clock_is_followed_within_what_the_majority_allows() {
    let preferred = |by| Told { role: Role { prefer: true, ..Role::default() }, ..liar(by) };
    let mut crowd = four_honest();
    crowd.push(preferred(0));
    let outcome = hear(&crowd, 60);
    assert!(outcome.always_inside);
    assert!(outcome.reading.max_error() < Span::from_micros(100), "{}", outcome.reading.max_error());
    assert!(outcome.error.abs() < 20_000, "off by {} ns", outcome.error);
    crowd.pop();
    crowd.push(preferred(1_000 * MILLI));
    let outcome = hear(&crowd, 60);
    assert!(outcome.always_inside && outcome.verdicts[4] == Verdict::Falseticker);
    assert!(outcome.error.abs() < 4 * MILLI);
}

#[test]
fn who_has_no_say_changes_nothing_and_who_is_required_must_be_there() {
    let silent = Told { role: Role { noselect: true, ..Role::default() }, ..liar(1_000 * MILLI) };
    let mut crowd = four_honest();
    crowd.push(silent);
    let outcome = hear(&crowd, 60);
    assert!(outcome.always_inside && outcome.reading.state == State::Synced);
    assert_eq!(outcome.verdicts[4], Verdict::Unselected);
    let required = Told { role: Role { require: true, ..Role::default() }, ..liar(1_000 * MILLI) };
    let mut crowd = four_honest();
    crowd.push(required);
    let outcome = hear(&crowd, 60);
    assert_eq!((outcome.reading.state, outcome.reading.reason), (State::Unsynced, Reason::RequiredSilent));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever a minority says, and however it changes: truth stays inside.
    #[test]
    fn no_minority_wins(
        lies in prop::collection::vec((-2_000i64..2_000, -50i64..50), 1..3),
        asymmetries in prop::collection::vec(-9i64..9, 3..5),
    ) {
        let mut crowd: Vec<Told> = asymmetries.into_iter().map(|a| honest(a * MILLI)).collect();
        for (by, drift) in lies {
            crowd.push(Told { lie: Box::new(move |second| (by + drift * second) * MILLI), ..liar(0) });
        }
        prop_assert!(hear(&crowd, 20).always_inside);
    }
}
