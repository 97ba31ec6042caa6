//! Folders that are not what they should be: every one costs an error that names the thing and the mend, never a panic.

use crate::folder::{Folder, checkpoints};
use chronotick_tsfm::{ForecastError, Forecaster, OpenError, Task};
use serde_json::{Value, json};

/// Opens a folder that must be refused, and gives the message.
fn refusal(folder: &Folder) -> (OpenError, String) {
    let Err(error) = Forecaster::open(folder.path()) else { panic!("the folder was opened") };
    let message = error.to_string();
    (error, message)
}

/// Opens a folder and, where that succeeds, forecasts with it.
fn try_out(folder: &Folder) -> Result<(), OpenError> {
    let model = Forecaster::open(folder.path())?;
    let _ = model.forecast(&[Task::from(vec![1.0, 2.0, f64::NAN, 4.0])], 3, &[]);
    Ok(())
}

#[test]
fn a_missing_file_is_named() {
    for name in &checkpoints() {
        for file in ["config.json", "model.safetensors"] {
            let folder = Folder::copy(name);
            std::fs::remove_file(folder.file(file)).expect("a removed file");
            let (error, message) = refusal(&folder);
            assert!(matches!(error, OpenError::File { .. }), "{message}");
            assert!(
                message.contains(file) && message.contains("config.json and model.safetensors"),
                "{message}"
            );
        }
    }
}

#[test]
fn weights_cut_short_anywhere_are_refused() {
    for name in &checkpoints() {
        let folder = Folder::copy(name);
        let bytes = std::fs::read(folder.file("model.safetensors")).expect("weights");
        for length in [0, 1, 7, 8, 9, 100, 5000, bytes.len() / 2, bytes.len() - 1] {
            folder.write("model.safetensors", &bytes[..length]);
            let (error, message) = refusal(&folder);
            assert!(matches!(error, OpenError::Damaged { .. }), "{message}");
            assert!(message.contains("model.safetensors"), "{message}");
        }
    }
}

#[test]
fn headers_of_nonsense_are_refused() {
    let folder = Folder::copy("chronos-bolt");
    let headers = [
        "[]",
        "{",
        r#"{"a": 1}"#,
        r#"{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}"#,
        r#"{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 18446744073709551615]}}"#,
        r#"{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}"#,
    ];
    for header in headers {
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 4]].concat();
        folder.write("model.safetensors", bytes);
        let (error, message) = refusal(&folder);
        assert!(matches!(error, OpenError::Damaged { .. }), "{header}: {message}");
    }
    folder.write("model.safetensors", u64::MAX.to_le_bytes());
    assert!(matches!(refusal(&folder).0, OpenError::Damaged { .. }));
}

/// Weights of these tensors, each with its name and the bytes it claims of eight that are there.
fn weights(tensors: &[(&str, [u64; 2])]) -> Vec<u8> {
    let entry = |(name, range): &(&str, [u64; 2])| {
        let entry = json!({ "dtype": "F32", "shape": [(range[1] - range[0]) / 4], "data_offsets": range });
        ((*name).to_owned(), entry)
    };
    let header = Value::Object(tensors.iter().map(entry).collect()).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 8]].concat()
}

#[test]
fn tensors_that_share_bytes_are_refused() {
    let folder = Folder::copy("chronos-bolt");
    for ranges in [[[0, 8], [0, 8]], [[0, 8], [4, 8]], [[4, 8], [0, 8]]] {
        folder.write("model.safetensors", weights(&[("a", ranges[0]), ("b", ranges[1]), ("c", [0, 0])]));
        let (error, message) = refusal(&folder);
        assert!(matches!(error, OpenError::Damaged { .. }), "{message}");
        assert!(message.contains("share bytes"), "{message}");
    }
    // What is empty shares nothing, wherever it lies.
    folder.write("model.safetensors", weights(&[("a", [4, 8]), ("b", [0, 4]), ("c", [0, 0]), ("d", [2, 2])]));
    let (error, message) = refusal(&folder);
    assert!(matches!(error, OpenError::MissingTensor { .. }), "{message}");
}

#[test]
fn names_in_a_header_cannot_command_a_terminal() {
    let folder = Folder::copy("chronos-bolt");
    let name = "\u{1b}]0;title\u{7}";
    for tensors in [[(name, [0, 16]), ("b", [0, 0])], [(name, [0, 8]), ("b", [4, 8])]] {
        folder.write("model.safetensors", weights(&tensors));
        let (_, message) = refusal(&folder);
        assert!(message.contains("title") && !message.contains(char::is_control), "{message}");
    }
}

#[test]
fn heads_beyond_all_memory_are_refused() {
    let folder = Folder::copy("chronos-bolt");
    let mut config = folder.config();
    config["num_heads"] = json!(1 << 17);
    config["d_kv"] = json!(1);
    config["chronos_config"]["input_patch_size"] = json!(1);
    config["chronos_config"]["input_patch_stride"] = json!(1);
    folder.write("config.json", config.to_string());
    let (error, message) = refusal(&folder);
    assert!(matches!(error, OpenError::Config { .. }), "{message}");
    assert!(message.contains("num_heads is 131072"), "{message}");
}

