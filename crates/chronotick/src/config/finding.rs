//! What is wrong, or worth knowing, about a configuration: the setting, where it was written, and the mend.

use super::time_server::InvalidTimeServer;
use std::fmt;
use std::path::PathBuf;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: it is built in, or follows from the system's usual directories.
    Default,
    /// In the preset of this name.
    Preset(&'static str),
    /// In a configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1; 0 for the file as a whole.
        line: usize,
    },
    /// In this environment variable.
    Environment(&'static str),
    /// Behind this flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Preset(name) => write!(f, "preset {name}"),
            Origin::File { path, line: 0 } => write!(f, "{}", path.display()),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Environment(name) | Origin::Flag(name) => f.write_str(name),
        }
    }
}

/// One remark about a configuration: which setting, where it was written, what is the matter and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The path of the key, such as `clock_measurement.ntp.servers`; empty for the file as a whole.
    pub key: String,
    /// Where it was written.
    pub origin: Origin,
    /// What is the matter.
    pub problem: Problem,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{} ", self.key)?;
        }
        self.problem.fmt(f)
    }
}

/// A problem and its line, before it is known of which file or variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) problem: Problem,
}

/// What a reader of values complains of: one problem of the value as a whole, or several with lines of their own.
pub(super) fn faults(complaint: impl Into<Complaint>, line: usize) -> Vec<Fault> {
    match complaint.into() {
        Complaint::Whole(problem) => vec![Fault { line, problem }],
        Complaint::Parts(faults) => faults,
    }
}

pub(super) enum Complaint {
    Whole(Problem),
    Parts(Vec<Fault>),
}

impl From<Problem> for Complaint {
    fn from(problem: Problem) -> Complaint {
        Complaint::Whole(problem)
    }
}

impl From<Vec<Fault>> for Complaint {
    fn from(faults: Vec<Fault>) -> Complaint {
        Complaint::Parts(faults)
    }
}

