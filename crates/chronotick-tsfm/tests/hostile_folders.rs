//! Folders that are damaged or malicious: every family answers with an error that names what is wrong, and never with
//! a panic or a request for absurd memory.

use std::path::{Path, PathBuf};

use chronotick_tsfm::{Forecaster, Task};
use serde_json::{Value, json};

fn folders() -> Vec<PathBuf> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(fixtures).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.join("config.json").exists());
    folders.sort();
    folders
}

/// A folder to damage.
struct Victim(tempfile::TempDir);

impl Victim {
    fn new(config: &Value, weights: &[u8]) -> Self {
        let victim = Self(tempfile::tempdir().unwrap());
        victim.config(config);
        victim.weights(weights);
        victim
    }

    fn config(&self, config: &Value) {
        std::fs::write(self.0.path().join("config.json"), config.to_string()).unwrap();
    }

    fn weights(&self, weights: &[u8]) {
        std::fs::write(self.0.path().join("model.safetensors"), weights).unwrap();
    }

    fn open(&self) -> Result<Forecaster, String> {
        Forecaster::open(self.0.path()).map_err(|error| error.to_string())
    }
}

fn read(folder: &Path) -> (Value, Vec<u8>) {
    let config = std::fs::read(folder.join("config.json")).unwrap();
    (serde_json::from_slice(&config).unwrap(), std::fs::read(folder.join("model.safetensors")).unwrap())
}

/// Every value at every depth of a configuration, as a JSON pointer.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| pointers(value, &format!("{at}/{key}"), found))
        }
        Value::Array(list) => {
            found.push(at.to_owned());
            list.iter().enumerate().for_each(|(i, value)| pointers(value, &format!("{at}/{i}"), found));
        }
        _ => found.push(at.to_owned()),
    }
}

#[test]
fn no_value_in_a_configuration_makes_it_panic() {
    let hostile =
        [json!(null), json!(0), json!(-1), json!(3), json!(1e300), json!(u64::MAX), json!("x"), json!([])];
    for folder in folders() {
        let (config, weights) = read(&folder);
        let victim = Victim::new(&config, &weights);
        let series = (0..70).map(|i| f64::from(i % 7)).collect::<Vec<f64>>();
        let mut places = Vec::new();
        pointers(&config, "", &mut places);
        for place in places {
            for value in &hostile {
                let mut config = config.clone();
                *config.pointer_mut(&place).unwrap() = value.clone();
                victim.config(&config);
                match victim.open() {
                    // Some values are as good as the published ones: then it has to forecast, or say why not.
                    Ok(model) => drop(model.forecast(&[Task::from(series.clone())], 9, &[])),
                    Err(error) => assert!(error.len() > 40, "{place} = {value}: {error}"),
                }
            }
        }
    }
}

#[test]
fn weights_that_are_cut_short_or_lack_a_tensor_are_named() {
    for folder in folders() {
        let (config, weights) = read(&folder);
        let victim = Victim::new(&config, &weights);
        let length = weights.len();
        for keep in [0, 7, 8, 100, length / 2, length - 1] {
            victim.weights(&weights[..keep]);
            let Err(error) = victim.open() else { panic!("opened {keep} of {length} bytes") };
            assert!(error.contains("model.safetensors"), "{error}");
        }
        let header = u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
        let tensors: Value = serde_json::from_slice(&weights[8..8 + header]).unwrap();
        let with_header = |tensors: &Value| {
            let json = tensors.to_string().into_bytes();
            [&(json.len() as u64).to_le_bytes(), json.as_slice(), &weights[8 + header..]].concat()
        };
        let mut needed = 0;
        for name in tensors.as_object().unwrap().keys() {
            let mut changed = tensors.clone();
            let tensor = changed.as_object_mut().unwrap().remove(name).unwrap();
            victim.weights(&with_header(&changed));
            if let Err(error) = victim.open() {
                needed += 1;
                assert!(error.contains(name.as_str()) || error.contains("neither"), "{name}: {error}");
            }
            let Some(shape) = tensor["shape"].as_array() else { continue };
            let mut turned = tensor.clone();
            turned["shape"] = json!(shape.iter().map(|_| u64::MAX).collect::<Vec<_>>());
            changed[name] = turned;
            victim.weights(&with_header(&changed));
            drop(victim.open());
        }
        assert!(needed > 10, "{}: only {needed} tensors are needed", folder.display());
    }
}
