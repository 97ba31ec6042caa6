//! `chronotick mcp install`: the configuration of an agent's host, printed, or put into the host's own file. What the
//! file says otherwise stays as it is, comments and order included.

use super::super::{Failure, say};
use clap::{Args, ValueEnum};
use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstObjectProp, CstRootNode};
use serde_json::json;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const NAME: &str = "chronotick";

/// Which configuration.
#[derive(Args, Debug)]
pub struct Install {
    /// The host; all of them without one.
    #[arg(value_enum, value_name = "HOST", required_if_eq("write", "true"))]
    pub host: Option<Client>,
    /// Put it into the host's file instead of printing it. Nothing else in the file changes.
    #[arg(long)]
    pub write: bool,
    /// That file, instead of the usual one.
    #[arg(long, value_name = "FILE", requires = "host")]
    pub path: Option<PathBuf>,
}

/// A host of agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Client {
    /// Claude Code, for all projects of this user.
    ClaudeCode,
    /// Cursor, for all projects of this user.
    Cursor,
    /// VS Code, for the project in the current directory.
    Vscode,
    /// `.mcp.json` in the current directory, which most hosts read.
    Project,
}

impl Client {
    /// The object that holds the servers in the host's file.
    fn servers(self) -> &'static str {
        if self == Client::Vscode { "servers" } else { "mcpServers" }
    }

    fn title(self) -> &'static str {
        match self {
            Client::ClaudeCode => "Claude Code, all projects of this user",
            Client::Cursor => "Cursor, all projects of this user",
            Client::Vscode => "VS Code, this project",
            Client::Project => "this project, in hosts that read .mcp.json",
        }
    }

    fn path(self, home: Option<PathBuf>) -> Result<PathBuf, Failure> {
        let at_home = |name: &str| {
            home.map(|home| home.join(name))
                .ok_or_else(|| Failure::from("$HOME is not set: name the file with --path"))
        };
        match self {
            Client::ClaudeCode => at_home(".claude.json"),
            Client::Cursor => at_home(".cursor/mcp.json"),
            Client::Vscode => Ok(".vscode/mcp.json".into()),
            Client::Project => Ok(".mcp.json".into()),
        }
    }
}

/// How the host starts this program.
fn command() -> String {
    // By name if that is what the user calls it by: then an update at another place is found too.
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(NAME).is_file()));
    let own = || Some(std::env::current_exe().ok()?.to_str()?.to_owned());
    if found { NAME.into() } else { own().unwrap_or_else(|| NAME.into()) }
}

