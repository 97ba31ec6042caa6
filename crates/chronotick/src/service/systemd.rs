//! The service under systemd: hardened units, which the package has as well, and a drop-in for what one machine wants
//! differently.

use super::{Plan, Processors, Refusal, Service, Step};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

const UNIT: &str = "chronotick.service";
const SYSTEM: &str = include_str!("system.service");
const USER: &str = include_str!("user.service");
/// How the units call the program; a package has it there.
const PROGRAM: &str = "/usr/bin/chronotick";
/// Folders that `ProtectHome=` and `PrivateTmp=` hide from a service of the machine.
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];

/// What has to be done for the service to run now and after every start of the machine.
///
/// # Errors
/// [`Refusal`], where the service would not start.
pub fn install(service: &Service) -> Result<Plan, Refusal> {
    check(service)?;
    let unit = if service.user.is_some() { USER } else { SYSTEM };
    let mut steps = Vec::new();
    let path = directory(service).join(UNIT);
    if is_packaged(service) {
        // One from an earlier installation would stand before the package's.
        steps.push(Step::Remove { path, with_dir: false });
    } else {
        let text = unit.replace(PROGRAM, &service.program.display().to_string());
        steps.push(Step::Write { path, text });
    }
    match different(service) {
        Some(text) => steps.push(Step::Write { path: drop_in(service), text }),
        // What an earlier installation asked for is over.
        None => steps.push(Step::Remove { path: drop_in(service), with_dir: true }),
    }
    if service.root.is_none() {
        steps.push(systemctl(service, &["daemon-reload"]));
        steps.push(systemctl(service, &["enable", UNIT]));
        // Whatever ran before: from now on it is this program with these settings.
        steps.push(systemctl(service, &["restart", UNIT]));
    } else {
        steps.push(systemctl(service, &["enable", UNIT]));
    }
    Ok(Plan(steps))
}

/// What has to be done for the service to be gone. What was learned and the configuration stay.
pub fn uninstall(service: &Service) -> Plan {
    let may_fail = |step| match step {
        Step::Run { words, .. } => Step::Run { words, may_fail: true },
        other => other,
    };
    let mut steps = Vec::new();
    if service.root.is_none() {
        steps.push(may_fail(systemctl(service, &["disable", "--now", UNIT])));
    } else {
        steps.push(may_fail(systemctl(service, &["disable", UNIT])));
    }
    steps.push(Step::Remove { path: drop_in(service), with_dir: true });
    steps.push(Step::Remove { path: directory(service).join(UNIT), with_dir: false });
    if service.root.is_none() {
        steps.push(systemctl(service, &["daemon-reload"]));
    }
    Plan(steps)
}

/// What systemd knows of the service.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// `active`, `activating`, `failed`, `inactive`.
    pub active: String,
    /// In systemd's finer words, such as `running` or `auto-restart`.
    pub sub: String,
    /// Whether it starts with the machine: `enabled`, `disabled`; empty if it is not installed.
    pub enabled: String,
    /// The unit's file.
    pub unit: String,
    /// The daemon's process; 0 if there is none.
    pub pid: u32,
    /// How often systemd had to start it again.
    pub restarts: u32,
    /// What the daemon told systemd last.
    pub says: String,
    /// How it ended last, such as `success` or `watchdog`.
    pub result: String,
}

impl Status {
    /// Asks systemd.
    ///
    /// # Errors
    /// If `systemctl` cannot be run or fails, with what it said.
    pub fn ask(user: bool) -> io::Result<Status> {
        let mut systemctl = Command::new("systemctl");
        if user {
            systemctl.arg("--user");
        }
        let names = "ActiveState,SubState,UnitFileState,FragmentPath,MainPID,NRestarts,StatusText,Result";
        let output = systemctl.args(["show", UNIT, "--property", names]).output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        Ok(Status::of(&String::from_utf8_lossy(&output.stdout)))
    }

    fn of(text: &str) -> Status {
        let properties: BTreeMap<_, _> = text.lines().filter_map(|line| line.split_once('=')).collect();
        let word = |name| properties.get(name).copied().unwrap_or_default().to_owned();
        let number = |name| properties.get(name).and_then(|n| n.parse().ok()).unwrap_or_default();
        Status {
            active: word("ActiveState"),
            sub: word("SubState"),
            enabled: word("UnitFileState"),
            unit: word("FragmentPath"),
            pid: number("MainPID"),
            restarts: number("NRestarts"),
            says: word("StatusText"),
            result: word("Result"),
        }
    }

