//! Toto Open Base 1.0: a decoder over patches of several series, whose layers attend along time, and every few layers
//! across the series, and a head that gives each step a mixture of Student's t distributions.
//!
//! Cohen et al. 2025, arXiv:2505.14766. Toto 2.0 is another network.

mod decoding;
mod mixture;
mod pipeline;

use candle_core::{Device, Result, Tensor};
use candle_nn::rotary_emb;
use serde::Deserialize;

pub(crate) use self::decoding::{Context, Decoding, Patch};
pub(crate) use self::mixture::Component;
use self::mixture::Mixture;
pub(crate) use self::pipeline::mean_path;
use crate::OpenError;
use crate::checkpoint::Checkpoint;
use crate::layers::{self, Linear, MASKED, RmsNorm};

/// Added to the mean square that a norm divides by.
const NORM_EPSILON: f64 = 1e-8;

/// Base of the rotation's wavelengths.
const ROTATION_BASE: f64 = 10_000.0;

/// Patches over which the length of rotated queries and keys changes by its base.
const LENGTH_BASE: f64 = 512.0;

#[derive(Deserialize)]
struct Config {
    patch_size: usize,
    stride: usize,
    embed_dim: usize,
    num_layers: usize,
    num_heads: usize,
    mlp_hidden_dim: usize,
    spacewise_every_n_layers: i64,
    spacewise_first: bool,
    scaler_cls: String,
    stabilize_with_global: bool,
    scale_factor_exponent: f64,
    output_distribution_classes: Vec<String>,
    output_distribution_kwargs: DistributionConfig,
}

#[derive(Deserialize)]
struct DistributionConfig {
    k_components: usize,
}

/// What a layer's attention runs along.
#[derive(Clone, Copy, PartialEq)]
enum Axis {
    Time,
    Space,
}

impl Config {
    fn read(checkpoint: &Checkpoint) -> std::result::Result<Self, OpenError> {
        let config: Self = checkpoint.config()?;
        checkpoint.check_sizes(&[
            ("patch_size", config.patch_size),
            ("embed_dim", config.embed_dim),
            ("num_layers", config.num_layers),
            ("num_heads", config.num_heads),
            ("mlp_hidden_dim", config.mlp_hidden_dim),
            ("k_components", config.output_distribution_kwargs.k_components),
        ])?;
        let mixture = matches!(&config.output_distribution_classes[..], [one] if one.contains("MixtureOfStudentTsOutput"));
        let scaler = config.scaler_cls.contains("CausalPatchStdMeanScaler") && config.stabilize_with_global;
        if !mixture || !scaler || config.stride != config.patch_size {
            return Err(checkpoint.unsupported(
                "Toto with other than a mixture of Student t, a stabilised causal patch scaler, and patches side by side",
            ));
        }
        if let Some(name) = ["model.target_variate_label", "model.exogenous_variate_label"]
            .iter()
            .find(|name| checkpoint.has(name))
        {
            return Err(checkpoint.unsupported(format!("Toto fine-tuned for exogenous series ({name})")));
        }
        let (d, heads) = (config.embed_dim, config.num_heads);
        if !d.is_multiple_of(2 * heads) {
            return Err(
                checkpoint.bad_config(format!("embed_dim {d} does not give {heads} heads of an even size"))
            );
        }
        let every = config.spacewise_every_n_layers;
        if every != -1 && every < 1 {
            let reason = format!("spacewise_every_n_layers is {every}; wanted is 1 or more, or -1 for never");
            return Err(checkpoint.bad_config(reason));
        }
        if !(0.0..=300.0).contains(&config.scale_factor_exponent) {
            let reason =
                format!("scale_factor_exponent is {}; wanted is 0 to 300", config.scale_factor_exponent);
            return Err(checkpoint.bad_config(reason));
        }
        Ok(config)
    }

    fn axis(&self, layer: usize) -> Axis {
        let Ok(every) = usize::try_from(self.spacewise_every_n_layers) else { return Axis::Time };
        let space = if self.spacewise_first { 0 } else { every - 1 };
        if layer % every == space { Axis::Space } else { Axis::Time }
    }
}

/// A loaded Toto model.
pub(crate) struct Toto {
    config: Config,
    embedding: Linear,
    layers: Vec<Layer>,
    unembedding: Linear,
    df: Linear,
    location: Linear,
    scale: Linear,
    weights: Linear,
    device: Device,
}