pub(super) fn execute(options: &Install) -> Result<ExitCode, Failure> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let command = command();
    if let (Some(host), true) = (options.host, options.write) {
        let path = options.path.clone().map_or_else(|| host.path(home), Ok)?;
        let changed = write(host, &path, &command)?;
        say(&format!("{}: {}\n", path.display(), if changed { "written" } else { "is so already" }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for host in options.host.map_or_else(|| Client::value_variants().to_vec(), |host| vec![host]) {
        let path = options.path.clone().map_or_else(|| host.path(home.clone()), Ok)?;
        let entry =
            json!({ host.servers(): { NAME: { "type": "stdio", "command": command, "args": ["mcp"] } } });
        text += &format!("# {}: {}\n{entry:#}\n", host.title(), path.display());
        if host == Client::ClaudeCode {
            text += &format!("# or: claude mcp add --scope user {NAME} -- {command} mcp\n");
        }
        text += "\n";
    }
    say(&text)?;
    eprintln!("chronotick: to have it written: chronotick mcp install HOST --write");
    Ok(ExitCode::SUCCESS)
}

/// Whether the file had to be changed.
fn write(host: Client, path: &Path, command: &str) -> Result<bool, Failure> {
    let failed = |e: io::Error| format!("{}: {e}", path.display());
    // A link stays one: what it points to is replaced.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let before = match fs::read_to_string(&real) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(failed(e).into()),
    };
    let mend = "nothing was changed; add what `chronotick mcp install` prints by hand";
    let after = with_entry(&before, host.servers(), command)
        .map_err(|why| format!("{}: {why}; {mend}", path.display()))?;
    if after == before {
        return Ok(false);
    }
    replace(&real, &after).map_err(failed)?;
    Ok(true)
}

/// The text of a configuration with the entry in it; everything else as it was.
pub(crate) fn with_entry(text: &str, servers: &str, command: &str) -> Result<String, String> {
    let text = if text.trim().is_empty() { "{}\n" } else { text };
    let root = CstRootNode::parse(text, &ParseOptions::default()).map_err(|e| format!("is not JSON: {e}"))?;
    let top = root.object_value().ok_or("is not an object")?;
    let list = match top.get(servers) {
        None => top.object_value_or_set(servers),
        Some(_) => {
            top.object_value(servers).ok_or_else(|| format!("\"{servers}\" in it is not an object"))?
        }
    };
    let wanted = [
        ("type", CstInputValue::from("stdio")),
        ("command", command.into()),
        ("args", CstInputValue::Array(vec!["mcp".into()])),
    ];
    match list.get(NAME) {
        None => {
            let fields = wanted.map(|(key, value)| (key.to_owned(), value));
            list.append(NAME, CstInputValue::Object(fields.into()));
        }
        // What the user added to it, such as an environment, stays; so do arguments of its own.
        Some(_) => {
            let entry =
                list.object_value(NAME).ok_or_else(|| format!("\"{NAME}\" in it is not an object"))?;
            for (key, value) in wanted {
                match entry.get(key) {
                    None => drop(entry.append(key, value)),
                    Some(property) if key == "command" && text_of(&property).as_deref() != Some(command) => {
                        property.set_value(value);
                    }
                    Some(_) => {}
                }
            }
        }
    }
    Ok(root.to_string())
}

fn text_of(property: &CstObjectProp) -> Option<String> {
    property.value()?.as_string_lit()?.decoded_value().ok()
}

/// Replaces a file in one step, with the rights that it had.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = dir.join(format!(".{name}.{}", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&fresh)?;
    let written = (|| {
        if let Ok(old) = fs::metadata(path) {
            file.set_permissions(old.permissions())?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn entry(text: &str) -> Value {
        serde_json::from_str::<Value>(text).unwrap()["mcpServers"][NAME].clone()
    }

    #[test]
    fn an_empty_file_and_an_empty_object_get_the_entry() {
        for text in ["", " \n", "{}", "{\n}\n"] {
            let written = with_entry(text, "mcpServers", "chronotick").unwrap();
            assert_eq!(
                entry(&written),
                json!({"type": "stdio", "command": "chronotick", "args": ["mcp"]}),
                "{written}"
            );
        }
    }

    #[test]
    fn what_else_is_in_the_file_stays_as_it_is() {
        let before = "{\n  // mine\n  \"number\": 12345678901234567890,\n  \"mcpServers\": {\n    \"other\": {\"command\": \"x\"}, // keep\n  },\n}\n";
        let after = with_entry(before, "mcpServers", "chronotick").unwrap();
        for kept in ["// mine", "12345678901234567890", "\"other\": {\"command\": \"x\"}", "// keep"] {
            assert!(after.contains(kept), "{after}");
        }
        assert!(after.contains("\"chronotick\""), "{after}");
        assert_eq!(
            with_entry(&after, "mcpServers", "chronotick").unwrap(),
            after,
            "a second time changes nothing"
        );
    }

    #[test]
    fn an_entry_that_is_there_keeps_what_its_owner_added() {
        let before = r#"{"mcpServers": {"chronotick": {"command": "/old", "args": ["mcp", "--all-tools"], "env": {"A": "1"}}}}"#;
        let after = entry(&with_entry(before, "mcpServers", "/new").unwrap());
        assert_eq!(
            (&after["command"], &after["args"][1], &after["env"]["A"]),
            (&"/new".into(), &"--all-tools".into(), &"1".into())
        );
    }

    #[test]
    fn a_file_that_is_something_else_is_refused() {
        for text in ["[]", "{", "{\"mcpServers\": []}", "{\"mcpServers\": {\"chronotick\": 1}}", "hello"] {
            assert!(with_entry(text, "mcpServers", "chronotick").is_err(), "{text}");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mcp.json");
        fs::write(&path, "[1]").unwrap();
        let error = write(Client::Project, &path, "chronotick").unwrap_err().to_string();
        assert!(error.contains("nothing was changed"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "[1]");
    }

    #[test]
    fn a_file_is_made_replaced_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/mcp.json");
        assert!(write(Client::Vscode, &path, "chronotick").unwrap());
        assert!(!write(Client::Vscode, &path, "chronotick").unwrap());
        let written: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(written["servers"][NAME]["args"], json!(["mcp"]));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }
}