    /// Whether it runs.
    pub fn is_active(&self) -> bool {
        self.active == "active"
    }
}

fn check(service: &Service) -> Result<(), Refusal> {
    let program = &service.program;
    let odd = |c: char| c.is_whitespace() || "\"'\\%$".contains(c);
    let writable = |path: &Path| path.to_str().is_some_and(|text| !text.contains(odd));
    let hidden = |path: &Path| service.user.is_none() && HIDDEN.iter().any(|hidden| path.starts_with(hidden));
    if !writable(program) {
        return Err(Refusal::Unwritable(program.clone()));
    }
    if hidden(program) {
        return Err(Refusal::Unreachable(program.clone()));
    }
    if let Some(config) = service.config.as_ref().filter(|path| hidden(path) || !writable(path)) {
        return Err(Refusal::Configuration(config.clone()));
    }
    if let (Some(_), Some(nice @ i8::MIN..0)) = (&service.user, service.nice) {
        return Err(Refusal::Nice(nice));
    }
    if let (Some(asked), Some(online), None) = (&service.processors, online(), &service.root)
        && !asked.are_within(&online)
    {
        return Err(Refusal::Processors { asked: asked.clone(), online });
    }
    Ok(())
}

/// The processors of this machine, where it tells.
fn online() -> Option<Processors> {
    fs::read_to_string("/sys/devices/system/cpu/online").ok()?.trim().parse().ok()
}

/// Whether a package has brought the unit for this very program.
fn is_packaged(service: &Service) -> bool {
    let packaged = |dir: &str| below(service.root.as_deref(), Path::new(dir)).join(UNIT).exists();
    service.user.is_none()
        && service.program == Path::new(PROGRAM)
        && ["/usr/lib/systemd/system", "/lib/systemd/system"].into_iter().any(packaged)
}

fn below(root: Option<&Path>, path: &Path) -> PathBuf {
    match root {
        Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
        None => path.into(),
    }
}

fn directory(service: &Service) -> PathBuf {
    match &service.user {
        Some(home) => home.config.join("systemd/user"),
        None => below(service.root.as_deref(), Path::new("/etc/systemd/system")),
    }
}

fn drop_in(service: &Service) -> PathBuf {
    directory(service).join("chronotick.service.d/scheduling.conf")
}

/// What one machine wants differently from the unit.
fn different(service: &Service) -> Option<String> {
    // The empty line is for the command that the unit has.
    let config = service.config.as_ref().map(|config| {
        format!("ExecStart=\nExecStart={} run -f {}\n", service.program.display(), config.display())
    });
    let processors = service.processors.as_ref().map(|list| format!("CPUAffinity={list}\n"));
    let nice = service.nice.map(|nice| format!("Nice={nice}\n"));
    let lines = [config, processors, nice].into_iter().flatten().collect::<String>();
    (!lines.is_empty())
        .then(|| format!("# From `chronotick service install`; written anew each time.\n[Service]\n{lines}"))
}