impl Toto {
    pub(crate) fn load(checkpoint: &Checkpoint) -> std::result::Result<Self, OpenError> {
        let config = Config::read(checkpoint)?;
        let (d, patch) = (config.embed_dim, config.patch_size);
        let linear =
            |name: &str, inputs, outputs| Linear::load(checkpoint, &format!("model.{name}"), inputs, outputs);
        let parameter = |name: &str| {
            linear(&format!("output_distribution.{name}"), d, config.output_distribution_kwargs.k_components)
        };
        Ok(Self {
            embedding: linear("patch_embed.projection", patch, d)?,
            layers: (0..config.num_layers)
                .map(|i| Layer::load(checkpoint, &config, i))
                .collect::<std::result::Result<_, _>>()?,
            unembedding: linear("unembed", d, patch * d)?,
            df: parameter("df")?,
            location: parameter("loc_proj")?,
            scale: parameter("scale_proj")?,
            weights: parameter("mixture_weights")?,
            device: checkpoint.device().clone(),
            config,
        })
    }

    /// Reads whole patches `[series, patches, patch]` and gives the last one's state `[series, 1, d]`, and what later
    /// patches need to look back.
    fn read(&self, patches: &Tensor, groups: &Groups) -> Result<(Tensor, Vec<Memory>)> {
        let mut h = self.embedding.forward(patches)?;
        let tokens = h.dim(1)?;
        let rotation = Rotation::new(&(0..tokens).collect::<Vec<_>>(), self.head_size(), &self.device)?;
        let mask = layers::causal_mask(tokens, tokens, &self.device)?;
        let mut memories = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            // Behind the last layer along time the older patches play no part.
            if self.layers[i..].iter().all(|layer| layer.axis == Axis::Space) {
                h = h.narrow(1, h.dim(1)? - 1, 1)?;
            }
            h = layer.forward(&h, |attention, x| match layer.axis {
                Axis::Space => attention.across_space(x, groups),
                Axis::Time => {
                    let (mixed, memory) = attention.read_time(x, &rotation, &mask)?;
                    memories.push(memory);
                    Ok(mixed)
                }
            })?;
        }
        Ok((h.narrow(1, h.dim(1)? - 1, 1)?, memories))
    }

    /// Reads the next patch of each path, `[series, paths, patch]`, at a position, and gives their states.
    fn read_next(
        &self,
        patches: &Tensor,
        position: usize,
        groups: &Groups,
        memories: &mut [Memory],
    ) -> Result<Tensor> {
        let mut h = self.embedding.forward(patches)?;
        let rotation = Rotation::new(&vec![position; h.dim(1)?], self.head_size(), &self.device)?;
        let mut memories = memories.iter_mut();
        for layer in &self.layers {
            h = layer.forward(&h, |attention, x| match layer.axis {
                Axis::Space => attention.across_space(x, groups),
                Axis::Time => {
                    let memory = memories.next().expect("each layer along time has read the context");
                    attention.continue_time(x, &rotation, memory)
                }
            })?;
        }
        Ok(h)
    }

    /// The mixtures of the patch that follows each state `[series, paths, d]`: `[series · path][step]`.
    fn mixtures(&self, states: &Tensor) -> Result<Vec<Vec<Mixture>>> {
        let (patch, d) = (self.config.patch_size, self.config.embed_dim);
        let steps = self.unembedding.forward(states)?.reshape(((), d))?;
        let parameter = |layer: &Linear| layers::rows(&layer.forward(&steps)?);
        let (df, location, scale) =
            (parameter(&self.df)?, parameter(&self.location)?, parameter(&self.scale)?);
        let probability = layers::rows(&layers::softmax(&self.weights.forward(&steps)?)?)?;
        let mixture = |step: usize| {
            let component = |k: usize| Component {
                probability: f64::from(probability[step][k]),
                df: 2.0 + positive(df[step][k]),
                location: f64::from(location[step][k]),
                scale: positive(scale[step][k]),
            };
            Mixture((0..df[step].len()).map(component).collect())
        };
        let all: Vec<Mixture> = (0..df.len()).map(mixture).collect();
        Ok(all.chunks(patch).map(<[_]>::to_vec).collect())
    }

    fn head_size(&self) -> usize {
        self.config.embed_dim / self.config.num_heads
    }
}

