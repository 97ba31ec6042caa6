//! Symmetric keys and interleaved mode both ways: the daemon as the client of chronyds, and a chronyd as the client of the
//! daemon. Both read the same file of keys.

use crate::daemon::start;
use chronotick_peers::{Chronyd, eventually, free_address};
use serde_json::Value;
use std::fs::{Permissions, set_permissions, write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tempfile::TempDir;

/// A key of each algorithm, and by the number of the first one that others do not have.
const KEYS: &str = "\
1 SHA256 HEX:0102030405060708
2 SHA384 secret
3 SHA512 ASCII:secret
4 AES128 HEX:2B7E151628AED2A6ABF7158809CF4F3C
20 AES256 HEX:603DEB1015CA71BE2B73AEF0857D77811F352C073B6108D72D9810A30914DFF4
";
const NUMBERS: [u32; 5] = [1, 2, 3, 4, 20];

fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    write(&path, text).unwrap();
    set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    (folder, path)
}

/// The columns of a row that chronyc prints.
fn columns(text: &str) -> Vec<String> {
    text.trim().split(',').map(ToOwned::to_owned).collect()
}

fn answered(source: &Value) -> u64 {
    source["answers"].as_u64().unwrap_or(0)
}

#[test]
fn the_daemon_asks_chronyd_with_a_key_of_each_algorithm() {
    let (_folder, keys) = file(KEYS);
    let directives = format!("local stratum 1\nkeyfile {}", keys.display());
    let servers: Vec<Chronyd> = NUMBERS.iter().map_while(|_| Chronyd::start(&directives)).collect();
    if servers.is_empty() {
        return;
    }
    let mut list = String::new();
    for (number, server) in NUMBERS.iter().zip(&servers) {
        list += &format!("      - {} key {number}\n", server.address());
    }
    let daemon = start(&format!(
        "clock_measurement:\n  ntp:\n    keys_file: {}\n    servers:\n{list}",
        keys.display()
    ));
    let status = daemon.wait_for(&["sources", "--json"], "three answers of each", |status| {
        let sources = status["sources"].as_array().unwrap();
        sources.len() == NUMBERS.len() && sources.iter().all(|source| answered(source) >= 3)
    });
    for (number, source) in NUMBERS.iter().zip(status["sources"].as_array().unwrap()) {
        assert_eq!(
            (source["proof"]["mode"].as_str(), &source["proof"]["key"]),
            (Some("SK"), &(*number).into())
        );
    }
    for server in &servers {
        // The eighth column counts what was authenticated.
        let stats = columns(&server.chronyc(&["serverstats"]));
        assert!(stats[7].parse::<u64>().unwrap() >= 3, "{stats:?}");
    }
    let log = daemon.log();
    assert!(!log.to_lowercase().contains("secret") && !log.contains("2B7E"), "{log}");
}

#[test]
fn a_server_with_another_key_is_not_believed_and_keys_that_others_can_read_are_not_used() {
    let ((_ours, keys), (_theirs, others)) = (file(KEYS), file("1 SHA256 another"));
    let Some(server) = Chronyd::start(&format!("local stratum 1\nkeyfile {}", others.display())) else {
        return;
    };
    let yaml = format!(
        "clock_measurement:\n  ntp:\n    keys_file: {}\n    servers: {} key 1",
        keys.display(),
        server.address()
    );
    let deceived = start(&yaml);
    let sources = |what, condition: &dyn Fn(&Value) -> bool| {
        deceived.wait_for(&["sources", "--json"], what, |status| condition(&status["sources"][0]))
    };
    let status = sources("several requests", &|source| source["sent"].as_u64() >= Some(4));
    assert_eq!(answered(&status["sources"][0]), 0, "{status}");

    set_permissions(&keys, Permissions::from_mode(0o644)).unwrap();
    let careless = start(&yaml);
    let told = careless.wait_for(&["sources", "--json"], "told", |status| !status["unresolved"][0].is_null());
    let told = told["unresolved"][0].as_str().unwrap().to_owned();
    assert!(told.contains("mode 0644") && told.contains("chmod 600"), "{told}");
}