#[test]
fn a_missing_tensor_and_a_wrong_shape_are_named() {
    for name in &checkpoints() {
        let folder = Folder::copy(name);
        let tensors = folder.tensors();
        let mut needed = 0;
        for removed in tensors.keys() {
            let mut rest = tensors.clone();
            rest.remove(removed);
            folder.write_tensors("model.safetensors", &rest);
            // Some tensors are not needed, and some tell the family.
            if let Err(error) = try_out(&folder) {
                needed += 1;
                let named = error.to_string().contains(removed.as_str());
                assert!(named || matches!(error, OpenError::Unsupported { .. }), "{removed}: {error}");
            }
            for size in [1, usize::MAX] {
                let mut changed = tensors.clone();
                changed.get_mut(removed).expect("it is there").shape.push(size);
                folder.write_tensors("model.safetensors", &changed);
                if let Err(error) = try_out(&folder) {
                    let named = error.to_string().contains(removed.as_str());
                    assert!(named || matches!(error, OpenError::Unsupported { .. }), "{removed}: {error}");
                }
            }
        }
        assert!(needed > 10, "{name}: only {needed} tensors are needed");
    }
}

#[test]
fn a_quantised_or_miscounted_tensor_is_named() {
    let folder = Folder::copy("chronos-bolt");
    let name = "encoder.final_layer_norm.weight";
    let tensors = folder.tensors();
    for (dtype, length) in [("I8", 32), ("F32", 64), ("F64", 128)] {
        let mut changed = tensors.clone();
        let tensor = changed.get_mut(name).expect("it is there");
        tensor.dtype = dtype.into();
        tensor.bytes.truncate(length);
        folder.write_tensors("model.safetensors", &changed);
        let (_, message) = refusal(&folder);
        assert!(message.contains(name), "{message}");
    }
}

/// Every value at every depth of a configuration, as a JSON pointer.
fn find_places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(object) => object.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(i, value)| (i.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    inner.iter().for_each(|(key, value)| find_places(value, &format!("{at}/{key}"), found));
}

/// Every value of every configuration, set to what no one would write.
#[test]
fn configurations_of_nonsense_never_panic() {
    let nonsense = [
        json!(0),
        json!(3),
        json!(-1),
        json!(1u64 << 40),
        json!(u64::MAX),
        json!(1e300),
        json!(null),
        json!("x"),
        json!([]),
        json!({}),
    ];
    for name in &checkpoints() {
        let folder = Folder::copy(name);
        let config = folder.config();
        let mut places = Vec::new();
        find_places(&config, "", &mut places);
        for place in places {
            for value in &nonsense {
                let mut changed = config.clone();
                *changed.pointer_mut(&place).expect("the key is there") = value.clone();
                folder.write("config.json", changed.to_string());
                if let Err(error) = try_out(&folder) {
                    assert!(
                        error.to_string().contains(folder.path().to_str().expect("text")),
                        "{place}: {error}"
                    );
                }
            }
        }
    }
}

#[test]
fn an_index_that_leaves_the_folder_is_refused() {
    let folder = Folder::copy("chronos-bolt");
    std::fs::remove_file(folder.file("model.safetensors")).expect("a removed file");
    for shard in ["../model.safetensors", "/etc/hostname", "a/b", "..", ""] {
        folder.write("model.safetensors.index.json", json!({ "weight_map": { "a": shard } }).to_string());
        let (error, message) = refusal(&folder);
        assert!(matches!(error, OpenError::Damaged { .. }), "{shard}: {message}");
    }
}

#[test]
fn other_models_are_refused_by_name() {
    let folder = Folder::copy("chronos-bolt");
    for (config, named) in [
        (json!({ "chronos_pipeline_class": "ChronosPipeline" }), "ChronosPipeline"),
        (json!({ "architectures": ["LlamaForCausalLM"] }), "LlamaForCausalLM"),
        (json!({}), "neither config.json nor its tensors"),
    ] {
        folder.write("config.json", config.to_string());
        let (error, message) = refusal(&folder);
        assert!(matches!(error, OpenError::Unsupported { .. }), "{message}");
        assert!(message.contains(named) && message.contains("supported are Chronos-Bolt"), "{message}");
    }
}

#[test]
fn weights_that_are_no_numbers_give_no_forecast() {
    for name in &checkpoints() {
        let folder = Folder::copy(name);
        let mut tensors = folder.tensors();
        tensors.values_mut().for_each(|tensor| tensor.bytes.fill(0xff));
        folder.write_tensors("model.safetensors", &tensors);
        let model = Forecaster::open(folder.path()).unwrap_or_else(|error| panic!("{error}"));
        let answer = model.forecast(&[Task::from(vec![1.0, 2.0, 4.0])], 3, &[]);
        // A model that wants covariates says that first.
        assert!(
            matches!(answer, Err(ForecastError::NotFinite { .. } | ForecastError::Unsuited { .. })),
            "{name}"
        );
    }
}
