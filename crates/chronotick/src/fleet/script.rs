//! What runs on the hosts: short scripts for a POSIX shell. Values are quoted; answers are lines of a word and a value.
//!
//! A host has one folder, with the program, its configuration, what the daemon says and knows, and a folder for each
//! experiment. A process that was begun there is recognised by its number *and* its command line, so that nothing else is
//! ever ended.

/// A value in a script.
pub(super) fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "'\\''"))
}

/// A script on the folder of a host: assignments, the functions that all share, and what is to be done.
pub(super) fn script(values: &[(&str, &str)], what: &str) -> String {
    let assignments: String =
        values.iter().map(|(name, value)| format!("{name}={}\n", quoted(value))).collect();
    format!("set -u\numask 077\n{assignments}{COMMON}{what}")
}

const COMMON: &str = r#"
fault() { echo "fault $1"; exit 0; }
digest() { { sha256sum 2>/dev/null || shasum -a 256; } <"$1" | cut -c1-64; }
command_of() { if [ -r "/proc/$1/cmdline" ]; then tr '\0' ' ' <"/proc/$1/cmdline"; else ps -p "$1" -o args= 2>/dev/null; fi; }
alive() { # FILE: whether what was begun under this name still is
    [ -s "$1.pid" ] || return 1
    read -r pid <"$1.pid" || return 1
    case $pid in *[!0-9]*) return 1;; esac
    case $(command_of "$pid") in "$here/chronotick "*) return 0;; esac
    return 1
}
begin() { # FILE COMMAND…: a process of its own that leaves its number, and its exit code once it has ended
    under=$1; shift
    rm -f "$under.pid" "$under.rc"
    nohup sh -c 'under=$1; shift; "$@" & echo $! >"$under.new"; mv -f "$under.new" "$under.pid"; wait $!; echo $? >"$under.rc"' \
        fleet "$under" "$@" >>"$under.log" 2>&1 </dev/null &
    n=0
    until [ -s "$under.pid" ] || [ $n -ge 10 ]; do sleep 0.2 2>/dev/null || sleep 1; n=$((n + 1)); done
}
state_of() { # FILE
    if alive "$1"; then echo running
    elif [ -s "$1.rc" ]; then read -r code <"$1.rc"; echo "ended $code"
    elif [ -f "$1.pid" ]; then echo lost
    else echo none
    fi
}
"#;

/// What is there: a digest for each file, and what kind of machine it is.
pub(super) const LOOK: &str = r#"
mkdir -p "$dir" && cd "$dir" || fault "its folder cannot be made"
[ -O . ] || fault "its folder belongs to somebody else; name another directory"
chmod 700 .
for file in chronotick config.yaml; do
    [ ! -f "$file" ] || echo "$file $(digest "$file")"
done
echo "machine $(uname -sm)"
"#;

/// Puts what has arrived in its place.
pub(super) const SETTLE: &str = r#"
cd "$dir" || fault "its folder is gone"
[ "$(digest "$file.new")" = "$want" ] || fault "$file arrived damaged; deploy again"
if [ "$file" = chronotick ]; then
    chmod 700 chronotick.new
    ./chronotick.new --version >version.new 2>&1 </dev/null || fault "the program does not run there ($(uname -sm)); name one for that machine as binary"
    rm -f version.new
fi
mv -f "$file.new" "$file" || fault "$file cannot be put in its place"
echo settled
"#;

/// How the fault begins that `START` finds where somebody else's experiment runs.
pub(super) const BUSY: &str = "the experiment runs with other settings";

/// Begins the daemon and the experiment, or leaves them as they are.
pub(super) const START: &str = r#"
cd "$dir" && here=$(pwd -P) || fault "nothing is deployed there; deploy first"
[ -x chronotick ] && [ -f config.yaml ] || fault "nothing is deployed there; deploy first"
made_of="$(digest chronotick) $(digest config.yaml)"
chronotick() { "$here/chronotick" -f "$here/config.yaml" --runtime-dir "$here/run" "$@"; }
if alive daemon; then
    if [ "$(cat daemon.of 2>/dev/null)" = "$made_of" ]; then echo "daemon running"; else echo "daemon older"; fi
else
    mkdir -p run state
    begin daemon "$here/chronotick" -f "$here/config.yaml" --runtime-dir "$here/run" --state-dir "$here/state" run
    echo "$made_of" >daemon.of
    n=0
    while :; do
        chronotick status --json >/dev/null 2>&1 </dev/null
        case $? in 0|3) break;; esac
        alive daemon || fault "the daemon has ended: $(tail -n 1 daemon.log)"
        [ $n -lt 60 ] || fault "the daemon does not publish: $(tail -n 1 daemon.log)"
        sleep 0.5 2>/dev/null || sleep 1; n=$((n + 1))
    done
    echo "daemon begun"
