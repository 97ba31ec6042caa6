//! Copies of the fixtures' checkpoints that a test may damage or lay out anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The recorded checkpoints.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The names of all of them.
pub(crate) fn checkpoints() -> Vec<String> {
    let entries = std::fs::read_dir(fixture("")).expect("the fixtures").map(|entry| entry.expect("an entry"));
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> =
        folders.map(|entry| entry.file_name().into_string().expect("a plain name")).collect();
    names.sort_unstable();
    names
}

/// A copy of a checkpoint, deleted with the value.
pub(crate) struct Folder(tempfile::TempDir);

/// One tensor: type, shape, bytes.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) dtype: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) type Tensors = BTreeMap<String, Stored>;

impl Folder {
    pub(crate) fn copy(name: &str) -> Self {
        let folder = Self(tempfile::tempdir().expect("a temporary folder"));
        for file in ["config.json", "model.safetensors"] {
            std::fs::copy(fixture(name).join(file), folder.file(file)).expect("a copy");
        }
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.file(name), bytes).expect("a written file");
    }

    pub(crate) fn config(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.file("config.json")).expect("a configuration"))
            .expect("JSON")
    }

    pub(crate) fn tensors(&self) -> Tensors {
        let bytes = std::fs::read(self.file("model.safetensors")).expect("weights");
        let start = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
        let header: BTreeMap<String, Value> = serde_json::from_slice(&bytes[8..start]).expect("a header");
        let number = |value: &Value| value.as_u64().expect("a number") as usize;
        let stored = |entry: &Value| Stored {
            dtype: entry["dtype"].as_str().expect("a type").to_owned(),
            shape: entry["shape"].as_array().expect("a shape").iter().map(number).collect(),
            bytes: bytes
                [start + number(&entry["data_offsets"][0])..start + number(&entry["data_offsets"][1])]
                .to_vec(),
        };
        let tensors = header.iter().filter(|(name, _)| *name != "__metadata__");
        tensors.map(|(name, entry)| (name.clone(), stored(entry))).collect()
    }

    pub(crate) fn write_tensors(&self, file: &str, tensors: &Tensors) {
        let mut header = serde_json::Map::new();
        let mut data = Vec::new();
        for (name, Stored { dtype, shape, bytes }) in tensors {
            let offsets = [data.len(), data.len() + bytes.len()];
            header.insert(name.clone(), json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets }));
            data.extend(bytes);
        }
        let header = Value::Object(header).to_string();
        self.write(file, [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat());
    }
}
