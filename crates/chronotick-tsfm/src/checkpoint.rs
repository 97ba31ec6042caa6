//! A checkpoint folder as it is published: `config.json` and the weights in `model.safetensors`, in one file or in
//! shards with an index. Every tensor is checked against the shape that the configuration asks for before its bytes
//! are read, and no byte belongs to two of them, so a hostile folder costs an error and never memory.
//!
//! Weights are read, not mapped: a file that shrinks under a map would kill the process, and a map needs `unsafe`.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use half::{bf16, f16};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::family::SUPPORTED;
use crate::kernels::{Arena, Format};
use crate::{OpenError, Precision};

/// Largest size that a configuration may state: beyond every published model, small enough that products of a few
/// sizes cannot overflow.
const MAX_SIZE: usize = 1 << 20;
/// Which tensor is in which file, where there are several.
pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// Longest `config.json` or index that is read.
const MAX_JSON: u64 = 1 << 24;
/// Longest header of a safetensors file, by its format's definition.
const MAX_HEADER: u64 = 100_000_000;
/// Bytes of a matrix that are read at once, more or less.
const ROWS_BYTES: u64 = 1 << 19;

/// An opened folder: its configuration, and where each tensor lies.
pub(crate) struct Checkpoint {
    dir: PathBuf,
    config: serde_json::Value,
    shards: Vec<Shard>,
    tensors: BTreeMap<String, Place>,
    device: Device,
    precision: Precision,
    arena: OnceCell<Arena>,
}

struct Shard {
    path: PathBuf,
    store: Store,
    length: u64,
    /// Where the tensors' bytes begin, after the header.
    start: u64,
}

/// Where a shard's bytes are.
enum Store {
    File(File),
    Memory(&'static [u8]),
}

impl Store {
    /// Fills the buffer from this byte on.
    fn read_at(&self, from: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        match self {
            Self::File(file) => {
                let mut file = file;
                file.seek(SeekFrom::Start(from)).and_then(|_| file.read_exact(buffer))
            }
            Self::Memory(bytes) => {
                let rest = usize::try_from(from).ok().and_then(|from| bytes.get(from..));
                rest.unwrap_or_default().take(buffer.len() as u64).read_exact(buffer)
            }
        }
    }
}

struct Place {
    shard: usize,
    dtype: String,
    shape: Vec<usize>,
    bytes: (u64, u64),
}

/// One tensor in the header of a safetensors file.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Reads configuration and headers; no weights yet.
    pub(crate) fn open(dir: &Path) -> Result<Self, OpenError> {
        let mut checkpoint = Self::new(dir.to_owned(), read_json(&dir.join("config.json"))?)?;
        for path in weight_files(dir)? {
            let (file, length) = open_file(&path)?;
            checkpoint.add_shard(path, Store::File(file), length)?;
        }
        Ok(checkpoint)
    }

    /// The same of a configuration and of one file of weights that are in memory; `name` is what errors call it.
    pub(crate) fn of_bytes(name: &str, config: &str, weights: &'static [u8]) -> Result<Self, OpenError> {
        let path = PathBuf::from(name);
        let config = serde_json::from_str(config)
            .map_err(|e| OpenError::Damaged { path: path.clone(), reason: e.to_string() })?;
        let mut checkpoint = Self::new(path.clone(), config)?;
        checkpoint.add_shard(path, Store::Memory(weights), weights.len() as u64)?;
        Ok(checkpoint)
    }

    fn new(dir: PathBuf, config: serde_json::Value) -> Result<Self, OpenError> {
        Ok(Self {
            dir,
            config,
            shards: Vec::new(),
            tensors: BTreeMap::new(),
            device: device()?,
            precision: Precision::Stored,
            arena: OnceCell::new(),
        })
    }