fn systemctl(service: &Service, words: &[&str]) -> Step {
    let root = service.root.as_ref().map(|root| format!("--root={}", root.display()));
    let mut all = vec!["systemctl"];
    all.extend(service.user.as_ref().map(|_| "--user"));
    all.extend(root.as_deref());
    all.extend(words);
    Step::run(&all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Home;

    fn machine() -> Service {
        Service { program: "/usr/local/bin/chronotick".into(), ..Service::default() }
    }

    fn user() -> Service {
        let home = Home { home: "/home/u".into(), config: "/home/u/.config".into(), id: 1000 };
        Service { program: "/home/u/.cargo/bin/chronotick".into(), user: Some(home), ..Service::default() }
    }

    fn written(plan: &Plan) -> Vec<(&Path, &str)> {
        plan.0
            .iter()
            .filter_map(|step| match step {
                Step::Write { path, text } => Some((path.as_path(), text.as_str())),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn the_unit_starts_the_program_that_installs_it() {
        let plan = install(&machine()).unwrap();
        let [(path, text)] = written(&plan)[..] else { panic!("{plan}") };
        assert_eq!(path, Path::new("/etc/systemd/system/chronotick.service"));
        assert!(text.contains("\nExecStart=/usr/local/bin/chronotick run\n"), "{text}");
        assert!(plan.to_string().ends_with("run    systemctl restart chronotick.service\n"), "{plan}");
        let plan = install(&user()).unwrap();
        let [(path, text)] = written(&plan)[..] else { panic!("{plan}") };
        assert_eq!(path, Path::new("/home/u/.config/systemd/user/chronotick.service"));
        assert!(text.contains("\nExecStart=/home/u/.cargo/bin/chronotick run\n"), "{text}");
        assert!(plan.to_string().contains("systemctl --user enable"), "{plan}");
    }

    #[test]
    fn nothing_stands_before_the_unit_of_the_package() {
        let image = tempfile::tempdir().unwrap();
        let units = image.path().join("usr/lib/systemd/system");
        fs::create_dir_all(&units).unwrap();
        fs::write(units.join(UNIT), SYSTEM).unwrap();
        let root = Some(image.path().to_owned());
        let plan = install(&Service { program: PROGRAM.into(), root, ..machine() }).unwrap();
        assert_eq!(written(&plan), []);
        let older = image.path().join("etc/systemd/system").join(UNIT);
        let removed = |step: &Step| matches!(step, Step::Remove { path, with_dir: false } if *path == older);
        assert!(plan.0.iter().any(removed), "{plan}");
    }

    #[test]
    fn what_one_machine_wants_differently_is_a_drop_in() {
        let image = Service {
            processors: Some("2-3".parse().unwrap()),
            nice: Some(-10),
            root: Some("/image".into()),
            ..machine()
        };
        let plan = install(&image).unwrap();
        let (path, text) = written(&plan)[1];
        assert_eq!(path, Path::new("/image/etc/systemd/system/chronotick.service.d/scheduling.conf"));
        assert!(text.ends_with("[Service]\nCPUAffinity=2-3\nNice=-10\n"), "{text}");
        let plan = install(&Service { config: Some("/srv/clock.yaml".into()), ..machine() }).unwrap();
        let (_, text) = written(&plan)[1];
        let run = "ExecStart=\nExecStart=/usr/local/bin/chronotick run -f /srv/clock.yaml\n";
        assert!(text.ends_with(run), "{text}");
        let plan = install(&image).unwrap();
        let said = plan.to_string();
        assert!(said.contains("systemctl --root=/image enable") && !said.contains("restart "), "{said}");
    }

    #[test]
    fn a_service_that_would_not_start_is_refused_with_the_mend() {
        let refused = |service: &Service| install(service).unwrap_err().to_string();
        let hidden = Service { program: "/root/.cargo/bin/chronotick".into(), ..machine() };
        assert!(refused(&hidden).contains("/usr/local/bin/chronotick service install"));
        let odd = Service { program: "/opt/my programs/chronotick".into(), ..machine() };
        assert!(refused(&odd).contains("install it elsewhere"));
        for config in ["/home/u/clock.yaml", "/srv/my clock.yaml"] {
            let service = Service { config: Some(config.into()), ..machine() };
            assert!(refused(&service).contains("/etc/chronotick/config.yaml"), "{config}");
        }
        assert!(refused(&Service { nice: Some(-5), ..user() }).contains("without --user"));
        let processors = Some("4000".parse().unwrap());
        if online().is_some() {
            assert!(refused(&Service { processors, ..machine() }).contains("has the processors"));
        }
    }

    #[test]
    fn what_goes_in_comes_out() {
        for service in [machine(), user(), Service { root: Some("/image".into()), ..machine() }] {
            let placed = install(&service).unwrap();
            let gone = uninstall(&service);
            for (path, _) in written(&placed) {
                let removed = |step: &Step| matches!(step, Step::Remove { path: p, .. } if p == path);
                assert!(gone.0.iter().any(removed), "{}", path.display());
            }
        }
    }

    #[test]
    fn the_status_is_what_systemctl_shows() {
        let text = "MainPID=42\nNRestarts=1\nStatusText=synced, bound ±1 ms = good\nActiveState=active\n\
                    SubState=running\nUnitFileState=enabled\nResult=success\nFragmentPath=/x\n";
        let status = Status::of(text);
        assert!(status.is_active() && status.enabled == "enabled");
        assert_eq!((status.pid, status.restarts), (42, 1));
        assert_eq!(status.says, "synced, bound ±1 ms = good");
        assert!(!Status::of("ActiveState=inactive\n").is_active());
    }
}
