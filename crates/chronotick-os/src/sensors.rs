//! What may move an oscillator's frequency, as the kernel shows it in files: load, temperature, processor frequency, memory
//! pressure, network traffic. Linux has the files; elsewhere nothing is found and every value is `None`.

use chronotick_core::{Conditions, RawInstant};
use std::fs;
use std::path::{Path, PathBuf};

/// Reads the machine's conditions.
///
/// ```
/// use chronotick_core::RawInstant;
/// let mut sensors = chronotick_os::Sensors::new("/nowhere");
/// assert_eq!(sensors.read(RawInstant::from_nanos(0)).values, [None; 5]);
/// ```
#[derive(Clone, Debug)]
pub struct Sensors {
    root: PathBuf,
    /// Ticks that the processors were busy, and all of them.
    ticks: Option<(f64, f64)>,
    /// Bytes that went over the network until then.
    traffic: Option<(RawInstant, f64)>,
}

impl Sensors {
    /// Sensors below a root: `/` for this machine.
    pub fn new(root: impl Into<PathBuf>) -> Sensors {
        Sensors { root: root.into(), ticks: None, traffic: None }
    }

    /// The conditions now. Load and traffic are those since the last call, and unknown at the first. A driver may take
    /// some milliseconds to answer, so this is not for a thread that must not wait.
    pub fn read(&mut self, now: RawInstant) -> Conditions {
        let values = [self.load(), self.temperature(), self.frequency(), self.pressure(), self.traffic(now)];
        Conditions { at: now, values: values.map(|v| v.filter(|v: &f64| v.is_finite())) }
    }

    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }

    /// Share of the processors' time that was not idle (proc(5), `/proc/stat`).
    fn load(&mut self) -> Option<f64> {
        let stat = self.text("proc/stat")?;
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<f64> = line.split_ascii_whitespace().filter_map(|n| n.parse().ok()).take(8).collect();
        let (all, idle) = (ticks.iter().sum::<f64>(), ticks.get(3)? + ticks.get(4).unwrap_or(&0.0));
        let (busy_before, all_before) = self.ticks.replace((all - idle, all))?;
        let passed = all - all_before;
        (passed > 0.0).then(|| ((all - idle - busy_before) / passed).clamp(0.0, 1.0))
    }

    /// Mean of what the hardware monitors say, °C; else of the thermal zones.
    fn temperature(&self) -> Option<f64> {
        let monitors = self.below("sys/class/hwmon", |dir| {
            let names = entries(dir).into_iter().filter_map(|p| p.file_name()?.to_str().map(str::to_owned));
            names.filter(|n| n.starts_with("temp") && n.ends_with("_input")).map(|n| dir.join(n)).collect()
        });
        let zones = || self.below("sys/class/thermal", |dir| vec![dir.join("temp")]);
        mean(&monitors, PLAUSIBLE).or_else(|| mean(&zones(), PLAUSIBLE)).map(|t| t / 1e3)
    }

    /// Mean frequency of the processors, GHz.
    fn frequency(&self) -> Option<f64> {
        let files = self.below("sys/devices/system/cpu", |dir| vec![dir.join("cpufreq/scaling_cur_freq")]);
        let of_driver = mean(&files, 1e3..=1e8).map(|kilohertz| kilohertz / 1e6);
        of_driver.or_else(|| {
            let text = self.text("proc/cpuinfo")?;
            let lines = text.lines().filter(|line| line.starts_with("cpu MHz"));
            let megahertz = lines.filter_map(|line| line.split(':').nth(1)?.trim().parse().ok());
            average(megahertz).map(|m| m / 1e3)
        })
    }

    /// Share of the time in which somebody waited for memory (`/proc/pressure/memory`), else the share in use.
    fn pressure(&self) -> Option<f64> {
        let stalled = || {
            let text = self.text("proc/pressure/memory")?;
            let some = text.lines().find(|line| line.starts_with("some "))?;
            let percent: f64 = some.split_once("avg10=")?.1.split(' ').next()?.parse().ok()?;
            Some(percent / 100.0)
        };
        let in_use = || {
            let text = self.text("proc/meminfo")?;
            let of = |key: &str| -> Option<f64> {
                let line = text.lines().find_map(|line| line.strip_prefix(key))?;
                line.split_ascii_whitespace().next()?.parse().ok()
            };
            let (total, available) = (of("MemTotal:")?, of("MemAvailable:")?);
            (total > 0.0).then(|| 1.0 - available / total)
        };
        stalled().or_else(in_use)
    }

    /// Traffic of all interfaces but loopback since the last call, both ways, MB/s.
    fn traffic(&mut self, now: RawInstant) -> Option<f64> {
        let text = self.text("proc/net/dev")?;
        let bytes = |line: &str| -> Option<f64> {
            let (name, counts) = line.split_once(':')?;
            let counts: Vec<f64> = counts.split_ascii_whitespace().filter_map(|n| n.parse().ok()).collect();
            (name.trim() != "lo").then_some(counts.first()? + counts.get(8)?)
        };
        let total: f64 = text.lines().filter_map(bytes).sum();
        let (then, before) = self.traffic.replace((now, total))?;
        let passed = (now - then).as_secs_f64();
        // An interface that went away took its count with it.
        (passed > 0.0 && total >= before).then(|| (total - before) / passed / 1e6)
    }

    /// Files in the folders below a folder.
    fn below(&self, folder: &str, files: impl Fn(&Path) -> Vec<PathBuf>) -> Vec<PathBuf> {
        entries(&self.root.join(folder)).iter().flat_map(|dir| files(dir)).collect()
    }
}

