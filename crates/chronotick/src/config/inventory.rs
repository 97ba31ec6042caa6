//! The inventory of a fleet: which hosts, what goes there, and the experiment they are to make. Read as the daemon's
//! configuration is: every error at once, each with its line and its mend.

use super::finding::{Complaint, Fault, Finding, Invalid, Origin, Problem, faults};
use super::layers::read_text;
use super::read::{closest, count, excerpt, strings, text, wrong_kind};
use super::yaml::{self, Content, Node};
use super::{Config, Overrides, TimeServer};
use crate::experiment::observer::{duration, interval};
use chronotick_clock::Span;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What `chronotick fleet` works on. Paths of files here are absolute, or as written if that cannot be made of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// The configuration of ssh instead of the user's own.
    pub ssh_config: Option<PathBuf>,
    /// The folder on the hosts, in which each host has one of its name: below the home of who logs in, or absolute.
    pub directory: String,
    /// Where what is collected goes.
    pub results: PathBuf,
    /// How many hosts are spoken to at once.
    pub parallel: usize,
    /// How long a connection may take.
    pub patience: Duration,
    /// In the order of the file; no name twice.
    pub hosts: Vec<FleetHost>,
    /// What is observed on every host.
    pub experiment: Option<Experiment>,
}

/// One host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetHost {
    /// What it is called here: letters, digits, `.`, `_`, `-`.
    pub name: String,
    /// What ssh calls it: the name of a `Host` of its configuration, a host, or `user@host`.
    pub address: String,
    /// The program that goes there; this one if none is named.
    pub binary: Option<PathBuf>,
    /// The daemon's configuration that goes there.
    pub config: PathBuf,
}

/// A `chronotick validate` on every host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experiment {
    /// What its folder is called.
    pub name: String,
    /// As `validate --duration` takes it.
    pub duration: String,
    /// The same.
    pub length: Span,
    /// The observer's own servers; those of the configuration without any.
    pub ntp_server: Option<String>,
    /// Seconds from one sample to the next, if not the usual.
    pub sample_interval: Option<String>,
    /// Seconds from one query of the servers to the next, if not the usual.
    pub ntp_interval: Option<String>,
}

const TOP: [&str; 9] = [
    "ssh_config",
    "binary",
    "config",
    "directory",
    "results",
    "parallel",
    "connect_timeout_seconds",
    "hosts",
    "experiment",
];
const HOST: [&str; 4] = ["name", "address", "binary", "config"];
const EXPERIMENT: [&str; 5] = ["name", "duration", "ntp_server", "sample_interval", "ntp_interval"];

/// More hosts are more than one person's ssh connections are for.
const MAX_HOSTS: usize = 1000;

const NAME: &str =
    "a name of letters, digits, dots, underscores and hyphens that begins with a letter or a digit";
const ADDRESS: &str = "what ssh calls the host: a Host of its configuration, a host, or user@host";
const DIRECTORY: &str =
    "a folder on the hosts, without control characters, quotes, backslashes and exclamation marks";

impl Inventory {
    /// Reads an inventory, and the daemon's configurations that it names.
    ///
    /// # Errors
    /// All that is wrong, each with its line.
    pub fn read(path: &Path) -> Result<Inventory, Invalid> {
        let mut reader = Reader { path, errors: Vec::new() };
        let read = reader.inventory();
        match read {
            Some(inventory) if reader.errors.is_empty() => Ok(inventory),
            _ => Err(Invalid { errors: reader.errors, warnings: Vec::new() }),
        }
    }
}

struct Reader<'a> {
    path: &'a Path,
    errors: Vec<Finding>,
}

/// The values of one section by their keys.
struct Section<'n>(String, Vec<(&'n str, &'n Node)>);

