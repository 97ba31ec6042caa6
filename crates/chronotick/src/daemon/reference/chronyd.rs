//! The machine's own chronyd as a clock: the system clock, corrected by what chronyd says that it lacks. It is the last resort,
//! for a machine whose servers only chronyd may ask.

use crate::monitor::service::Word;
use crate::monitor::service::chrony::{Place, ask};
use chronotick_clock::ClockPair;
use chronotick_core::{Span, Timestamp};
use chronotick_os::refclock::{Driver, Sample, Trouble};
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often it is asked.
const EVERY: Duration = Duration::from_secs(1);

/// A chronyd that is asked.
pub(super) struct Chronyd {
    places: Vec<Place>,
    due: Instant,
}

impl Chronyd {
    /// The one with this command socket, or at one of the usual places.
    pub(super) fn new(socket: Option<&Path>) -> Chronyd {
        let places = socket.map_or_else(Place::usual, |path| vec![Place::Socket(path.into())]);
        Chronyd { places, due: Instant::now() }
    }

    /// The first that answers.
    fn ask(&self) -> Result<Word, Trouble> {
        let mut why = String::new();
        for place in &self.places {
            match ask(place) {
                Ok(word) => return Ok(word),
                Err(e) => why = format!("chronyd cannot be asked: {e}"),
            }
        }
        Err(Trouble::Lost(why))
    }
}

impl Driver for Chronyd {
    fn next(&mut self, patience: Span) -> Result<Option<Sample>, Trouble> {
        let wait = self.due.saturating_duration_since(Instant::now());
        let patience = Duration::from_nanos(patience.as_nanos().max(0).unsigned_abs());
        std::thread::sleep(wait.min(patience));
        if wait > patience {
            return Ok(None);
        }
        self.due = Instant::now() + EVERY;
        let (before, word) = (ClockPair::now(), self.ask()?);
        sample(&word, before).map(Some)
    }
}

/// What chronyd's word says of the system clock at this reading of both clocks.
fn sample(word: &Word, pair: ClockPair) -> Result<Sample, Trouble> {
    let (Some(offset), Some(error)) = (word.offset_ns, word.error_ns) else {
        return Err(Trouble::Rejected(format!("chronyd: {}", word.reason)));
    };
    let follows = word.reference.as_deref().and_then(|text| text.parse::<IpAddr>().ok());
    if follows.is_some_and(|address| address.is_loopback()) {
        // Two that follow each other agree, whatever the time is.
        return Err(Trouble::Rejected(
            "chronyd follows a server of this machine, which may be this one".into(),
        ));
    }
    let utc: Timestamp = pair.system + Span::from_nanos(offset);
    let precision = Span::from_nanos(error.max(0));
    Ok(Sample { at: pair.raw, utc, precision, error: pair.slack, is_pulse: false, leap: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_word_counts_while_it_is_synchronised_to_somebody_else() {
        let word = Word {
            name: "chronyd",
            synchronised: true,
            reason: "1 of 1 sources answer".into(),
            offset_ns: Some(250),
            error_ns: Some(4_000),
            stratum: Some(3),
            reference: Some("192.0.2.1".into()),
        };
        let pair = ClockPair::now();
        let said = sample(&word, pair).unwrap();
        assert_eq!((said.at, said.utc), (pair.raw, pair.system + Span::from_nanos(250)));
        assert_eq!((said.precision, said.error), (Span::from_micros(4), pair.slack));
        let circle = Word { reference: Some("127.0.0.1".into()), ..word.clone() };
        assert!(sample(&circle, pair).unwrap_err().to_string().contains("follows"));
        let lost = Word { offset_ns: None, reason: "none answers".into(), ..word };
        assert_eq!(sample(&lost, pair), Err(Trouble::Rejected("chronyd: none answers".into())));
    }

    #[test]
    fn where_there_is_none_that_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut chronyd = Chronyd::new(Some(&folder.path().join("none.sock")));
        let trouble = chronyd.next(Span::from_secs(1)).unwrap_err();
        assert!(matches!(&trouble, Trouble::Lost(why) if why.contains("cannot be asked")), "{trouble:?}");
    }
}