fi
[ -n "$experiment" ] || exit 0
mkdir -p "$experiment"
under=$experiment/validate
set -- "$here/chronotick" -f "$here/config.yaml" --runtime-dir "$here/run" validate --resume \
    --duration "$duration" --out "$here/$experiment/$name.csv"
[ -z "$servers" ] || set -- "$@" --ntp-server "$servers"
[ -z "$sample" ] || set -- "$@" --sample-interval "$sample"
[ -z "$query" ] || set -- "$@" --ntp-interval "$query"
same() { [ "$(cat "$under.as" 2>/dev/null)" = "$*" ]; }
if alive "$under"; then
    same "$@" || fault "the experiment runs with other settings; stop it first, or give the new one another name"
    echo "experiment running"
elif [ "$(cat "$under.rc" 2>/dev/null)" = 0 ] && same "$@" && [ ! -f "$under.stopped" ]; then
    echo "experiment finished"
else
    echo "$*" >"$under.as"
    rm -f "$under.stopped"
    begin "$under" "$@"
    alive "$under" || [ "$(cat "$under.rc" 2>/dev/null)" = 0 ] || fault "the experiment has ended: $(tail -n 1 "$under.log")"
    echo "experiment begun"
fi
"#;

/// How the daemon and the experiment are.
pub(super) const STATUS: &str = r#"
cd "$dir" 2>/dev/null && here=$(pwd -P) || { echo "daemon none"; exit 0; }
echo "daemon $(state_of daemon)"
if [ -n "$experiment" ]; then
    under=$experiment/validate
    if [ -f "$under.stopped" ]; then echo "experiment stopped"; else echo "experiment $(state_of "$under")"; fi
    [ ! -f "$experiment/$name.csv" ] || echo "rows $(($(wc -l <"$experiment/$name.csv") - 1))"
    [ ! -s "$under.log" ] || echo "said $(tail -n 1 "$under.log")"
fi
[ ! -x chronotick ] || echo "status $("$here/chronotick" -f "$here/config.yaml" --runtime-dir "$here/run" status --json 2>/dev/null </dev/null)"
"#;

/// Ends what `START` began, the experiments first.
pub(super) const STOP: &str = r#"
cd "$dir" 2>/dev/null && here=$(pwd -P) || { echo "stopped 0"; exit 0; }
count=0
end() { # FILE
    alive "$1" || return 0
    count=$((count + 1))
    kill -TERM "$pid"
    n=0
    while alive "$1"; do
        [ $n -lt 40 ] || { kill -KILL "$pid"; break; }
        sleep 0.5 2>/dev/null || sleep 1; n=$((n + 1))
    done
}
for file in */validate.pid; do
    under=${file%.pid}
    if alive "$under"; then : >"$under.stopped"; end "$under"; fi
done
end daemon
echo "stopped $count"
"#;

/// Says of each file how long it is, when it was changed, and the digest of as many bytes as are here already.
pub(super) const LIST: &str = r#"
cd "$dir" 2>/dev/null || exit 0
list() { # KEY BYTES FILE
    [ -f "$3" ] || return 0
    changed=$(stat -c %Y "$3" 2>/dev/null || stat -f %m "$3")
    echo "$1 $(($(wc -c <"$3"))) $changed $(head -c "$2" "$3" | { sha256sum 2>/dev/null || shasum -a 256; } | cut -c1-64)"
}
list config.yaml "$config" config.yaml
list daemon.log "$daemon" daemon.log
[ -n "$experiment" ] || exit 0
list validate.log "$validate" "$experiment/validate.log"
list table "$table" "$experiment/$name.csv"
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Whatever the value: the shell sees it, and nothing of it is run.
        #[test]
        fn a_quoted_value_is_itself(value in "[ -~éß\n\t]{0,40}") {
            let said = Command::new("sh").args(["-c", &format!("printf %s {}", quoted(&value))]).output().unwrap();
            prop_assert_eq!(String::from_utf8(said.stdout).unwrap(), value);
        }
    }

    #[test]
    fn a_busy_host_says_so() {
        assert!(START.contains(&format!("fault \"{BUSY};")));
    }

    #[test]
    fn every_script_is_one_that_a_shell_reads() {
        for what in [LOOK, SETTLE, START, STATUS, STOP, LIST] {
            let checked =
                Command::new("sh").args(["-n", "-c", &script(&[("dir", "a'b")], what)]).output().unwrap();
            assert!(checked.status.success(), "{what}: {checked:?}");
        }
    }
}