impl Reader<'_> {
    fn inventory(&mut self) -> Option<Inventory> {
        let parsed = read_text(self.path).and_then(|text| yaml::parse(&text));
        let (root, repeated) = parsed.map_err(|fault| self.blame("", [fault])).ok()?;
        self.blame("", repeated);
        let top = self.section("", &root, &TOP);
        let binary = self.take(&top, "binary", |node| self_file(self.path, node));
        let config = self.take(&top, "config", |node| self_file(self.path, node));
        let hosts = self.hosts(&top, root.line, binary.as_ref(), config.as_ref());
        let experiment = top.get("experiment").and_then(|node| self.experiment(node));
        let inventory = Inventory {
            ssh_config: self.take(&top, "ssh_config", |node| self_file(self.path, node)),
            directory: self
                .take(&top, "directory", |node| checked(node, DIRECTORY, is_folder))
                .unwrap_or_else(|| ".chronotick-fleet".into()),
            results: self
                .take(&top, "results", |node| self_file(self.path, node))
                .unwrap_or_else(|| beside(self.path, "results")),
            parallel: self.take(&top, "parallel", |node| count(node, 1..=256)).unwrap_or(32) as usize,
            patience: Duration::from_secs(
                self.take(&top, "connect_timeout_seconds", |node| count(node, 1..=600)).unwrap_or(10).into(),
            ),
            hosts,
            experiment,
        };
        Some(inventory)
    }

    fn hosts(
        &mut self,
        top: &Section<'_>,
        line: usize,
        binary: Option<&PathBuf>,
        config: Option<&PathBuf>,
    ) -> Vec<FleetHost> {
        let wanted = "a list of hosts";
        let items: &[Node] = match top.get("hosts").map(|node| (&node.content, node)) {
            Some((Content::List(items), _)) if !items.is_empty() => items,
            Some((_, node)) => {
                self.blame("hosts", [Fault { line: node.line, problem: wrong_kind(node, wanted) }]);
                return Vec::new();
            }
            None => {
                let problem = Problem::WrongKind { found: "not there".into(), wanted };
                self.blame("hosts", [Fault { line, problem }]);
                return Vec::new();
            }
        };
        if items.len() > MAX_HOSTS {
            let (found, most) = (items.len().to_string(), MAX_HOSTS.to_string());
            let problem = Problem::OutOfRange { found, least: "1".into(), most, hint: String::new() };
            self.blame("hosts", [Fault { line: items[MAX_HOSTS].line, problem }]);
            return Vec::new();
        }
        let mut hosts: Vec<FleetHost> = Vec::new();
        for item in items {
            let Some(host) = self.host(item, binary, config) else { continue };
            if hosts.iter().any(|other| other.name == host.name) {
                let why = "another host has this name; give each its own".into();
                self.blame(
                    "hosts",
                    [Fault { line: item.line, problem: Problem::InvalidEntry { text: host.name, why } }],
                );
            } else {
                hosts.push(host);
            }
        }
        hosts
    }

    fn host(&mut self, item: &Node, binary: Option<&PathBuf>, config: Option<&PathBuf>) -> Option<FleetHost> {
        let bare = Section("hosts".into(), vec![("name", item)]);
        let section = match &item.content {
            Content::Scalar(_) => bare,
            _ => self.section("hosts", item, &HOST),
        };
        let name = self.needed(&section, "name", item.line, NAME, |node| checked(node, NAME, is_name))?;
        let address = match section.get("address") {
            Some(_) => self.take(&section, "address", |node| checked(node, ADDRESS, is_address))?,
            None => name.clone(),
        };
        let own = self.take(&section, "config", |node| self_file(self.path, node));
        let Some(config) = own.or_else(|| config.cloned()) else {
            let problem = Problem::WrongKind {
                found: "not there".into(),
                wanted: "the daemon's configuration, for this host or for all",
            };
            self.blame("config", [Fault { line: item.line, problem }]);
            return None;
        };
        if let Err(invalid) = Config::load(&Overrides::default(), &|_| None, Some(&config)) {
            for error in invalid.errors {
                if !self.errors.contains(&error) {
                    self.errors.push(error);
                }
            }
        }
        let binary =
            self.take(&section, "binary", |node| self_file(self.path, node)).or_else(|| binary.cloned());
        Some(FleetHost { name, address, binary, config })
    }

    fn experiment(&mut self, node: &Node) -> Option<Experiment> {
        let section = self.section("experiment", node, &EXPERIMENT);
        let said = |node: &Node, check: fn(&str) -> Result<Span, String>| {
            let text = text(node, "a length of time")?;
            let invalid = |why| Problem::InvalidEntry { text: excerpt(text), why };
            check(text).map(|span| (text.to_owned(), span)).map_err(invalid)
        };
        let wanted = "how long to observe: minutes, or like 90s, 30m, 8h";
        let length = self.needed(&section, "duration", node.line, wanted, |node| said(node, duration));
        let servers = |node: &Node| {
            let one = |text: &str| text.parse::<TimeServer>().is_ok().then(|| text.to_owned());
            strings(node, "time servers: HOST, HOST:PORT, or HOST:8123 for a relay", one)
                .map(|all| all.join(","))
        };
        let name = self.take(&section, "name", |node| checked(node, NAME, is_name));
        let ntp_server = self.take(&section, "ntp_server", servers).filter(|all| !all.is_empty());
        let mut every = |key| self.take(&section, key, |node| said(node, interval)).map(|(text, _)| text);
        let (sample_interval, ntp_interval) = (every("sample_interval"), every("ntp_interval"));
        let (duration, length) = length?;
        let name = name.unwrap_or_else(|| "experiment".into());
        Some(Experiment { name, duration, length, ntp_server, sample_interval, ntp_interval })
    }

    fn section<'n>(&mut self, name: &str, node: &'n Node, known: &[&'static str]) -> Section<'n> {
        let entries: &[(String, usize, Node)] = match &node.content {
            Content::Map(entries) => entries,
            _ => {
                let problem = wrong_kind(node, "a section with settings");
                self.blame(name, [Fault { line: node.line, problem }]);
                &[]
            }
        };
        let mut values = Vec::new();
        for (key, line, value) in entries {
            if known.contains(&key.as_str()) {
                values.push((key.as_str(), value));
            } else {
                let near = closest(key, known.iter().copied()).map(str::to_owned);
                let key = joined(name, &excerpt(key));
                self.blame(&key, [Fault { line: *line, problem: Problem::UnknownKey(near) }]);
            }
        }
        Section(name.to_owned(), values)
    }

    /// The value of a key, if it is there and right; a wrong one is reported.
    fn take<T, C: Into<Complaint>>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        read: impl FnOnce(&Node) -> Result<T, C>,
    ) -> Option<T> {
        let node = section.get(key)?;
        match read(node) {
            Ok(value) => Some(value),
            Err(complaint) => {
                self.blame(&joined(&section.0, key), faults(complaint, node.line));
                None
            }
        }
    }

    /// The same of a key that has to be there.
    fn needed<T, C: Into<Complaint>>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        line: usize,
        wanted: &'static str,
        read: impl FnOnce(&Node) -> Result<T, C>,
    ) -> Option<T> {
        if section.get(key).is_none() {
            let problem = Problem::WrongKind { found: "not there".into(), wanted };
            self.blame(&joined(&section.0, key), [Fault { line, problem }]);
        }
        self.take(section, key, read)
    }

    fn blame(&mut self, key: &str, faults: impl IntoIterator<Item = Fault>) {
        for Fault { line, problem } in faults {
            let origin = Origin::File { path: self.path.to_owned(), line };
            self.errors.push(Finding { key: key.to_owned(), origin, problem });
        }
    }
}

