//! A model behind an address: the client of the contract in `docs/models.md`.
//!
//! `GET` on the address answers what the model can do, `POST` of a question answers its forecasts. The server is not
//! trusted: an answer has to come in time and be of bounded length, and every number in it is checked to be there, finite
//! and as many as were asked for.

use super::ModelError;
use chronotick_tsfm::{Abilities, Covariate, Forecast, Levels, Point, Task, check_question};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::Read;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use ureq::Agent;
use ureq::http::{Response, Uri};
use ureq::tls::{RootCerts, TlsConfig};

/// How long an endpoint may take for an answer.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// The version of the contract.
const CONTRACT: u32 = 1;
/// The longest description, or complaint, that is read, in bytes.
const DESCRIPTION: u64 = 1 << 16;
/// What one number of an answer may take, in bytes: 17 digits, sign, exponent, and the white space of a pretty printer.
const NUMBER: u64 = 64;

/// Where an endpoint is: `https://…`, or `http://…` on this machine. Plain HTTP to another machine can be read and changed
/// on its way, so that has to be allowed in so many words: `plain+http://…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    written: String,
    /// As it goes to the client.
    url: String,
    loopback: bool,
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Address, BadAddress> {
        let bad = |reason: &str| BadAddress { address: text.to_owned(), reason: reason.to_owned() };
        let allowed = text.strip_prefix("plain+");
        let url = allowed.unwrap_or(text);
        let uri: Uri = url.parse().map_err(|e| bad(&format!("{e}")))?;
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("a password in an address is seen by whoever reads the log; leave it out"));
        }
        let port = &authority.as_str()[authority.host().len()..];
        if !port.is_empty() && authority.port_u16().is_none() {
            return Err(bad("a port is a number up to 65535"));
        }
        let host = authority.host().trim_matches(['[', ']']);
        let loopback = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        match (uri.scheme_str(), allowed) {
            (Some("http"), None) if !loopback => Err(bad(
                "plain HTTP to another machine can be read and changed on its way; use https, or allow it by writing plain+http",
            )),
            (Some("http"), _) | (Some("https"), None) => {
                Ok(Address { written: text.to_owned(), url: url.to_owned(), loopback })
            }
            _ => Err(bad("write http://127.0.0.1:PORT/PATH or https://HOST/PATH")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// Why a text is no address of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address} is no address of a model: {reason}")]
pub struct BadAddress {
    address: String,
    reason: String,
}

/// What is wrong with an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address}: {problem}")]
pub struct EndpointError {
    /// Where it is.
    pub address: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What can be wrong with an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// No connection.
    #[error("cannot be reached ({0}); start the model's server, or correct the address")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer within {} s; make the model faster or its context shorter", PATIENCE.as_secs())]
    Silent,
    /// Another status than 200.
    #[error("answers {status}: {message}")]
    Status {
        /// The status.
        status: u16,
        /// What the server says about it.
        message: String,
    },
    /// An answer that does not end where it should.
    #[error("answers with more than {limit} bytes; nothing of it is used")]
    TooLong {
        /// What would have been enough.
        limit: u64,
    },
    /// An answer that is not of the contract.
    #[error("{0}; docs/models.md has the contract")]
    Answer(String),
    /// A question beyond what the endpoint says it can do.
    #[error("{0}")]
    Unable(String),
}

/// A model behind an address.
#[derive(Debug)]
pub struct Endpoint {
    address: Address,
    agent: Agent,
    name: String,
    abilities: Abilities,
}

/// The answer to `GET`.
#[derive(Deserialize)]
struct Description {
    chronotick_model: u32,
    name: String,
    context: Option<usize>,
    horizon: Option<usize>,
    #[serde(default)]
    point: PointKind,
    #[serde(default)]
    levels: LevelKind,
    #[serde(default)]
    joint: bool,
    #[serde(default)]
    covariates: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum PointKind {
    #[default]
    Median,
    Mean,
    Robust,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "levels is a list of numbers, or \"any\"")]
enum LevelKind {
    These(Vec<f64>),
    Word(AnyLevel),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum AnyLevel {
    Any,
}

impl Default for LevelKind {
    fn default() -> Self {
        Self::Word(AnyLevel::Any)
    }
}

/// The body of `POST`. A missing value is `null`: JSON has no NaN, and it is what the serialiser makes of one.
#[derive(Serialize)]
struct Question<'a> {
    chronotick_model: u32,
    horizon: usize,
    levels: &'a [f64],
    tasks: Vec<Series<'a>>,
}

#[derive(Serialize)]
struct Series<'a> {
    targets: &'a [Vec<f64>],
    covariates: Vec<Beside<'a>>,
}

#[derive(Serialize)]
struct Beside<'a> {
    past: &'a [f64],
    future: Option<&'a [f64]>,
}