#[test]
fn chronyd_asks_the_daemon_with_a_key_of_each_algorithm_and_interleaved() {
    let ((_folder, keys), (_others, theirs)) = (file(KEYS), file(&format!("{KEYS}7 SHA256 unknown\n")));
    let Some(upstream) = Chronyd::start("local stratum 3") else { return };
    let port = free_address().port();
    let daemon = start(&format!(
        "clock_measurement:\n  ntp:\n    keys_file: {}\n    servers: {}\nserve:\n  ntp:\n    enabled: true\n    listen: {port}\n",
        keys.display(),
        upstream.address()
    ));
    daemon.wait_for_state("synced");
    let mut directives = format!("keyfile {}\nbindacqaddress 127.0.0.3\n", theirs.display());
    for (i, number) in NUMBERS.iter().chain(&[7]).enumerate() {
        let host = 10 + i;
        directives +=
            &format!("server 127.0.0.{host} port {port} key {number} xleave iburst minpoll 0 maxpoll 0\n");
    }
    directives += &format!("server 127.0.0.9 port {port} iburst minpoll 0 maxpoll 0\n");
    let client = Chronyd::start(&directives).unwrap();
    let reached = |host: usize| {
        let row = columns(&client.chronyc(&["ntpdata", &format!("127.0.0.{host}")]));
        // Address, …; interleaved, authenticated; …; all, valid and good replies.
        let good = row.get(33).and_then(|n| n.parse().ok()).unwrap_or(0u64);
        (row.get(26).cloned(), row.get(27).cloned(), good)
    };
    let yes = Some("Yes".to_owned());
    for (i, number) in NUMBERS.iter().enumerate() {
        let found = eventually("interleaved and authenticated", || {
            let (interleaved, authenticated, good) = reached(10 + i);
            (interleaved == yes && authenticated == yes && good >= 4).then_some(())
        });
        assert!(found.is_some(), "key {number}: {:?}\n{}", reached(10 + i), daemon.log());
    }
    assert_eq!(reached(10 + NUMBERS.len()).2, 0, "a key that the daemon does not have");
    let plain = eventually("answered", || (reached(9).2 > 0).then_some(()));
    assert!(plain.is_some(), "who asks without a key is answered without one");
    let status = daemon.wait_for(&["serverstats", "--json"], "counted", |status| {
        let count = |what: &str| status["server"]["datagrams"][what].as_u64().unwrap_or(0);
        count("answered_key") > 20 && count("not_authentic") > 0 && count("answered") > 0
    });
    assert!(status["server"]["interleaved"].as_u64() > Some(10), "{status}");
}

#[test]
fn the_daemon_asks_chronyd_interleaved() {
    let (_folder, keys) = file(KEYS);
    let Some(server) = Chronyd::start(&format!("local stratum 1\nkeyfile {}", keys.display())) else {
        return;
    };
    let daemon = start(&format!(
        "clock_measurement:\n  ntp:\n    keys_file: {}\n    servers: {} key 4 xleave prefer\n",
        keys.display(),
        server.address()
    ));
    daemon.wait_for_state("synced");
    let status = daemon.wait_for(&["sources", "--json"], "interleaved", |status| {
        let source = &status["sources"][0];
        source["ntp"]["interleaved"] == true && answered(source) >= 12
    });
    assert_eq!(status["sources"][0]["options"][0], "prefer");
    let stats = columns(&server.chronyc(&["serverstats"]));
    assert!(stats[7].parse::<u64>().unwrap() >= 12 && stats[8].parse::<u64>().unwrap() >= 8, "{stats:?}");
    // Served from and measured against the same clock: what interleaved mode tells has to be within the bound of it.
    let source = &status["sources"][0];
    assert_eq!((&source["verdict"], &source["contradictions"]), (&"trusted".into(), &0.into()), "{source}");
}
