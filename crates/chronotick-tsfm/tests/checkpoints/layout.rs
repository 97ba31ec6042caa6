//! The layouts in which checkpoints are published: shards with an index, weights of 16 bits.

use std::path::Path;

use crate::folder::{Folder, Stored, Tensors};
use chronotick_tsfm::{Forecast, Forecaster, Task};
use serde_json::json;

fn forecast(path: &Path) -> Vec<Vec<Forecast>> {
    let series = (0..90).map(|i| (f64::from(i) * 0.4).sin() + f64::from(i) * 0.01).collect::<Vec<f64>>();
    let model = Forecaster::open(path).unwrap_or_else(|error| panic!("{error}"));
    model.forecast(&[Task::from(series)], 20, &[0.1, 0.5, 0.9]).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn shards_are_read_as_one() {
    let folder = Folder::copy("chronos-bolt");
    let whole = forecast(folder.path());
    let tensors = folder.tensors();
    let (mut first, mut second) = (Tensors::new(), Tensors::new());
    for (index, (name, tensor)) in tensors.into_iter().enumerate() {
        let shard = if index % 2 == 0 { &mut first } else { &mut second };
        shard.insert(name, tensor);
    }
    let (a, b) = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");
    folder.write_tensors(a, &first);
    folder.write_tensors(b, &second);
    let names = first.keys().map(|name| (name.clone(), json!(a)));
    let names: serde_json::Map<_, _> =
        names.chain(second.keys().map(|name| (name.clone(), json!(b)))).collect();
    folder.write("model.safetensors.index.json", json!({ "weight_map": names }).to_string());
    std::fs::remove_file(folder.file("model.safetensors")).expect("a removed file");
    assert_eq!(forecast(folder.path()), whole);
}

/// The upper half of a number's bits is the same number in `bfloat16`.
#[test]
fn weights_of_sixteen_bits_are_widened() {
    for name in ["chronos-2", "timesfm-2.5", "timesfm-2.0"] {
        let folder = Folder::copy(name);
        let numbers = |tensor: &Stored| {
            let (chunks, _) = tensor.bytes.as_chunks::<4>();
            chunks.iter().map(|four| [four[2], four[3]]).collect::<Vec<[u8; 2]>>()
        };
        let rounded = |tensor: &Stored| numbers(tensor).into_iter().flat_map(|[a, b]| [0, 0, a, b]).collect();
        let tensors = folder.tensors();
        let each = |dtype: &str, bytes: &dyn Fn(&Stored) -> Vec<u8>| -> Tensors {
            let stored = |t: &Stored| Stored { dtype: dtype.into(), shape: t.shape.clone(), bytes: bytes(t) };
            tensors.iter().map(|(name, tensor)| (name.clone(), stored(tensor))).collect()
        };
        folder.write_tensors("model.safetensors", &each("F32", &rounded));
        let wide = forecast(folder.path());
        folder.write_tensors("model.safetensors", &each("BF16", &|tensor| numbers(tensor).concat()));
        assert_eq!(forecast(folder.path()), wide, "{name}");
    }
}

#[test]
fn three_matrices_of_an_older_timesfm_are_one() {
    let folder = Folder::copy("timesfm-2.5");
    let whole = forecast(folder.path());
    let mut tensors = folder.tensors();
    let fused: Vec<String> =
        tensors.keys().filter(|name| name.ends_with("qkv_proj.weight")).cloned().collect();
    assert!(!fused.is_empty());
    for name in fused {
        let Stored { dtype, shape, bytes } = tensors.remove(&name).expect("it was listed");
        for (part, bytes) in ["query", "key", "value"].into_iter().zip(bytes.chunks(bytes.len() / 3)) {
            let shape = vec![shape[0] / 3, shape[1]];
            let stored = Stored { dtype: dtype.clone(), shape, bytes: bytes.to_vec() };
            tensors.insert(name.replace("qkv_proj", part), stored);
        }
    }
    folder.write_tensors("model.safetensors", &tensors);
    assert_eq!(forecast(folder.path()), whole);
}
