//! A fleet: one inventory of hosts, reached over the user's own `ssh`, that run the same daemon and the same experiment.
//!
//! * `ssh` is one call of the program `ssh`; `script` is what runs on a host.
//! * `deploy` brings program and configuration there, `collect` brings what was observed here; both copy only what differs.
//! * [`bus`] tells many nodes' readings over NATS, and finds those that contradict each other (feature `nats`).
//! * [`Fleet`] does the same on every host, several at a time. Each step can be done again at any time.

#[cfg(feature = "nats")]
pub mod bus;
#[cfg(not(feature = "nats"))]
#[path = "no_bus.rs"]
pub mod bus;
pub(crate) mod collect;
mod deploy;
mod script;
mod ssh;

use crate::config::{FleetHost, Inventory};
use crate::snapshot::Snapshot;
use crate::watch::clean;
use script::{BUSY, START, STATUS, STOP, quoted, script};
use ssh::{SHELL, Ssh};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is said of `bus.nats` in a build without the bus.
#[cfg(not(feature = "nats"))]
pub(crate) const NO_BUS: &str = "this build has no bus; build it with the feature nats, or unset bus.nats";

/// What can be done on every host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Bring the program and its configuration there, where they differ.
    Deploy,
    /// Begin the daemon and the experiment, where they are not running.
    Start,
    /// Ask how both are.
    Status,
    /// Bring tables and logs here.
    Collect,
    /// End what was begun.
    Stop,
}

/// How a host is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// `running`, `none`, `lost` (it has gone without a word) or `ended` with an exit code.
    pub daemon: String,
    /// The same of the experiment, and `stopped`; empty where the inventory has none.
    pub experiment: String,
    /// Rows of its table.
    pub rows: Option<u64>,
    /// The last line of its log.
    pub said: String,
    /// What the daemon says of its clock.
    pub status: Option<Box<Snapshot>>,
}

/// The hosts of an inventory, and the way to them.
#[derive(Debug)]
pub struct Fleet {
    inventory: Inventory,
    ssh: Ssh,
}

/// What a step came to on one host: in words, or why not.
pub type Outcome<T> = Result<T, String>;

impl Fleet {
    /// Nothing is reached yet.
    pub fn new(inventory: Inventory) -> Fleet {
        Fleet { ssh: Ssh::new(&inventory), inventory }
    }

    /// What it was made of.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Does one step on every host, several at a time, and tells of each as soon as it is done. In the order of the inventory.
    pub fn step(
        &self,
        step: Step,
        told: impl Fn(&FleetHost, &Outcome<String>) + Sync,
    ) -> Vec<Outcome<String>> {
        let files = match step {
            Step::Deploy => deploy::Files::read(&self.inventory.hosts),
            _ => Ok(deploy::Files::default()),
        };
        self.everywhere(
            |host| match step {
                Step::Deploy => self.deploy(host, files.as_ref().map_err(Clone::clone)?),
                Step::Start => self.start(host),
                Step::Status => self.look(host).map(|seen| seen.in_words()),
                Step::Collect => self.collect(host),
                Step::Stop => self.stop(host),
            },
            told,
        )
    }

    /// How every host is, in the order of the inventory.
    pub fn status(&self) -> Vec<Outcome<Seen>> {
        self.everywhere(|host| self.look(host), |_, _| ())
    }

    /// The same fleet without the hosts that `outcomes` says failed.
    pub fn without_failed<T>(&self, outcomes: &[Outcome<T>]) -> Fleet {
        let mut inventory = self.inventory.clone();
        let mut outcomes = outcomes.iter();
        inventory.hosts.retain(|_| outcomes.next().is_some_and(Result::is_ok));
        Fleet::new(inventory)
    }

    /// The same fleet without the hosts on which, as they said when they were to start, an experiment with other settings
    /// runs: that is not ours to end. Others that failed may have begun the daemon before.
    pub fn without_busy(&self, started: &[Outcome<String>]) -> Fleet {
        let busy = |outcome: &Outcome<String>| outcome.as_ref().is_err_and(|why| why.starts_with(BUSY));
        let ours: Vec<_> =
            started.iter().map(|outcome| if busy(outcome) { Err(BUSY.into()) } else { Ok(()) }).collect();
        self.without_failed(&ours)
    }

    /// What a step would do, as command lines for a shell and the scripts that they read. Nothing is reached for that.
    ///
    /// # Errors
    /// If a file that is to go there cannot be read.
    pub fn plan(&self, step: Step) -> Result<String, String> {
        let files = match step {
            Step::Deploy => deploy::Files::read(&self.inventory.hosts)?,
            _ => deploy::Files::default(),
        };
        let mut out = String::new();
        for host in &self.inventory.hosts {
            let _ = writeln!(out, "{}:", host.name);
            let calls = match step {
                Step::Deploy => self.deploying(host, &files),
                Step::Start => vec![("begin".to_owned(), SHELL.to_owned(), Some(self.starting(host)))],
                Step::Status => vec![("ask".to_owned(), SHELL.to_owned(), Some(self.scripted(host, STATUS)))],
                Step::Collect => self.collecting(host),
                Step::Stop => vec![("end".to_owned(), SHELL.to_owned(), Some(self.scripted(host, STOP)))],
            };
            for (what, command, input) in calls {
                let line: Vec<String> =
                    self.ssh.arguments(host, &command).iter().map(|a| quoted(a)).collect();
                let _ = writeln!(out, "  # {what}\n  ssh {}", line.join(" "));
                for line in input.iter().flat_map(|script| script.lines()) {
                    let _ = writeln!(out, "    {line}");
                }
            }
        }
        Ok(out)
    }

