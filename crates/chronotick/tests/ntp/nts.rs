//! NTS both ways: the daemon as the client of a chronyd, and a chronyd as the client of the daemon.

use crate::daemon::start;
use chronotick_peers::{Certificates, Chronyd, Daemon, eventually, free_address, free_tcp_address};
use serde_json::Value;

/// A chronyd with NTS, and the port of its key establishment.
fn chronyd_with_nts(certificates: &Certificates) -> Option<(Chronyd, u16)> {
    let port = free_tcp_address().port();
    let directives = format!(
        "local stratum 1\nntsport {port}\nntsservercert {}\nntsserverkey {}",
        certificates.certificate().display(),
        certificates.key().display()
    );
    Some((Chronyd::start(&directives)?, port))
}

fn client(server: &str, ca: Option<&Certificates>) -> Daemon {
    let ca = ca.map(|ca| format!("    nts_ca_file: {}\n", ca.authority().display())).unwrap_or_default();
    start(&format!("clock_measurement:\n  ntp:\n    servers:\n      - {server}\n{ca}"))
}

fn sources(daemon: &Daemon, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
    daemon.wait_for(&["sources", "--json"], what, condition)
}

#[test]
fn the_daemon_takes_authenticated_time_and_its_cookies_last() {
    let certificates = Certificates::new();
    let Some((server, port)) = chronyd_with_nts(&certificates) else { return };
    let daemon = client(&format!("{} nts ntsport {port}", server.address()), Some(&certificates));
    daemon.wait_for_state("synced");
    // NTP packets received and dropped, command packets received and dropped, log records dropped, NTS-KE connections
    // accepted and dropped, authenticated NTP packets.
    let stats = || {
        let row = server.chronyc(&["serverstats"]);
        row.trim().split(',').filter_map(|n| n.parse().ok()).collect::<Vec<u64>>()
    };
    let before = stats();
    // More answers than one key establishment brings cookies.
    let answers = |v: &Value| v["sources"][0]["answers"].as_u64().unwrap_or(0);
    let first = answers(&sources(&daemon, "sources", |v| answers(v) > 0));
    sources(&daemon, "12 more answers", |v| answers(v) >= first + 12);
    let after = stats();
    assert_eq!(after[5], before[5], "no other key establishment: {before:?} {after:?}");
    assert!(after[7] >= before[7] + 10, "{before:?} {after:?}");
    let log = daemon.log();
    assert!(!log.contains("cookie:") && !log.contains("SecretKey"), "{log}");
}

#[test]
fn a_server_that_forgets_its_keys_is_asked_for_new_ones() {
    let certificates = Certificates::new();
    let Some((mut server, port)) = chronyd_with_nts(&certificates) else { return };
    let daemon = client(
        &format!("{{address: \"{}\", nts: true, ntsport: {port}, xleave: true}}", server.address()),
        Some(&certificates),
    );
    daemon.wait_for_state("synced");
    server.restart();
    let answers = |v: &Value| v["sources"][0]["answers"].as_u64().unwrap_or(0);
    let before = answers(&sources(&daemon, "sources", |v| answers(v) > 0));
    sources(&daemon, "answers after the restart", |v| answers(v) >= before + 3);
}

#[test]
fn a_server_that_cannot_prove_who_it_is_is_not_asked_for_the_time() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let Some((server, port)) = chronyd_with_nts(&certificates) else { return };
    let written = format!("{} nts ntsport {port}", server.address());
    let deceived = client(&written, Some(&others));
    let told =
        eventually("told", || deceived.log().lines().find(|l| l.contains("certificate")).map(str::to_owned));
    assert!(told.unwrap().contains("invalid peer certificate"), "{}", deceived.log());
    let status = sources(&deceived, "unresolved", |v| v["unresolved"][0].as_str().is_some());
    assert_eq!((status["sources"].as_array().unwrap().len(), &status["traffic"]["polls"]), (0, &0.into()));

    let system = client(&written, None);
    let told = eventually("told", || system.log().lines().find(|l| l.contains("NTS")).map(str::to_owned));
    assert!(told.is_some(), "the system does not know our authority: {}", system.log());

    let lenient = client(&format!("{written} fallback"), Some(&others));
    lenient.wait_for_state("synced");
    assert!(lenient.log().contains("asked without NTS, as configured"), "{}", lenient.log());
}

#[test]
fn a_chronyd_takes_authenticated_time_from_the_daemon() {
    let certificates = Certificates::new();
    let Some(upstream) = Chronyd::start("local stratum 3") else { return };
    let (address, keys) = (free_address(), free_tcp_address());
    let daemon = start(&format!(
        "clock_measurement:\n  ntp:\n    servers: {}\nserve:\n  ntp:\n    enabled: true\n    listen: {address}\n  nts:\n    enabled: true\n    listen: {keys}\n    certificate_file: {}\n    private_key_file: {}\n    key_rotation: 5\n",
        upstream.address(),
        certificates.certificate().display(),
        certificates.key().display(),
    ));
    daemon.wait_for_state("synced");
    let client = Chronyd::start(&format!(
        "server localhost port {} nts ntsport {} xleave iburst minpoll 0 maxpoll 0\nntstrustedcerts {}\nbindacqaddress 127.0.0.3",
        address.port(),
        keys.port(),
        certificates.authority().display()
    ))
    .unwrap();
    let row = eventually("selected by chronyd", || {
        let row = client.chronyc(&["sources"]);
        row.starts_with("^,*").then_some(row)
    });
    assert!(
        row.is_some(),
        "{}\n{}\n{}",
        client.chronyc(&["sources"]),
        client.chronyc(&["authdata"]),
        daemon.log()
    );
    // While an answer is on its way there is a cookie less.
    let authdata = || client.chronyc(&["authdata"]);
    let authdata = eventually("has all cookies", || {
        let row = authdata();
        (row.trim().split(',').nth(8) == Some("8")).then_some(row)
    })
    .unwrap_or_else(authdata);
    // Name, mode, key number, algorithm, key length, age, attempts, NAKs, cookies, cookie length.
    let columns: Vec<&str> = authdata.trim().split(',').collect();
    assert_eq!((columns[1], columns[3], columns[4]), ("NTS", "15", "256"), "{authdata}");
    assert_eq!(
        (columns[7], columns[8], columns[9]),
        ("0", "8", "100"),
        "no NAK, and all cookies are there: {authdata}"
    );
    // Each cookie is 8 s old when it is used. The keys change meanwhile, and the client notices nothing.
    std::thread::sleep(std::time::Duration::from_secs(12));
    let authdata = client.chronyc(&["authdata"]);
    assert_eq!(authdata.trim().split(',').nth(7), Some("0"), "{authdata}");
}
