//! The service under launchd: an agent of the user, which starts at login and is started again when it ends.

use super::{Home, Plan, Refusal, Service, Step};
use std::path::PathBuf;

const LABEL: &str = "com.chronotick.daemon";
const AGENT: &str = include_str!("agent.plist");

/// What has to be done for the agent to run now and after every login.
///
/// # Errors
/// [`Refusal`], for what launchd cannot do.
pub fn install(service: &Service) -> Result<Plan, Refusal> {
    let home = service.user.as_ref().ok_or(Refusal::OnlyForUsers)?;
    let refused = [
        (service.processors.is_some(), Refusal::NotInLaunchd("--cpu-affinity")),
        (service.root.is_some(), Refusal::NotInLaunchd("--root")),
    ];
    if let Some((_, refusal)) = refused.into_iter().find(|(asked, _)| *asked) {
        return Err(refusal);
    }
    let nice = service.nice.unwrap_or_default();
    if nice < 0 {
        return Err(Refusal::Nice(nice));
    }
    let program = service.program.to_str().ok_or_else(|| Refusal::Unwritable(service.program.clone()))?;
    let config = service.config.as_ref().map_or(String::new(), |config| {
        let argument = |text: &str| format!("\n        <string>{}</string>", escaped(text));
        argument("-f") + &argument(&config.display().to_string())
    });
    let log = home.home.join("Library/Logs/chronotick.log");
    let text = AGENT
        .replace("/usr/local/bin/chronotick", &escaped(program))
        .replace("<string>run</string>", &format!("<string>run</string>{config}"))
        .replace("/tmp/chronotick.log", &escaped(&log.display().to_string()))
        .replace("<key>Nice</key>\n    <integer>0<", &format!("<key>Nice</key>\n    <integer>{nice}<"));
    Ok(Plan(vec![
        Step::Write { path: file(home), text },
        // One that runs already goes first; that there is none is no failure.
        Step::Run { words: launchctl("bootout", &[service_target(home)]), may_fail: true },
        Step::Run {
            words: launchctl("bootstrap", &[domain(home), file(home).display().to_string()]),
            may_fail: false,
        },
    ]))
}

/// What has to be done for the agent to be gone. What was learned and the configuration stay.
///
/// # Errors
/// [`Refusal::OnlyForUsers`].
pub fn uninstall(service: &Service) -> Result<Plan, Refusal> {
    let home = service.user.as_ref().ok_or(Refusal::OnlyForUsers)?;
    Ok(Plan(vec![
        Step::Run { words: launchctl("bootout", &[service_target(home)]), may_fail: true },
        Step::Remove { path: file(home), with_dir: false },
    ]))
}

/// The command that shows what launchd knows of the agent.
pub fn status(home: &Home) -> Vec<String> {
    launchctl("print", &[service_target(home)])
}

fn file(home: &Home) -> PathBuf {
    home.home.join(format!("Library/LaunchAgents/{LABEL}.plist"))
}

fn domain(home: &Home) -> String {
    format!("gui/{}", home.id)
}

fn service_target(home: &Home) -> String {
    format!("{}/{LABEL}", domain(home))
}

fn launchctl(verb: &str, rest: &[String]) -> Vec<String> {
    [&["launchctl".to_owned(), verb.to_owned()], rest].concat()
}

/// As text in XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent() -> Service {
        let home = Home { home: "/Users/u".into(), config: "/Users/u/.config".into(), id: 501 };
        let program = "/Users/u/R&D tools/chronotick".into();
        Service { program, user: Some(home), ..Service::default() }
    }

    #[test]
    fn the_agent_starts_the_program_that_installs_it() {
        let config = Some("/Users/u/clock & co.yaml".into());
        let plan = install(&Service { config, nice: Some(3), ..agent() }).unwrap();
        let Step::Write { path, text } = &plan.0[0] else { panic!("{plan}") };
        assert_eq!(path, &PathBuf::from("/Users/u/Library/LaunchAgents/com.chronotick.daemon.plist"));
        assert!(text.contains("<string>/Users/u/R&amp;D tools/chronotick</string>"), "{text}");
        assert!(text.contains("<string>/Users/u/Library/Logs/chronotick.log</string>"), "{text}");
        let run = "<string>run</string>\n        <string>-f</string>\n        <string>/Users/u/clock &amp; co.yaml</string>\n";
        assert!(text.contains(run), "{text}");
        assert!(text.contains("<key>Nice</key>\n    <integer>3</integer>"), "{text}");
        let said = plan.to_string();
        assert!(said.contains("run    launchctl bootstrap gui/501 /Users/u/Library/LaunchAgents/"), "{said}");
        assert_eq!(status(agent().user.as_ref().unwrap())[2], "gui/501/com.chronotick.daemon");
    }

    #[test]
    fn what_launchd_cannot_do_is_refused() {
        let refused = |service: Service| install(&service).unwrap_err().to_string();
        assert!(refused(Service { user: None, ..agent() }).contains("--user"));
        assert!(refused(Service { nice: Some(-1), ..agent() }).contains("--nice -1"));
        assert!(refused(Service { processors: "1".parse().ok(), ..agent() }).contains("--cpu-affinity"));
    }
}