/// What can be the matter with a configuration. Reads as the end of a sentence that begins with the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot be read: {0}; check that it exists and that this user may read it")]
    Unreadable(String),
    /// The file is larger than any configuration.
    #[error("is larger than {limit} bytes and is not read; is it the right file?")]
    TooLarge {
        /// The most that is read, in bytes.
        limit: u64,
    },
    /// The file is in another encoding, or no text at all.
    #[error("is not UTF-8 text; save it with that encoding")]
    NotUtf8,
    /// The file is not YAML.
    #[error("cannot be understood as YAML: {0}")]
    Syntax(String),
    /// Lists or maps are nested beyond what any setting needs.
    #[error("is nested more than {limit} levels deep; the deepest setting has four")]
    TooDeep {
        /// The deepest that is read.
        limit: usize,
    },
    /// YAML's indirections are refused.
    #[error("cannot be read because {0} is used here; write the value out")]
    Indirect(&'static str),
    /// A key is there twice in one map.
    #[error("has {key:?} twice, first in line {first}; keep one of them")]
    Repeated {
        /// The key.
        key: String,
        /// Where it stood first.
        first: usize,
    },
    /// No setting has this name.
    #[error("is not a setting; {}", meant(.0.as_deref(), "remove it"))]
    UnknownKey(Option<String>),
    /// A section is written as a value, or a value as a section or a list.
    #[error("is {found}, but must be {wanted}")]
    WrongKind {
        /// What was written.
        found: String,
        /// What belongs here.
        wanted: &'static str,
    },
    /// A number of seconds is written with a unit.
    #[error("is written with a unit ({found:?}); write the number of seconds: {seconds}")]
    Unit {
        /// What was written.
        found: String,
        /// The same in seconds.
        seconds: String,
    },
    /// A number is not between its limits.
    #[error("is {found}, but must be from {least} to {most}{hint}")]
    OutOfRange {
        /// What was written.
        found: String,
        /// The least that is accepted, with its unit.
        least: String,
        /// The most that is accepted, with its unit.
        most: String,
        /// What may have been meant; begins with a semicolon, or is empty.
        hint: String,
    },
    /// A word is none of those that have a meaning here.
    #[error("is {found:?}, but must be one of {accepted}{hint}")]
    UnknownWord {
        /// What was written.
        found: String,
        /// The words that have a meaning.
        accepted: String,
        /// What may have been meant; begins with a semicolon, or is empty.
        hint: String,
    },
    /// There is no time source.
    #[error("names no server; write at least one, better four")]
    NoServer,
    /// A server's address cannot be understood.
    #[error("has {text:?}: {why}")]
    InvalidServer {
        /// What was written.
        text: String,
        /// What is wrong with it.
        #[source]
        why: InvalidTimeServer,
    },
    /// A server is asked with a key, and there are none.
    #[error("has {server} with a key, but clock_measurement.ntp.keys_file names no file of keys; write it")]
    NoKeys {
        /// The server.
        server: String,
    },
    /// A peer has no say among the sources.
    #[error(
        "has {server} with prefer, trust, require or noselect; peers have no say in what time it is, remove it"
    )]
    PeerWithRole {
        /// The peer.
        server: String,
    },
    /// An entry of a list cannot be understood.
    #[error("has {text:?}: {why}")]
    InvalidEntry {
        /// What was written.
        text: String,
        /// What is wrong with it, and the mend.
        why: String,
    },
    /// What it names is not there, or not what it has to be.
    #[error("cannot be used: {0}")]
    Unusable(String),
    /// Something is to be served, on no address.
    #[error("names no address, so nothing could be served; write at least one or set enabled to false")]
    NoListener,
    /// Two reference clocks would have one name.
    #[error("has two clocks by the name of {name}; give each a `refid` of its own")]
    RepeatedClock {
        /// The name.
        name: String,
    },
    /// Reference clocks that do not go together.
    #[error("{0}")]
    Clocks(String),
    /// NTS is served with NTP or not at all.
    #[error(
        "is true while serve.ntp.enabled is false; NTS proves who sent the replies of that, so enable both"
    )]
    NtsWithoutNtp,
    /// NTS needs a certificate.
    #[error("needs serve.nts.certificate_file and serve.nts.private_key_file; write both")]
    NoCertificate,
    /// A server would count twice in the vote of the sources.
    #[error("has {server} twice; it would count twice among the sources, keep one")]
    RepeatedServer {
        /// The server.
        server: String,
    },
    /// A directory is not absolute.
    #[error("is {found:?}; write the whole path, from /")]
    RelativePath {
        /// What was written.
        found: String,
    },
    /// Everybody on the network could ask. The address is not loopback and there is no token.
    #[error(
        "is {address}, which other machines reach; set http.token_file to a file with a token, or listen on 127.0.0.1"
    )]
    OpenWithoutToken {
        /// The address.
        address: String,
    },
    /// An item of a list is not what belongs there.
    #[error("has {found:?}, but must be {wanted}")]
    InvalidItem {
        /// What was written.
        found: String,
        /// What belongs there.
        wanted: &'static str,
    },
    /// Polling would be slower in the warm-up than after it.
    #[error(
        "is {warm_up} s, longer than the {normal} s of normal_operation; the warm-up must poll at least as often"
    )]
    WarmUpSlower {
        /// The interval in the warm-up, in seconds.
        warm_up: String,
        /// The interval afterwards, in seconds.
        normal: String,
    },
    /// A forecast ends before the next is made. (Worth knowing.)
    #[error(
        "is {horizon} s, shorter than the inference_interval of {interval} s; forecasts would leave gaps"
    )]
    ForecastGap {
        /// How far a forecast reaches, in seconds.
        horizon: String,
        /// How long until the next, in seconds.
        interval: String,
    },
    /// A setting of older versions without effect now. (Worth knowing.)
    #[error("is from an older version and has no effect: {0}")]
    Obsolete(&'static str),
    /// A value of older versions that has no meaning now. (Worth knowing.)
    #[error("is {found:?}, which only older versions have: {instead}")]
    ObsoleteValue {
        /// What was written.
        found: &'static str,
        /// What holds instead.
        instead: &'static str,
    },
    /// The servers do not agree about leap seconds. (Worth knowing.)
    #[error(
        "mixes servers that treat leap seconds differently ({0}); around one they are up to 1 s apart, so keep one group"
    )]
    MixedLeaps(String),
}

/// A mend: the suggestion if there is one.
fn meant(suggestion: Option<&str>, otherwise: &str) -> String {
    suggestion.map_or_else(|| otherwise.to_owned(), |name| format!("did you mean {name:?}?"))
}

/// Why a configuration cannot be used: every error in it, and what else is worth knowing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// What must be mended.
    pub errors: Vec<Finding>,
    /// What is worth knowing.
    pub warnings: Vec<Finding>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.errors.iter();
        if let Some(first) = lines.next() {
            write!(f, "{first}")?;
        }
        lines.try_for_each(|finding| write!(f, "\n{finding}"))
    }
}

impl std::error::Error for Invalid {}
