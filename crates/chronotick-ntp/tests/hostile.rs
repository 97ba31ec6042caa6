//! Promises about hostile networks: what an attacker sends without seeing our requests has no effect, and what he does to
//! the replies that he sees is noticed where it can be.

use chronotick_core::{Exchange, Leap, RawInstant, SourceId, Span, Stamps, Timestamp};
use chronotick_ntp::nts::{Keys, SecretKey, Session};
use chronotick_ntp::{Association, NtpTimestamp, Packet, Protection, ReferenceId, Responder, Settings};

const UTC: Timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000);

fn raw(millis: i64) -> RawInstant {
    RawInstant::from_nanos(millis * 1_000_000)
}

/// Numbers that look random and are the same each time (SplitMix64).
fn generator(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn exchange(arrived: i64) -> Exchange {
    Exchange {
        departed: raw(0),
        arrived: raw(arrived),
        stamps: Stamps::Kernel,
        uncertainty: Span::from_nanos(50),
        received: raw(arrived),
        about: UTC,
    }
}

fn server() -> Responder {
    Responder { leap: Some(Leap::None), stratum: 1, ..Responder::default() }
}

fn reply(request: &[u8]) -> [u8; Packet::LEN] {
    server().answer(request, UTC).expect("a client's request").leaving_at(UTC)
}

#[test]
fn of_a_million_guesses_none_is_accepted() {
    let (mut ours, mut theirs) = (generator(1), generator(2));
    for secured in [false, true] {
        let mut association = Association::new(SourceId(0), Settings::default(), raw(0));
        if secured {
            let keys = Keys { client: SecretKey::new([1; 32]), server: SecretKey::new([2; 32]) };
            association.protect(Protection::Nts(Session::new(keys, vec![vec![7; 100]; 8])));
        }
        let request = association.poll(raw(0), &mut ours).expect("the first request is due");
        let before = association.next_event();
        for guess in 0..1_000_000u32 {
            let nonce = NtpTimestamp::from_bits(theirs());
            let mut forged = reply(&Packet::request(nonce).to_bytes());
            if guess % 3 == 1 {
                let kiss = [*b"RATE", *b"DENY", *b"RSTR", *b"NTSN"][guess as usize % 4];
                let header =
                    Packet { stratum: 0, reference_id: ReferenceId(kiss), ..Packet::parse(&forged).unwrap() };
                forged = header.to_bytes();
            }
            assert!(association.receive(&forged, &exchange(5)).is_err());
        }
        assert_eq!((association.next_event(), association.denied()), (before, None));
        assert_eq!(association.counters().rejected["not_asked"], 1_000_000);
        // The server is still heard.
        if !secured {
            assert!(association.receive(&reply(&request), &exchange(8)).is_ok());
        }
    }
}

#[test]
fn who_sees_the_requests_cannot_forge_what_is_authenticated_nor_end_the_exchange() {
    let mut random = generator(3);
    let keys = Keys { client: SecretKey::new([1; 32]), server: SecretKey::new([2; 32]) };
    let mut association = Association::new(SourceId(0), Settings::default(), raw(0));
    association.protect(Protection::Nts(Session::new(keys, vec![vec![7; 100]; 8])));
    let request = association.poll(raw(0), &mut random).expect("the first request is due");
    let plain = reply(&request);
    let kisses = [*b"RATE", *b"DENY", *b"RSTR", *b"NTSN"].map(|code| {
        let header = Packet::parse(&plain).expect("a header");
        Packet { stratum: 0, reference_id: ReferenceId(code), ..header }.to_bytes()
    });
    let before = association.next_event();
    for forged in [plain].into_iter().chain(kisses) {
        let why = association.receive(&forged, &exchange(5)).unwrap_err();
        assert_eq!(why.label(), "not_authentic");
    }
    assert_eq!(
        (association.next_event(), association.denied(), association.needs_keys()),
        (before, None, false)
    );
}

#[test]
fn a_storm_of_kisses_costs_a_slower_pace_and_nothing_else() {
    let mut random = generator(4);
    let mut association = Association::new(SourceId(0), Settings::default(), raw(0));
    for _ in 0..40 {
        let now = association.next_event().expect("it goes on");
        let Some(request) = association.poll(now, &mut random) else { continue };
        let header = Packet::parse(&reply(&request)).unwrap();
        let kiss =
            Packet { stratum: 0, leap: None, reference_id: ReferenceId(*b"RATE"), ..header }.to_bytes();
        let exchange = Exchange { departed: now, arrived: now, received: now, ..exchange(0) };
        for _ in 0..1_000 {
            assert!(association.receive(&kiss, &exchange).is_err());
        }
    }
    assert_eq!(association.interval(), Span::from_secs(1_024), "never slower than this");
    let now = association.next_event().unwrap();
    let request = association.poll(now, &mut random).unwrap();
    let exchange = Exchange {
        departed: now,
        arrived: now + Span::from_millis(5),
        received: now + Span::from_millis(5),
        ..exchange(0)
    };
    assert!(association.receive(&reply(&request), &exchange).is_ok(), "the time is taken again at once");
}

#[test]
fn replays_and_torn_replies_have_no_effect() {
    let mut random = generator(5);
    let mut association = Association::new(SourceId(0), Settings::default(), raw(0));
    let mut recorded: Vec<Vec<u8>> = Vec::new();
    let mut now = raw(0);
    for _ in 0..50 {
        now = association.next_event().expect("it goes on").max(now);
        let Some(request) = association.poll(now, &mut random) else { continue };
        let arrived = now + Span::from_millis(5);
        let at = Exchange { departed: now, arrived, received: arrived, ..exchange(0) };
        for old in &recorded {
            assert!(association.receive(old, &at).is_err(), "a replay");
        }
        let answer = reply(&request).to_vec();
        for len in 0..Packet::LEN {
            assert!(association.receive(&answer[..len], &at).is_err(), "cut to {len}");
        }
        assert!(association.receive(&answer, &at).is_ok());
        recorded.push(answer);
    }
    assert_eq!(association.counters().accepted, recorded.len() as u64);
}
