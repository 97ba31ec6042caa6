//! `chronotick service`: installs, removes and shows the daemon as a service.

use super::{Failure, say};
use crate::service::{Home, Plan, Processors, Service, launchd, systemd};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// The service is there, or not, but does not run.
const NOT_RUNNING: u8 = 3;

/// What can be done with the service.
#[derive(Subcommand, Debug)]
pub enum ServiceCommand {
    /// Install, enable and start it; with other options a second time, it changes.
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
pub(super) fn execute(what: &ServiceCommand) -> Result<ExitCode, Failure> {
    match what {
        ServiceCommand::Install(options) => {
            let service = Service {
                program: program(options.program.as_ref())?,
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

fn program(named: Option<&PathBuf>) -> Result<PathBuf, Failure> {
    match named {
        Some(path) => std::path::absolute(path).map_err(|e| format!("{}: {e}", path.display()).into()),
        None => Ok(std::env::current_exe()?),
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
    let output = Command::new(&words[0]).args(&words[1..]).output()?;
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