/// The answer to `POST`.
#[derive(Deserialize)]
struct Answer {
    forecasts: Vec<Vec<Answered>>,
}

#[derive(Deserialize)]
struct Answered {
    point: Vec<Option<f64>>,
    mean: Option<Vec<Option<f64>>>,
    #[serde(default)]
    quantiles: Vec<Vec<Option<f64>>>,
}

/// What a server says when it refuses.
#[derive(Deserialize)]
struct Complaint {
    error: String,
}

impl Endpoint {
    /// Asks an endpoint what it is.
    ///
    /// # Errors
    /// [`EndpointError`], where it does not answer, or not as the contract says.
    pub fn open(address: &Address) -> Result<Endpoint, EndpointError> {
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .user_agent(concat!("chronotick/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A server that was restarted has forgotten the connections that it had.
            .max_idle_connections(0)
            .timeout_global(Some(PATIENCE));
        // What is on this machine is not asked for by way of another.
        let config = if address.loopback { config.proxy(None) } else { config };
        let agent = config.build().new_agent();
        let failed = |problem| EndpointError { address: address.to_string(), problem };
        let answer = agent.get(&address.url).header("accept", "application/json").call();
        let text = read(answer, DESCRIPTION).map_err(failed)?;
        let (name, abilities) = describe(&text).map_err(|reason| failed(Problem::Answer(reason)))?;
        Ok(Endpoint { address: address.clone(), agent, name, abilities })
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What it calls itself.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says that it can do.
    pub fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    /// Forecasts every target of every task for the next `horizon` steps: `[task][target]`.
    ///
    /// # Errors
    /// [`ModelError::Forecast`], where the question makes no sense; [`ModelError::Endpoint`], where it is beyond the
    /// endpoint's abilities or the answer is not of the contract.
    pub fn forecast(
        &self,
        tasks: &[Task],
        horizon: usize,
        levels: &[f64],
    ) -> Result<Vec<Vec<Forecast>>, ModelError> {
        check_question(tasks, horizon)?;
        let failed = |problem| EndpointError { address: self.address.to_string(), problem };
        self.able(tasks, levels).map_err(|reason| failed(Problem::Unable(reason)))?;
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let tasks_asked = tasks.iter().map(Series::from).collect();
        let question = Question { chronotick_model: CONTRACT, horizon, levels, tasks: tasks_asked };
        let body = serde_json::to_vec(&question).expect("numbers and lists can be written");
        let targets: usize = tasks.iter().map(|task| task.targets.len()).sum();
        let limit = DESCRIPTION + NUMBER * (targets * horizon * (levels.len() + 2)) as u64;
        let answer =
            self.agent.post(&self.address.url).header("content-type", "application/json").send(&body);
        let text = read(answer, limit).map_err(failed)?;
        let forecasts = understand(&text, tasks, horizon, levels);
        Ok(forecasts.map_err(|reason| failed(Problem::Answer(reason)))?)
    }

    fn able(&self, tasks: &[Task], levels: &[f64]) -> Result<(), String> {
        let offered = |level: &f64| match &self.abilities.levels {
            Levels::Trained(these) => these.contains(level),
            _ => true,
        };
        if let Some(level) = levels.iter().find(|level| !(**level > 0.0 && **level < 1.0)) {
            return Err(format!("there is no quantile at level {level}: a level lies between 0 and 1"));
        }
        if self.abilities.levels == Levels::None && !levels.is_empty() {
            return Err(format!("{} gives no quantiles; ask for none", self.name));
        }
        if let Some(level) = levels.iter().find(|level| !offered(level)) {
            return Err(format!(
                "{} gives no quantile at level {level}: {:?}",
                self.name, self.abilities.levels
            ));
        }
        match !self.abilities.covariates && tasks.iter().any(|task| !task.covariates.is_empty()) {
            true => Err(format!("{} takes no covariates; leave them out", self.name)),
            false => Ok(()),
        }
    }
}

impl<'a> From<&'a Task> for Series<'a> {
    fn from(task: &'a Task) -> Self {
        let beside = |Covariate { past, future }: &'a Covariate| Beside { past, future: future.as_deref() };
        Series { targets: &task.targets, covariates: task.covariates.iter().map(beside).collect() }
    }
}

/// The body of an answer with status 200, of at most `limit` bytes.
fn read(answer: Result<Response<ureq::Body>, ureq::Error>, limit: u64) -> Result<String, Problem> {
    let unreachable = |e: ureq::Error| match e {
        ureq::Error::Timeout(_) => Problem::Silent,
        ureq::Error::Io(e) => Problem::Unreachable(e.to_string()),
        e => Problem::Unreachable(e.to_string()),
    };
    let answer = answer.map_err(unreachable)?;
    let status = answer.status().as_u16();
    let limit = if status == 200 { limit } else { DESCRIPTION };
    let mut text = Vec::new();
    let body = answer.into_body().into_reader();
    body.take(limit + 1).read_to_end(&mut text).map_err(|e| unreachable(ureq::Error::from(e)))?;
    match (status, text.len() as u64 > limit) {
        (200, true) => Err(Problem::TooLong { limit }),
        (200, false) => {
            String::from_utf8(text).map_err(|_| Problem::Answer("the answer is not UTF-8".into()))
        }
        (300..=399, _) => Err(Problem::Status { status, message: "redirections are not followed".into() }),
        _ => Err(Problem::Status { status, message: complaint(&text) }),
    }
}

/// What a refusing server says, fit for a line of a log.
pub(crate) fn complaint(text: &[u8]) -> String {
    let said = serde_json::from_slice(text)
        .map_or_else(|_| String::from_utf8_lossy(text).into_owned(), |Complaint { error }| error);
    plain(&said, 200)
}

/// A text of another's making on one line, without control characters.
pub(crate) fn plain(text: &str, longest: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(longest).collect()
}

pub(crate) fn describe(text: &str) -> Result<(String, Abilities), String> {
    let told: Description =
        serde_json::from_str(text).map_err(|e| format!("its description: {}", plain(&e.to_string(), 200)))?;
    if told.chronotick_model != CONTRACT {
        return Err(format!(
            "it keeps version {} of the contract, this program version {CONTRACT}",
            told.chronotick_model
        ));
    }
    let sized = |what: &str, size: Option<usize>| match size {
        Some(0) => Err(format!("its description: {what} is 0; leave it out where there is no limit")),
        size => Ok(size),
    };
    let levels = match told.levels {
        LevelKind::Word(AnyLevel::Any) => Levels::Any,
        LevelKind::These(levels) if levels.is_empty() => Levels::None,
        LevelKind::These(levels) => match levels.iter().find(|level| !(**level > 0.0 && **level < 1.0)) {
            Some(level) => {
                return Err(format!("its description: levels has {level}, which is not between 0 and 1"));
            }
            None => Levels::Trained(levels),
        },
    };
    let abilities = Abilities {
        context: sized("context", told.context)?,
        horizon: sized("horizon", told.horizon)?.unwrap_or(usize::MAX),
        point: match told.point {
            PointKind::Median => Point::Median,
            PointKind::Mean => Point::Mean,
            PointKind::Robust => Point::Robust,
        },
        levels,
        joint: told.joint,
        covariates: told.covariates,
    };
    Ok((plain(&told.name, 80), abilities))
}

/// The forecasts in an answer, if it is complete and every number is one.
pub(crate) fn understand(
    text: &str,
    tasks: &[Task],
    horizon: usize,
    levels: &[f64],
) -> Result<Vec<Vec<Forecast>>, String> {
    let Answer { forecasts } =
        serde_json::from_str(text).map_err(|e| format!("its answer: {}", plain(&e.to_string(), 200)))?;
    counted("forecasts", forecasts.len(), tasks.len(), "tasks")?;
    let mut understood = Vec::with_capacity(tasks.len());
    for (t, (answers, task)) in forecasts.into_iter().zip(tasks).enumerate() {
        counted(&format!("forecasts[{t}]"), answers.len(), task.targets.len(), "targets")?;
        let one = |(i, answer): (usize, Answered)| {
            let at = format!("forecasts[{t}][{i}]");
            let mean = answer.mean.map(|mean| numbers(&format!("{at}.mean"), mean, horizon, "steps"));
            let mut quantiles = Vec::with_capacity(horizon);
            // Without levels there is nothing to be said at any step.
            let table = if levels.is_empty() { vec![Vec::new(); horizon] } else { answer.quantiles };
            counted(&format!("{at}.quantiles"), table.len(), horizon, "steps")?;
            for (step, row) in table.into_iter().enumerate() {
                quantiles.push(numbers(&format!("{at}.quantiles[{step}]"), row, levels.len(), "levels")?);
            }
            let point = numbers(&format!("{at}.point"), answer.point, horizon, "steps")?;
            Ok(Forecast { point, mean: mean.transpose()?, quantiles })
        };
        understood.push(answers.into_iter().enumerate().map(one).collect::<Result<Vec<_>, String>>()?);
    }
    Ok(understood)
}

fn counted(at: &str, found: usize, wanted: usize, what: &str) -> Result<(), String> {
    match found == wanted {
        true => Ok(()),
        false => Err(format!("its answer: {at} has {found} entries for {wanted} {what}")),
    }
}

fn numbers(at: &str, values: Vec<Option<f64>>, wanted: usize, what: &str) -> Result<Vec<f64>, String> {
    counted(at, values.len(), wanted, what)?;
    let number = |(i, value): (usize, Option<f64>)| {
        value.filter(|value| value.is_finite()).ok_or_else(|| format!("its answer: {at}[{i}] is no number"))
    };
    values.into_iter().enumerate().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str =
        r#"{"forecasts": [[{"point": [1.5, -2e3], "mean": [0, 1], "quantiles": [[0, 1], [1, 2]]}]]}"#;
    const DESCRIBED: &str = r#"{"chronotick_model": 1, "name": "x", "context": 8, "horizon": 4, "point": "mean",
        "levels": [0.1, 0.9], "joint": true, "covariates": true}"#;

    /// A text with some of its bytes replaced.
    fn mangled(text: &'static str) -> impl Strategy<Value = String> {
        let changes = prop::collection::vec((0..text.len(), any::<u8>()), 0..4);
        changes.prop_map(|changes| {
            let mut bytes = text.as_bytes().to_vec();
            changes.into_iter().for_each(|(at, byte)| bytes[at] = byte);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    }

    proptest! {
        #[test]
        fn an_answer_is_complete_and_finite_or_refused(text in mangled(GOOD)) {
            let tasks = [Task::from(vec![1.0])];
            if let Ok(forecasts) = understand(&text, &tasks, 2, &[0.1, 0.9]) {
                let [task] = &forecasts[..] else { panic!("one task") };
                let [Forecast { point, mean, quantiles }] = &task[..] else { panic!("one target") };
                prop_assert!(quantiles.len() == 2 && quantiles.iter().all(|step| step.len() == 2));
                let rows = [point].into_iter().chain(mean).chain(quantiles);
                for row in rows {
                    prop_assert!(row.len() == 2 && row.iter().all(|value| value.is_finite()), "{row:?}");
                }
            }
        }

        #[test]
        fn a_description_is_sound_or_refused(text in mangled(DESCRIBED)) {
            if let Ok((name, abilities)) = describe(&text) {
                prop_assert!(name.chars().all(|c| !c.is_control()));
                prop_assert!(abilities.context != Some(0) && abilities.horizon > 0);
                if let Levels::Trained(levels) = abilities.levels {
                    prop_assert!(levels.iter().all(|level| *level > 0.0 && *level < 1.0));
                }
            }
        }
    }

    #[test]
    fn what_is_mangled_is_sound_before() {
        let tasks = [Task::from(vec![1.0])];
        assert_eq!(understand(GOOD, &tasks, 2, &[0.1, 0.9]).map(|forecasts| forecasts.len()), Ok(1));
        assert_eq!(describe(DESCRIBED).map(|(name, _)| name), Ok("x".to_owned()));
    }
}