/// The softplus of a head's output, at least ε of 32-bit floating point.
fn positive(x: f32) -> f64 {
    let x = f64::from(x);
    let softplus = if x > 20.0 { x } else { x.exp().ln_1p() };
    softplus.max(f64::from(f32::EPSILON))
}

struct Layer {
    axis: Axis,
    norm1: RmsNorm,
    attention: Attention,
    norm2: RmsNorm,
    /// Gate and value, side by side.
    gated: Linear,
    output: Linear,
}

impl Layer {
    fn load(checkpoint: &Checkpoint, config: &Config, index: usize) -> std::result::Result<Self, OpenError> {
        let name = |part: &str| format!("model.transformer.layers.{index}.{part}");
        let (d, hidden) = (config.embed_dim, config.mlp_hidden_dim);
        // Files saved with xFormers, as the published one, have the names of its fused layer.
        let plain = checkpoint.has(&name("mlp.0.weight"));
        let (gated, output) = if plain { ("mlp.0", "mlp.2") } else { ("mlp.0.w12", "mlp.0.w3") };
        let norm = |part: &str| RmsNorm::load(checkpoint, &name(part), d, NORM_EPSILON);
        Ok(Self {
            axis: config.axis(index),
            norm1: norm("norm1.scale")?,
            attention: Attention::load(checkpoint, &name("attention"), d, config.num_heads)?,
            norm2: norm("norm2.scale")?,
            gated: Linear::load(checkpoint, &name(gated), d, 2 * hidden)?,
            output: Linear::load(checkpoint, &name(output), hidden, d)?,
        })
    }

    fn forward(
        &self,
        h: &Tensor,
        attend: impl FnOnce(&Attention, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let h = (h + attend(&self.attention, &self.norm1.forward(h)?)?)?;
        let gated = layers::swiglu(&self.gated.forward(&self.norm2.forward(&h)?)?)?;
        self.output.forward_onto(&h, &gated)
    }
}

struct Attention {
    qkv: Linear,
    output: Linear,
    heads: usize,
}

impl Attention {
    /// In the file the rows of a projection run over the channels of a head, and within them over the heads.
    fn load(
        checkpoint: &Checkpoint,
        name: &str,
        d: usize,
        heads: usize,
    ) -> std::result::Result<Self, OpenError> {
        let by_head = |x: Tensor, columns: usize| -> Result<Tensor> {
            x.reshape((3, d / heads, heads, columns))?.transpose(1, 2)?.reshape((3 * d, columns))
        };
        let source = format!("{name}.wQKV.weight");
        let weight = by_head(checkpoint.tensor(&source, &[3 * d, d])?, d)?;
        let bias = by_head(checkpoint.tensor(&format!("{name}.wQKV.bias"), &[3 * d])?, 1)?;
        Ok(Self {
            qkv: Linear::reordered(checkpoint, &source, &weight, bias.flatten_all()?.to_vec1()?)?,
            output: Linear::load(checkpoint, &format!("{name}.wO"), d, d)?,
            heads,
        })
    }

    /// Queries (over the root of their size), keys and values.
    fn project(&self, x: &Tensor) -> Result<[Tensor; 3]> {
        let [q, k, v] = layers::split_stacked(&self.qkv.forward(x)?, self.heads)?;
        Ok([(&q / (q.dim(3)? as f64).sqrt())?, k, v])
    }

    /// Along the series `[series, tokens, d]`, each token on its own.
    fn across_space(&self, x: &Tensor, groups: &Groups) -> Result<Tensor> {
        let [q, k, v] = self.project(&x.transpose(0, 1)?.contiguous()?)?;
        let mixed = layers::attention(&q, &k, &v, groups.0.as_ref())?;
        self.output.forward(&layers::join_heads(&mixed)?)?.transpose(0, 1)?.contiguous()
    }

    /// Along the patches of each series, each seeing those before it.
    fn read_time(&self, x: &Tensor, rotation: &Rotation, mask: &Tensor) -> Result<(Tensor, Memory)> {
        let [q, k, v] = self.project(x)?;
        let (q, k) = (rotation.query(&q)?, rotation.key(&k)?);
        let mixed = layers::attention(&q, &k, &v, Some(mask))?;
        let memory = Memory { context: (k, v.contiguous()?), path: None };
        Ok((self.output.forward(&layers::join_heads(&mixed)?)?, memory))
    }