    fn everywhere<T: Send>(
        &self,
        work: impl Fn(&FleetHost) -> Outcome<T> + Sync,
        told: impl Fn(&FleetHost, &Outcome<T>) + Sync,
    ) -> Vec<Outcome<T>> {
        let hosts = &self.inventory.hosts;
        let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(hosts.len())));
        std::thread::scope(|scope| {
            for _ in 0..self.inventory.parallel.min(hosts.len()) {
                scope.spawn(|| {
                    while let Some((index, host)) = {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        hosts.get(index).map(|host| (index, host))
                    } {
                        let outcome = work(host);
                        told(host, &outcome);
                        done.lock().expect("nobody panics with it").push((index, outcome));
                    }
                });
            }
        });
        let mut done = done.into_inner().expect("nobody panics with it");
        done.sort_by_key(|(index, _)| *index);
        done.into_iter().map(|(_, outcome)| outcome).collect()
    }

    /// The folder of a host on it.
    fn folder(&self, host: &FleetHost) -> String {
        format!("{}/{}", self.inventory.directory.trim_end_matches('/'), host.name)
    }

    fn scripted(&self, host: &FleetHost, what: &str) -> String {
        let experiment = self.inventory.experiment.as_ref().map_or("", |e| &e.name);
        script(&[("dir", &self.folder(host)), ("name", &host.name), ("experiment", experiment)], what)
    }

    fn starting(&self, host: &FleetHost) -> String {
        let experiment = self.inventory.experiment.as_ref();
        let said = |value: &Option<String>| value.clone().unwrap_or_default();
        script(
            &[
                ("dir", &self.folder(host)),
                ("name", &host.name),
                ("experiment", experiment.map_or("", |e| &e.name)),
                ("duration", experiment.map_or("", |e| &e.duration)),
                ("servers", &experiment.map(|e| said(&e.ntp_server)).unwrap_or_default()),
                ("sample", &experiment.map(|e| said(&e.sample_interval)).unwrap_or_default()),
                ("query", &experiment.map(|e| said(&e.ntp_interval)).unwrap_or_default()),
            ],
            START,
        )
    }

    fn start(&self, host: &FleetHost) -> Outcome<String> {
        let answer = self.ssh.script(host, &self.starting(host))?;
        let said = facts(&answer)?;
        let daemon = match value(&said, "daemon") {
            Some("begun") => "the daemon has begun",
            Some("running") => "the daemon was running",
            Some("older") => "the daemon was running, with what was deployed before: stop and start it",
            _ => return Err("it does not say that the daemon runs".into()),
        };
        Ok(match value(&said, "experiment") {
            None => daemon.to_owned(),
            Some("begun") => format!("{daemon}, the experiment has begun"),
            Some("finished") => format!("{daemon}, the experiment is finished"),
            Some(_) => format!("{daemon}, the experiment was running"),
        })
    }

    fn stop(&self, host: &FleetHost) -> Outcome<String> {
        let answer = self.ssh.script(host, &self.scripted(host, STOP))?;
        match value(&facts(&answer)?, "stopped") {
            Some("0") => Ok("nothing was running".into()),
            Some("1") => Ok("1 process has ended".into()),
            Some(count) => Ok(format!("{} processes have ended", clean(count))),
            None => Err("it does not say what has ended".into()),
        }
    }

    fn look(&self, host: &FleetHost) -> Outcome<Seen> {
        Seen::of(&self.ssh.script(host, &self.scripted(host, STATUS))?)
    }
}

impl Seen {
    /// What a host answers to the question.
    pub(crate) fn of(answer: &str) -> Outcome<Seen> {
        let said = facts(answer)?;
        let word = |key| value(&said, key).map(clean).unwrap_or_default();
        let daemon = word("daemon");
        // What a daemon that is gone wrote last says nothing of now.
        let status = value(&said, "status").filter(|_| daemon == "running");
        Ok(Seen {
            daemon,
            experiment: word("experiment"),
            rows: value(&said, "rows").and_then(|rows| rows.trim().parse().ok()),
            said: word("said"),
            status: status.and_then(|text| serde_json::from_str(text).ok()).map(Box::new),
        })
    }

    /// Whether there is nothing to wait for.
    pub fn is_finished(&self) -> bool {
        self.experiment == "ended 0"
    }

    /// Why waiting will not help, if it will not.
    pub fn trouble(&self) -> Option<String> {
        match self.experiment.as_str() {
            "ended 0" => None,
            _ if self.daemon != "running" => Some(format!("the daemon: {}", self.daemon)),
            "running" | "" => None,
            other => Some(format!("the experiment: {other}: {}", self.said)),
        }
    }

    pub(crate) fn in_words(&self) -> String {
        let mut words = format!("daemon {}", self.daemon);
        if let Some(status) = &self.status {
            let _ = write!(words, ", {}", clean(&status.state));
        }
        if !self.experiment.is_empty() {
            let _ = write!(words, ", experiment {}", self.experiment);
        }
        words
    }
}

/// The lines of an answer, each a word and a value.
fn facts(answer: &str) -> Result<Vec<(&str, &str)>, String> {
    let lines = answer.lines().map(|line| line.split_once(' ').unwrap_or((line, "")));
    let said: Vec<(&str, &str)> = lines.collect();
    match value(&said, "fault") {
        Some(fault) => Err(clean(fault).chars().take(400).collect()),
        None => Ok(said),
    }
}

fn value<'a>(said: &[(&'a str, &'a str)], key: &str) -> Option<&'a str> {
    said.iter().find(|(word, _)| *word == key).map(|(_, value)| *value)
}