    /// The same, whose matrices are packed at this precision.
    pub(crate) fn packed_at(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    fn add_shard(&mut self, path: PathBuf, store: Store, length: u64) -> Result<(), OpenError> {
        let damaged = |reason: String| OpenError::Damaged { path: path.clone(), reason };
        let mut head = [0; 8];
        store.read_at(0, &mut head).map_err(|_| damaged("shorter than a safetensors header".into()))?;
        let header = u64::from_le_bytes(head);
        if header > MAX_HEADER || header > length - 8 {
            return Err(damaged(format!("its header claims {header} bytes, the file has {length}")));
        }
        let mut json = vec![0; header as usize];
        store.read_at(8, &mut json).map_err(|source| OpenError::File { path: path.clone(), source })?;
        let entries: BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(&json).map_err(|e| damaged(format!("header: {e}")))?;
        let start = 8 + header;
        let mut ranges = Vec::new();
        for (name, entry) in entries {
            if name == "__metadata__" {
                continue;
            }
            let Entry { dtype, shape, data_offsets } = serde_json::from_value(entry)
                .map_err(|e| damaged(format!("header: tensor {name:?}: {e}")))?;
            if data_offsets.0 > data_offsets.1 || data_offsets.1 > length - start {
                let end = data_offsets.1;
                return Err(damaged(format!(
                    "tensor {name:?} ends at byte {end} of {}: the file is cut short",
                    length - start
                )));
            }
            ranges.push((data_offsets, name.clone()));
            let place = Place { shard: self.shards.len(), dtype, shape, bytes: data_offsets };
            self.tensors.insert(name, place);
        }
        // The format forbids it, and a small file could claim any amount of memory.
        ranges.retain(|((begin, end), _)| begin < end);
        ranges.sort_unstable();
        if let Some([(_, one), (_, other)]) = ranges.windows(2).find(|pair| pair[1].0.0 < pair[0].0.1) {
            return Err(damaged(format!("the tensors {one:?} and {other:?} share bytes")));
        }
        self.shards.push(Shard { path, store, length, start });
        Ok(())
    }

    /// Where the tensors are put: the CPU, or the accelerator that the crate was built for.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// A key of `config.json`, as it is.
    pub(crate) fn key(&self, name: &str) -> Option<&serde_json::Value> {
        self.config.get(name).filter(|value| !value.is_null())
    }

    /// `config.json` as the family's own structure.
    pub(crate) fn config<T: DeserializeOwned>(&self) -> Result<T, OpenError> {
        T::deserialize(&self.config).map_err(|e| self.bad_config(e.to_string()))
    }

    /// The error for a configuration that makes no sense; `reason` names key, value and what is wanted.
    pub(crate) fn bad_config(&self, reason: impl Into<String>) -> OpenError {
        OpenError::Config { path: self.dir.join("config.json"), reason: reason.into() }
    }

    /// The error for a model that is another network than those of this crate.
    pub(crate) fn unsupported(&self, found: impl Into<String>) -> OpenError {
        OpenError::Unsupported { path: self.dir.clone(), found: found.into(), supported: SUPPORTED.into() }
    }

    /// Refuses sizes that are zero or absurd, by name.
    pub(crate) fn check_sizes(&self, sizes: &[(&str, usize)]) -> Result<(), OpenError> {
        match sizes.iter().find(|(_, size)| !(1..=MAX_SIZE).contains(size)) {
            Some((name, size)) => {
                Err(self.bad_config(format!("{name} is {size}; wanted is 1 to {MAX_SIZE}")))
            }
            None => Ok(()),
        }
    }

    /// Whether the weights hold a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A tensor's shape, where a family's sizes follow from it: `N` axes, none empty or absurd.
    pub(crate) fn sizes<const N: usize>(&self, name: &str) -> Result<[usize; N], OpenError> {
        let found = &self.place(name)?.shape;
        let sound = found.iter().all(|size| (1..=MAX_SIZE).contains(size));
        found.as_slice().try_into().ok().filter(|_| sound).ok_or_else(|| OpenError::Axes {
            path: self.dir.clone(),
            name: name.to_owned(),
            found: found.clone(),
            axes: N,
        })
    }

    /// A tensor of exactly this shape, widened to `f32`.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, OpenError> {
        Ok(Tensor::from_vec(self.values(name, shape)?, shape, &self.device)?)
    }

    /// The numbers of a tensor of exactly this shape, widened to `f32`, the last axis fastest.
    pub(crate) fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, OpenError> {
        let (shard, place) = self.find(name, shape)?;
        let mut values = Vec::new();
        shard.read(&place.dtype, place.bytes, &mut Vec::new(), &mut values)?;
        Ok(values)
    }

    /// Visits the rows of a matrix of exactly this shape, widened to `f32`: some at a time, with the index of the
    /// first, so that a large one is never in memory as a whole.
    pub(crate) fn visit_rows(
        &self,
        name: &str,
        [rows, columns]: [usize; 2],
        mut visit: impl FnMut(usize, &[f32]),
    ) -> Result<(), OpenError> {
        let (shard, place) = self.find(name, &[rows, columns])?;
        let width = (place.bytes.1 - place.bytes.0) / rows as u64;
        let at_once = (ROWS_BYTES / width).max(1).next_multiple_of(32);
        let (mut bytes, mut values) = (Vec::new(), Vec::new());
        for first in (0..rows as u64).step_by(at_once as usize) {
            let end = (first + at_once).min(rows as u64);
            let range = (place.bytes.0 + first * width, place.bytes.0 + end * width);
            shard.read(&place.dtype, range, &mut bytes, &mut values)?;
            visit(first as usize, &values);
        }
        Ok(())
    }

    /// How a matrix of exactly this shape is packed.
    pub(crate) fn format(&self, name: &str, shape: &[usize]) -> Result<Format, OpenError> {
        let (_, place) = self.find(name, shape)?;
        Ok(match (self.precision, place.dtype.as_str()) {
            (Precision::Eight, _) => Format::I8,
            (_, "BF16") => Format::Bf16,
            (Precision::Half, _) | (_, "F16") => Format::F16,
            _ => Format::F32,
        })
    }

    /// Memory for this checkpoint's weights.
    pub(crate) fn arena(&self) -> &Arena {
        // Panels are filled up to whole ones, which takes a little more than the files do.
        self.arena.get_or_init(|| {
            let bytes = self.shards.iter().fold(0, |sum: u64, shard| sum.saturating_add(shard.length));
            Arena::new(usize::try_from(bytes.saturating_add(bytes / 16)).unwrap_or(0))
        })
    }