    /// From one new patch of each path, `[series, paths, d]`, back to the context, which all paths share, and to the
    /// path's own patches.
    fn continue_time(&self, x: &Tensor, rotation: &Rotation, memory: &mut Memory) -> Result<Tensor> {
        let [q, k, v] = self.project(x)?;
        let (q, k) = (rotation.query(&q)?, rotation.key(&k)?.unsqueeze(3)?);
        let v = v.unsqueeze(3)?;
        let (path_k, path_v) = match &memory.path {
            Some((older_k, older_v)) => (Tensor::cat(&[older_k, &k], 3)?, Tensor::cat(&[older_v, &v], 3)?),
            None => (k, v),
        };
        let (context_k, context_v) = &memory.context;
        let of_context = q.matmul(&context_k.t()?)?;
        let of_path = path_k.broadcast_mul(&q.unsqueeze(3)?)?.sum(4)?;
        let weights = layers::softmax(&Tensor::cat(&[&of_context, &of_path], 3)?)?;
        let (context, path) = (of_context.dim(3)?, of_path.dim(3)?);
        let from_context = weights.narrow(3, 0, context)?.contiguous()?.matmul(context_v)?;
        let from_path = path_v.broadcast_mul(&weights.narrow(3, context, path)?.unsqueeze(4)?)?.sum(3)?;
        memory.path = Some((path_k, path_v));
        self.output.forward(&layers::join_heads(&(from_context + from_path)?)?)
    }
}

/// Rotated keys, and values, of what one layer has read.
#[derive(Clone)]
struct Memory {
    /// `[series, heads, patches, head size]`.
    context: (Tensor, Tensor),
    /// `[series, heads, paths, patches, head size]`.
    path: Option<(Tensor, Tensor)>,
}

/// Which series attend to each other: a mask `[series, series]`, where not all do.
struct Groups(Option<Tensor>);

impl Groups {
    fn new(of: &[usize], device: &Device) -> Result<Self> {
        if of.iter().all(|group| *group == of[0]) {
            return Ok(Self(None));
        }
        let mask = of.iter().flat_map(|a| of.iter().map(move |b| if a == b { 0.0 } else { MASKED }));
        Ok(Self(Some(Tensor::from_vec(mask.collect::<Vec<f32>>(), (of.len(), of.len()), device)?)))
    }
}

/// Rotary embedding of adjacent channels, with lengths that change with the position (XPOS, arXiv:2212.10554).
struct Rotation {
    cos: Tensor,
    sin: Tensor,
    length: Tensor,
}

impl Rotation {
    /// The published library centres the lengths on the tokens of each call, not of the series, so cached keys keep the
    /// centre of the call that made them. The channels' lengths are laid out half after half, though pairs are adjacent.
    fn new(positions: &[usize], d: usize, device: &Device) -> Result<Self> {
        let centre = (positions.iter().max().copied().unwrap_or(0) / 2) as f64;
        let table = |width: usize, value: &dyn Fn(f64, usize) -> f64| {
            let rows = positions.iter().flat_map(|t| (0..width).map(|i| value(*t as f64, i) as f32));
            Tensor::from_vec(rows.collect::<Vec<f32>>(), (positions.len(), width), device)
        };
        let angle = |t: f64, i: usize| t * ROTATION_BASE.powf(-2.0 * i as f64 / d as f64);
        let base = |i: usize| (2.0 * (i % (d / 2)) as f64 + 0.4 * d as f64) / (1.4 * d as f64);
        Ok(Self {
            cos: table(d / 2, &|t, i| angle(t, i).cos())?,
            sin: table(d / 2, &|t, i| angle(t, i).sin())?,
            length: table(d, &|t, i| base(i).powf((t - centre) / LENGTH_BASE))?,
        })
    }

    fn query(&self, q: &Tensor) -> Result<Tensor> {
        rotary_emb::rope_i(&q.contiguous()?, &self.cos, &self.sin)?.broadcast_mul(&self.length)
    }

    fn key(&self, k: &Tensor) -> Result<Tensor> {
        rotary_emb::rope_i(&k.contiguous()?, &self.cos, &self.sin)?.broadcast_div(&self.length)
    }
}
