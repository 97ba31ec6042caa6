//! `chronotick service`: installs, removes and shows the daemon as a service.

use super::{Arguments, Failure, load, say};
use crate::config::Overrides;
use crate::service::{Home, Plan, Processors, Service, launchd, runnable, systemd};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The service is there, or not, but does not run.
const NOT_RUNNING: u8 = 3;

/// What can be done with the service.
#[derive(Subcommand, Debug)]
pub enum ServiceCommand {
    /// Install, enable and start it; with other options a second time, it changes. It runs with the file that `-f` names;
    /// other settings have to be in a file.
    Install(Install),
    /// Stop and remove it; what was learned and the configuration stay.
    Uninstall {
        /// Whose.
        #[command(flatten)]
        whose: Whose,
    },
    /// Whether it runs, and what the daemon says; exit code 0 if it runs, 3 if not.
    Status {
        /// The service of your own instead of the machine's.
        #[arg(long)]
        user: bool,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Whose service it is.
#[derive(Args, Debug)]
pub struct Whose {
    /// For yourself instead of the machine: no root needed, runs while you are logged in.
    #[arg(long)]
    pub user: bool,
    /// Show every file and command, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// An image of a machine in this folder instead of the running machine; nothing is started.
    #[arg(long, value_name = "DIR", conflicts_with = "user")]
    pub root: Option<PathBuf>,
    /// The service manager, instead of this system's own.
    #[arg(long, value_enum, default_value_t = ServiceManager::HERE)]
    pub manager: ServiceManager,
}

/// How it is installed.
#[derive(Args, Debug)]
pub struct Install {
    /// Whose.
    #[command(flatten)]
    pub whose: Whose,
    /// The only processors that the daemon may use, such as 2,3 or 2-3.
    #[arg(long, value_name = "LIST")]
    pub cpu_affinity: Option<Processors>,
    /// Its priority, -20 (first) to 19 (last); the machine's service has -5 without this.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i8).range(-20..=19))]
    pub nice: Option<i8>,
    /// The program that the service runs, instead of this one.
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
}

/// Who starts services.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceManager {
    /// Of Linux.
    Systemd,
    /// Of macOS.
    Launchd,
}

impl ServiceManager {
    const HERE: ServiceManager =
        if cfg!(target_os = "macos") { ServiceManager::Launchd } else { ServiceManager::Systemd };
}

/// Does what was asked of the service.
pub(super) fn execute(arguments: &Arguments, what: &ServiceCommand) -> Result<ExitCode, Failure> {
    match what {
        ServiceCommand::Install(options) => {
            let flags = Overrides::from(arguments).flags();
            if !flags.is_empty() {
                let flags = flags.join(", ");
                return Err(format!("{flags}: the service would not know of it; write it into the configuration file, which `chronotick config init` begins").into());
            }
            // What an image will have when it runs is not known yet.
            let here = options.whose.root.is_none();
            if let (Some(_), true) = (&arguments.config, here) {
                load(arguments)?;
            }
            let service = Service {
                program: options
                    .program
                    .as_deref()
                    .map_or_else(|| Ok(std::env::current_exe()?), |path| program(path, here))?,
                config: arguments.config.as_deref().map(absolute).transpose()?,
                processors: options.cpu_affinity.clone(),
                nice: options.nice,
                ..of(&options.whose)?
            };
            let plan = match options.whose.manager {
                ServiceManager::Systemd => systemd::install(&service),
                ServiceManager::Launchd => launchd::install(&service),
            };
            carry_out(&plan?, options.whose.dry_run)
        }
        ServiceCommand::Uninstall { whose } => {
            let service = of(whose)?;
            let plan = match whose.manager {
                ServiceManager::Systemd => systemd::uninstall(&service),
                ServiceManager::Launchd => launchd::uninstall(&service)?,
            };
            carry_out(&plan, whose.dry_run)
        }
        ServiceCommand::Status { user, json } => match ServiceManager::HERE {
            ServiceManager::Systemd => status(*user, *json),
            ServiceManager::Launchd => agent_status(),
        },
    }
}

fn of(whose: &Whose) -> Result<Service, Failure> {
    let user = whose.user.then(home).transpose()?;
    Ok(Service { user, root: whose.root.clone(), ..Service::default() })
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|e| format!("{}: {e}", path.display()).into())
}