    /// Where a tensor of exactly this shape lies, if its numbers can be read.
    fn find(&self, name: &str, shape: &[usize]) -> Result<(&Shard, &Place), OpenError> {
        let place = self.place(name)?;
        let named = || (self.dir.clone(), name.to_owned());
        if place.shape != shape {
            let (path, name) = named();
            return Err(OpenError::Shape { path, name, found: place.shape.clone(), wanted: shape.to_vec() });
        }
        let Some(width) = width(&place.dtype) else {
            let (path, name) = named();
            return Err(OpenError::Dtype { path, name, dtype: place.dtype.clone() });
        };
        let shard = &self.shards[place.shard];
        let length = place.bytes.1 - place.bytes.0;
        let wanted = shape.iter().try_fold(width, |size, n| size.checked_mul(*n as u64));
        if wanted != Some(length) {
            let reason =
                format!("tensor {name} of shape {shape:?} and type {} has {length} bytes", place.dtype);
            return Err(OpenError::Damaged { path: shard.path.clone(), reason });
        }
        Ok((shard, place))
    }

    fn place(&self, name: &str) -> Result<&Place, OpenError> {
        self.tensors
            .get(name)
            .ok_or_else(|| OpenError::MissingTensor { path: self.dir.clone(), name: name.to_owned() })
    }
}

impl Shard {
    /// Reads some bytes of the tensors as numbers of a type.
    fn read(
        &self,
        dtype: &str,
        (from, to): (u64, u64),
        bytes: &mut Vec<u8>,
        values: &mut Vec<f32>,
    ) -> Result<(), OpenError> {
        bytes.resize((to - from) as usize, 0);
        self.store
            .read_at(self.start + from, bytes)
            .map_err(|source| OpenError::File { path: self.path.clone(), source })?;
        values.clear();
        widen(dtype, bytes, values);
        Ok(())
    }
}

fn device() -> Result<Device, OpenError> {
    if cfg!(feature = "metal") {
        return Ok(Device::new_metal(0)?);
    }
    Ok(Device::cuda_if_available(0)?)
}

/// The files that hold the weights: the one file, or those that the index names.
pub(crate) fn weight_files(dir: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let single = dir.join("model.safetensors");
    let index = dir.join(INDEX);
    if single.exists() || !index.exists() {
        return Ok(vec![single]);
    }
    let Index { weight_map } = serde_json::from_value(read_json(&index)?)
        .map_err(|e| OpenError::Damaged { path: index.clone(), reason: e.to_string() })?;
    let mut names: Vec<String> = weight_map.into_values().collect();
    names.sort_unstable();
    names.dedup();
    let leaves = |name: &String| Path::new(name).file_name().is_none_or(|file| file != name.as_str());
    if let Some(name) = names.iter().find(|name| leaves(name)) {
        let reason = format!("names the shard {name:?}, which is not a file of this folder");
        return Err(OpenError::Damaged { path: index, reason });
    }
    Ok(names.into_iter().map(|name| dir.join(name)).collect())
}

/// Opens a plain file and gives its length; a pipe or a folder is refused before it can block.
fn open_file(path: &Path) -> Result<(File, u64), OpenError> {
    let failed = |source| OpenError::File { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(OpenError::Damaged { path: path.to_owned(), reason: "not a plain file".into() });
    }
    let file = File::open(path).map_err(failed)?;
    Ok((file, metadata.len()))
}

fn read_json(path: &Path) -> Result<serde_json::Value, OpenError> {
    let (file, length) = open_file(path)?;
    let damaged = |reason: String| OpenError::Damaged { path: path.to_owned(), reason };
    if length > MAX_JSON {
        return Err(damaged(format!("{length} bytes; at most {MAX_JSON} are read")));
    }
    serde_json::from_reader(std::io::BufReader::new(file.take(MAX_JSON))).map_err(|e| damaged(e.to_string()))
}

/// Bytes per number of the types that can be widened to `f32`.
fn width(dtype: &str) -> Option<u64> {
    match dtype {
        "F64" => Some(8),
        "F32" => Some(4),
        "F16" | "BF16" => Some(2),
        _ => None,
    }
}

fn widen(dtype: &str, bytes: &[u8], values: &mut Vec<f32>) {
    fn each<const N: usize>(bytes: &[u8], values: &mut Vec<f32>, number: impl Fn([u8; N]) -> f32) {
        values.extend(bytes.as_chunks().0.iter().map(|chunk| number(*chunk)));
    }
    match dtype {
        "F64" => each(bytes, values, |chunk| f64::from_le_bytes(chunk) as f32),
        "F16" => each(bytes, values, |chunk| f16::from_le_bytes(chunk).to_f32()),
        "BF16" => each(bytes, values, |chunk| bf16::from_le_bytes(chunk).to_f32()),
        _ => each(bytes, values, f32::from_le_bytes),
    }
}