impl<'n> Section<'n> {
    fn get(&self, key: &str) -> Option<&'n Node> {
        self.1.iter().find(|(name, _)| *name == key).map(|(_, node)| *node)
    }
}

fn joined(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

/// A file beside the inventory.
fn beside(inventory: &Path, name: &str) -> PathBuf {
    let path = inventory.parent().unwrap_or(Path::new("")).join(name);
    std::path::absolute(&path).unwrap_or(path)
}

fn self_file(inventory: &Path, node: &Node) -> Result<PathBuf, Problem> {
    match text(node, "a file")? {
        "" => Err(wrong_kind(node, "a file")),
        name => Ok(beside(inventory, name)),
    }
}

fn checked(node: &Node, wanted: &'static str, good: fn(&str) -> bool) -> Result<String, Problem> {
    let text = text(node, wanted)?;
    good(text).then(|| text.to_owned()).ok_or_else(|| wrong_kind(node, wanted))
}

/// Fit for a folder here and there, and for a command line of any shell.
fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    text.len() <= 63 && text.bytes().all(plain) && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// Nothing that ssh, or a `ProxyCommand` of its configuration, could take for more than an address.
fn is_address(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-@:%[]".contains(&b);
    (1..=253).contains(&text.len())
        && text.bytes().all(plain)
        && !text.starts_with('-')
        && !text.contains("@-")
}

/// Between single quotes it means the same to every login shell.
fn is_folder(text: &str) -> bool {
    let odd = |c: char| c.is_control() || "'\"\\!`".contains(c);
    (1..=512).contains(&text.len()) && !text.contains(odd) && !text.starts_with(['-', '~'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Inventory, Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.yaml"), "logging:\n  level: INFO\n").unwrap();
        let path = dir.path().join("fleet.yaml");
        std::fs::write(&path, text).unwrap();
        let name = path.display().to_string() + ":";
        let said = |e: &Finding| e.to_string().replace(&name, "");
        Inventory::read(&path).map_err(|invalid| invalid.errors.iter().map(said).collect())
    }

    #[test]
    fn two_nodes_behind_a_relay() {
        let inventory = read(
            "config: config.yaml\nhosts:\n  - comp-11\n  - name: comp-12\n    address: me@172.20.1.12\n\
             experiment:\n  duration: 180\n  ntp_server: 172.20.1.1:8123\n  ntp_interval: 60\n",
        )
        .unwrap();
        let [first, second] = &inventory.hosts[..] else { panic!("{inventory:?}") };
        assert_eq!((first.address.as_str(), second.address.as_str()), ("comp-11", "me@172.20.1.12"));
        assert!(first.config.is_absolute() && first.binary.is_none());
        let experiment = inventory.experiment.unwrap();
        assert_eq!((experiment.name.as_str(), experiment.length), ("experiment", Span::from_secs(10_800)));
        assert_eq!(experiment.ntp_server.as_deref(), Some("172.20.1.1:8123"));
        assert_eq!((experiment.sample_interval, experiment.ntp_interval.as_deref()), (None, Some("60")));
    }

    #[test]
    fn everything_wrong_is_told_at_once_with_its_line() {
        let errors = read(
            "config: config.yaml\nhost: x\nhosts:\n  - \"-oProxyCommand=x\"\n  - a\n  - a\n  - name: b\n    address: \"b;id\"\n\
             directory: \"a'b\"\nexperiment:\n  ntp_server: \"a b;c\"\n",
        )
        .unwrap_err();
        let expected = [
            "2: host is not a setting; did you mean \"hosts\"?",
            "4: hosts.name is \"-oProxyCommand=x\"",
            "6: hosts has \"a\": another host has this name",
            "8: hosts.address is \"b;id\"",
            "9: directory is \"a'b\"",
            "experiment.duration is not there",
            "11: experiment.ntp_server has \"a b;c\"",
        ];
        for expected in expected {
            assert!(
                errors.iter().any(|e| e.starts_with(expected) || e.contains(expected)),
                "{expected}: {errors:?}"
            );
        }
        assert_eq!(errors.len(), expected.len(), "{errors:?}");
    }

    #[test]
    fn a_wrong_configuration_of_the_daemon_is_told_once() {
        let errors = read("config: nowhere.yaml\nhosts: [a, b]\n").unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains("nowhere.yaml"), "{errors:?}");
        assert!(read("hosts: [a]\n").unwrap_err()[0].contains("config is not there"));
        assert!(read("config: config.yaml\n").unwrap_err()[0].contains("hosts is not there"));
    }

    proptest! {
        /// What may stand in a name or an address means nothing to a shell.
        #[test]
        fn a_name_is_no_command(text in "[ -~\\t\\n]{0,20}") {
            let means = |c: char| " \t\n;|&$`'\"\\<>(){}*?!#~=^".contains(c);
            if is_name(&text) || is_address(&text) {
                prop_assert!(!text.contains(means) && !text.starts_with('-'));
            }
        }
    }
}