/// The program of this path, which can be run if it is of this very machine.
fn program(path: &Path, here: bool) -> Result<PathBuf, Failure> {
    let path = absolute(path)?;
    match runnable(&path) {
        Err(e) if here => Err(format!("--program {}: {e}", path.display()).into()),
        _ => Ok(path),
    }
}

fn home() -> Result<Home, Failure> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = variable("HOME").ok_or("HOME is not set: it is not known whose service this is")?;
    let config = variable("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
    Ok(Home { home, config, id: rustix::process::geteuid().as_raw() })
}

fn carry_out(plan: &Plan, dry_run: bool) -> Result<ExitCode, Failure> {
    if dry_run {
        say(&plan.to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    plan.carry_out(|step| eprintln!("chronotick: {step}"))?;
    Ok(ExitCode::SUCCESS)
}

fn status(user: bool, json: bool) -> Result<ExitCode, Failure> {
    let status = systemd::Status::ask(user)
        .map_err(|e| format!("systemd does not answer: {e}; is this machine run by systemd?"))?;
    if json {
        say(&format!("{}\n", serde_json::to_string(&status)?))?;
    } else {
        say(&words(&status, user))?;
    }
    Ok(if status.is_active() { ExitCode::SUCCESS } else { ExitCode::from(NOT_RUNNING) })
}

fn words(status: &systemd::Status, user: bool) -> String {
    let flag = if user { " --user" } else { "" };
    if status.unit.is_empty() {
        return format!("not installed; `chronotick service install{flag}` does it\n");
    }
    let mut text = format!(
        "service  {} ({}), {}\nunit     {}\n",
        status.active, status.sub, status.enabled, status.unit
    );
    if status.pid != 0 {
        text += &format!("process  {}, started again {} times\n", status.pid, status.restarts);
    }
    // What the last one said before it ended is no news.
    if status.is_active() && !status.says.is_empty() {
        text += &format!("clock    {}\n", status.says);
    }
    if !["success", ""].contains(&status.result.as_str()) {
        text += &format!("ended    {}; `journalctl{flag} -u chronotick` says more\n", status.result);
    }
    text
}

fn agent_status() -> Result<ExitCode, Failure> {
    let words = launchd::status(&home()?);
    let output = std::process::Command::new(&words[0]).args(&words[1..]).output()?;
    if !output.status.success() {
        say("not installed; `chronotick service install --user` does it\n")?;
        return Ok(ExitCode::from(NOT_RUNNING));
    }
    say(&String::from_utf8_lossy(&output.stdout))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Command;
    use clap::Parser;

    #[test]
    fn what_a_service_could_not_do_is_refused_before_it_is_installed() {
        let said = |line: &str| {
            let arguments = Arguments::try_parse_from(line.split(' ')).expect("it is understood");
            let Some(Command::Service(what)) = &arguments.command else { panic!("{line}") };
            execute(&arguments, what).unwrap_err().to_string()
        };
        let lost = said("c service install --dry-run --warmup 3 --ntp-servers a,b");
        assert!(lost.starts_with("--ntp-servers, --warmup: the service would not know"), "{lost}");
        assert!(
            said("c service install --dry-run --program /nowhere/c")
                .contains("--program /nowhere/c: No such")
        );
        assert!(said("c service install --dry-run --program /etc/passwd").contains("can be run"));
        assert!(said("c -f /nowhere.yaml service install --dry-run").contains("/nowhere.yaml"));
    }

    #[test]
    fn the_status_says_what_to_do_next() {
        assert!(words(&systemd::Status::default(), true).contains("service install --user"));
        let failed = systemd::Status {
            active: "activating".into(),
            sub: "auto-restart".into(),
            enabled: "enabled".into(),
            unit: "/etc/systemd/system/chronotick.service".into(),
            restarts: 2,
            result: "watchdog".into(),
            ..systemd::Status::default()
        };
        assert!(words(&failed, false).contains("watchdog; `journalctl -u chronotick`"));
    }
}