/// Thousandths of °C that are a temperature and not a broken sensor.
const PLAUSIBLE: std::ops::RangeInclusive<f64> = -40e3..=150e3;

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// The mean of the plausible numbers in files.
fn mean(files: &[PathBuf], plausible: std::ops::RangeInclusive<f64>) -> Option<f64> {
    let numbers = files.iter().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    average(numbers.filter(|n| plausible.contains(n)))
}

fn average(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = numbers.fold((0.0, 0u32), |(sum, n), x| (sum + x, n + 1));
    (n > 0).then(|| sum / f64::from(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chronotick_core::Span;

    /// A machine made of files, gone at the end.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Tree {
            let root = std::env::temp_dir().join(format!("chronotick-sensors-{name}-{}", std::process::id()));
            fs::create_dir_all(&root).expect("the temporary directory can be written");
            Tree(root)
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().expect("has one")).expect("can be made");
            fs::write(path, text).expect("can be written");
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn at(seconds: i64) -> RawInstant {
        RawInstant::from_nanos(0) + Span::from_secs(seconds)
    }

    #[test]
    fn all_conditions_are_read() {
        let tree = Tree::new("all");
        tree.write("proc/stat", "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 2 3\n");
        tree.write("sys/class/hwmon/hwmon0/temp1_input", "40000\n");
        tree.write("sys/class/hwmon/hwmon1/temp1_input", "50000\n");
        tree.write("sys/class/hwmon/hwmon1/temp2_input", "-273000\n");
        tree.write("sys/class/thermal/thermal_zone0/temp", "99000\n");
        tree.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "2000000\n");
        tree.write("sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "3000000\n");
        tree.write(
            "proc/pressure/memory",
            "some avg10=12.50 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00\n",
        );
        tree.write("proc/net/dev", "head\n  lo: 9 0 0 0 0 0 0 0 9\n eth0: 1000000 0 0 0 0 0 0 0 2000000\n");
        let mut sensors = Sensors::new(&tree.0);
        assert_eq!(sensors.read(at(0)).values, [None, Some(45.0), Some(2.5), Some(0.125), None]);
        tree.write("proc/stat", "cpu  175 0 100 825 0 0 0 0 0 0\n");
        tree.write("proc/net/dev", "eth0: 6000000 0 0 0 0 0 0 0 7000000\n");
        assert_eq!(sensors.read(at(10)).values, [Some(0.75), Some(45.0), Some(2.5), Some(0.125), Some(1.0)]);
    }

    #[test]
    fn what_is_missing_is_replaced_where_something_else_says_it() {
        let tree = Tree::new("other");
        tree.write("sys/class/thermal/thermal_zone0/temp", "38000\n");
        tree.write("proc/cpuinfo", "model name : x\ncpu MHz : 1500.0\ncpu MHz : 2500.0\n");
        tree.write("proc/meminfo", "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 250 kB\n");
        let values = Sensors::new(&tree.0).read(at(0)).values;
        assert_eq!(values, [None, Some(38.0), Some(2.0), Some(0.75), None]);
    }

    #[test]
    fn nonsense_is_nothing() {
        let tree = Tree::new("nonsense");
        for path in ["proc/stat", "proc/net/dev", "proc/meminfo", "proc/pressure/memory", "proc/cpuinfo"] {
            tree.write(path, "cpu x : some avg10=\0\u{fffd}:::\n");
        }
        tree.write("sys/class/hwmon/hwmon0/temp1_input", "warm");
        let mut sensors = Sensors::new(&tree.0);
        sensors.read(at(0));
        assert_eq!(sensors.read(at(1)).values[..4], [None; 4]);
    }
}
