//! The layers that several families share. Tensors are `f32`; the last axis is the features, the one before it the
//! tokens. On the processor they compute with the crate's own [`kernels`]; on an accelerator, with candle's.

use std::ops::Deref;

use candle_core::{D, Device, Layout, Result, Storage, Tensor};
use candle_nn::{ops, rotary_emb};

use crate::OpenError;
use crate::checkpoint::Checkpoint;
pub(crate) use crate::kernels::Activation;
use crate::kernels::{self, Attention, Format, Heads, Mask, Packed};

/// Added to a score that must not count: what it leaves of the softmax is exactly zero.
pub(crate) const MASKED: f32 = f32::MIN;

/// `x Wᵀ + b`.
pub(crate) enum Linear {
    /// The weight as the kernels read it; an empty bias is none.
    Packed { weight: Packed, bias: Vec<f32> },
    /// The weight as `[in, out]`.
    OnDevice { weight: Tensor, bias: Option<Tensor> },
}

impl Linear {
    /// Loads `{name}.weight`, `[outputs, inputs]` in the file, and `{name}.bias`.
    pub(crate) fn load(
        checkpoint: &Checkpoint,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> std::result::Result<Self, OpenError> {
        Self::load_parts(checkpoint, &[name.to_owned()], inputs, outputs, true)
    }

    /// Loads `{name}.weight` alone.
    pub(crate) fn load_unbiased(
        checkpoint: &Checkpoint,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> std::result::Result<Self, OpenError> {
        Self::load_parts(checkpoint, &[name.to_owned()], inputs, outputs, false)
    }

    /// Loads `{parent}.{part}.weight` of every part as one layer: their outputs side by side, in one product.
    pub(crate) fn load_stacked(
        checkpoint: &Checkpoint,
        parent: &str,
        parts: &[&str],
        inputs: usize,
        outputs: usize,
    ) -> std::result::Result<Self, OpenError> {
        let names: Vec<String> = parts.iter().map(|part| format!("{parent}.{part}")).collect();
        Self::load_parts(checkpoint, &names, inputs, outputs, false)
    }

    /// As [`load_stacked`](Self::load_stacked), of parts that have a bias.
    pub(crate) fn load_stacked_biased(
        checkpoint: &Checkpoint,
        parent: &str,
        parts: &[&str],
        inputs: usize,
        outputs: usize,
    ) -> std::result::Result<Self, OpenError> {
        let names: Vec<String> = parts.iter().map(|part| format!("{parent}.{part}")).collect();
        Self::load_parts(checkpoint, &names, inputs, outputs, true)
    }

    /// One layer of parts of equal sizes, with or without a bias.
    fn load_parts(
        checkpoint: &Checkpoint,
        names: &[String],
        inputs: usize,
        outputs: usize,
        biased: bool,
    ) -> std::result::Result<Self, OpenError> {
        let mut bias = Vec::new();
        if biased {
            for name in names {
                bias.extend(checkpoint.values(&format!("{name}.bias"), &[outputs])?);
            }
        }
        let weights: Vec<String> = names.iter().map(|name| format!("{name}.weight")).collect();
        let device = checkpoint.device();
        if !device.is_cpu() {
            let load = |name: &String| checkpoint.tensor(name, &[outputs, inputs]);
            let weights = weights.iter().map(load).collect::<std::result::Result<Vec<_>, _>>()?;
            return Ok(Self::on_device(&Tensor::cat(&weights, 0)?, bias)?);
        }
        let mut weight = Packed::zeros(
            checkpoint.arena(),
            format(checkpoint, &weights, [outputs, inputs])?,
            inputs,
            outputs * names.len(),
        );
        for (part, name) in weights.iter().enumerate() {
            checkpoint.visit_rows(name, [outputs, inputs], |first, rows| {
                weight.set(part * outputs + first, rows);
            })?;
        }
        Ok(Self::Packed { weight, bias })
    }

    /// A layer of a weight `[outputs, inputs]` whose rows are those of the tensor called `name` in another order; an empty
    /// bias is none.
    pub(crate) fn reordered(
        checkpoint: &Checkpoint,
        name: &str,
        weight: &Tensor,
        bias: Vec<f32>,
    ) -> std::result::Result<Self, OpenError> {
        if !weight.device().is_cpu() {
            return Ok(Self::on_device(weight, bias)?);
        }
        let (outputs, inputs) = weight.dims2()?;
        let format = checkpoint.format(name, &[outputs, inputs])?;
        let mut packed = Packed::zeros(checkpoint.arena(), format, inputs, outputs);
        packed.set(0, &copy_of(weight)?);
        Ok(Self::Packed { weight: packed, bias })
    }

    fn on_device(weight: &Tensor, bias: Vec<f32>) -> Result<Self> {
        let bias = match bias.len() {
            0 => None,
            outputs => Some(Tensor::from_vec(bias, outputs, weight.device())?),
        };
        Ok(Self::OnDevice { weight: weight.t()?.contiguous()?, bias })
    }

    /// `[.., inputs]` to `[.., outputs]`: one product, whatever the leading axes are.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.compute(x, None, None)
    }

    /// The function of what [`forward`](Self::forward) gives.
    pub(crate) fn forward_then(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        self.compute(x, None, Some(activation))
    }

    /// `h` and what [`forward`](Self::forward) gives.
    pub(crate) fn forward_onto(&self, h: &Tensor, x: &Tensor) -> Result<Tensor> {
        self.compute(x, Some(h), None)
    }

    fn compute(&self, x: &Tensor, onto: Option<&Tensor>, then: Option<Activation>) -> Result<Tensor> {
        let (inputs, outputs) = match self {
            Self::Packed { weight, .. } => (weight.inputs, weight.outputs),
            Self::OnDevice { weight, .. } => weight.dims2()?,
        };
        let mut shape = x.dims().to_vec();
        let rows = shape.iter().product::<usize>() / inputs;
        shape.pop();
        shape.push(outputs);
        match self {
            Self::Packed { weight, bias } => {
                let mut out = match onto {
                    Some(onto) => copy_of(onto)?,
                    None if bias.is_empty() => vec![0.0; rows * outputs],
                    None => bias.repeat(rows),
                };
                if onto.is_some() && !bias.is_empty() {
                    out.chunks_exact_mut(outputs).for_each(|row| kernels::add(row, bias));
                }
                let x = x.contiguous()?;
                weight.add_product(&numbers_of(&x).slice()?[..rows * inputs], &mut out);
                if let Some(activation) = then {
                    kernels::activate(activation, &mut out);
                }
                Tensor::from_vec(out, shape, &Device::Cpu)
            }
            Self::OnDevice { weight, bias } => {
                let y = x.reshape((rows, inputs))?.matmul(weight)?;
                let y = match bias {
                    Some(bias) => y.broadcast_add(bias)?,
                    None => y,
                };
                let y = match then {
                    Some(activation) => activate_on_device(activation, &y)?,
                    None => y,
                };
                match onto {
                    Some(onto) => onto + y.reshape(shape)?,
                    None => y.reshape(shape),
                }
            }
        }
    }
}

/// How a layer of these tensors, all of this shape, is packed: as each would be, if that is the same for all.
fn format(
    checkpoint: &Checkpoint,
    names: &[String],
    shape: [usize; 2],
) -> std::result::Result<Format, OpenError> {
    let formats = names.iter().map(|name| checkpoint.format(name, &shape));
    let mut formats = formats.collect::<std::result::Result<Vec<_>, _>>()?;
    formats.dedup();
    Ok(if let [format] = formats[..] { format } else { Format::F32 })
}

fn activate_on_device(activation: Activation, x: &Tensor) -> Result<Tensor> {
    match activation {
        Activation::Relu => x.relu(),
        Activation::Silu => x.silu(),
        Activation::Gelu => x.gelu_erf(),
    }
}

/// A tensor's numbers where they lie in the processor's memory.
struct Numbers<'a, S> {
    storage: S,
    layout: &'a Layout,
}

fn numbers_of(x: &Tensor) -> Numbers<'_, impl Deref<Target = Storage>> {
    let (storage, layout) = x.storage_and_layout();
    Numbers { storage, layout }
}

impl<S: Deref<Target = Storage>> Numbers<'_, S> {
    /// From the tensor's first number on.
    fn slice(&self) -> Result<&[f32]> {
        match &*self.storage {
            Storage::Cpu(storage) => Ok(&storage.as_slice()?[self.layout.start_offset()..]),
            _ => candle_core::bail!("a kernel for the processor was given numbers that lie elsewhere"),
        }
    }

    /// As `[batch, head, token, feature]`.
    fn heads(&self) -> Result<Heads<'_>> {
        let strides = self.layout.stride();
        Ok(Heads { numbers: self.slice()?, strides: [strides[0], strides[1], strides[2]] })
    }
}

/// A copy of a tensor's numbers, in their order.
fn copy_of(x: &Tensor) -> Result<Vec<f32>> {
    let x = x.contiguous()?;
    Ok(numbers_of(&x).slice()?[..x.elem_count()].to_vec())
}

/// A tensor of the same shape whose numbers are computed from a copy of this one's.
fn in_place(x: &Tensor, change: impl FnOnce(&mut [f32])) -> Result<Tensor> {
    let mut numbers = copy_of(x)?;
    change(&mut numbers);
    Tensor::from_vec(numbers, x.shape(), &Device::Cpu)
}

/// `output(act(hidden(x))) + residual(x)`: how patches become tokens, and tokens forecasts.
pub(crate) struct ResidualBlock {
    pub(crate) hidden: Linear,
    pub(crate) output: Linear,
    pub(crate) residual: Linear,
    pub(crate) activation: Activation,
}

impl ResidualBlock {
    /// Loads `{name}.{hidden,output,residual}_layer` of the widths `[inputs, hidden, outputs]`, with biases.
    pub(crate) fn load(
        checkpoint: &Checkpoint,
        name: &str,
        [inputs, hidden, outputs]: [usize; 3],
        activation: Activation,
    ) -> std::result::Result<Self, OpenError> {
        let linear =
            |part: &str, from, to| Linear::load(checkpoint, &format!("{name}.{part}_layer"), from, to);
        Ok(Self {
            hidden: linear("hidden", inputs, hidden)?,
            output: linear("output", hidden, outputs)?,
            residual: linear("residual", inputs, outputs)?,
            activation,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let hidden = self.hidden.forward_then(x, self.activation)?;
        self.output.forward_onto(&self.residual.forward(x)?, &hidden)
    }
}

/// `x / sqrt(mean(x²) + ε) · w`.
pub(crate) struct RmsNorm {
    weight: Vec<f32>,
    on_device: Tensor,
    epsilon: f32,
}

impl RmsNorm {
    /// Loads the weight called `name`, in full.
    pub(crate) fn load(
        checkpoint: &Checkpoint,
        name: &str,
        width: usize,
        epsilon: f64,
    ) -> std::result::Result<Self, OpenError> {
        Ok(Self::new(checkpoint.tensor(name, &[width])?, epsilon)?)
    }

    /// A norm of this weight.
    pub(crate) fn new(weight: Tensor, epsilon: f64) -> Result<Self> {
        Ok(Self { weight: weight.to_vec1()?, on_device: weight, epsilon: epsilon as f32 })
    }

    /// Where the weight lies, and so where the model computes.
    pub(crate) fn device(&self) -> &Device {
        self.on_device.device()
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match x.device().is_cpu() {
            true => in_place(x, |x| kernels::rms_norm(x, &self.weight, self.epsilon)),
            false => ops::rms_norm(&x.contiguous()?, &self.on_device, self.epsilon),
        }
    }
}

/// `(x - mean) / sqrt(variance + ε) · w + b`.
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f32,
}

impl LayerNorm {
    /// Loads `{name}.weight` and `{name}.bias`.
    pub(crate) fn load(
        checkpoint: &Checkpoint,
        name: &str,
        width: usize,
        epsilon: f64,
    ) -> std::result::Result<Self, OpenError> {
        Ok(Self {
            weight: checkpoint.tensor(&format!("{name}.weight"), &[width])?,
            bias: checkpoint.tensor(&format!("{name}.bias"), &[width])?,
            epsilon: epsilon as f32,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if !x.device().is_cpu() {
            return ops::layer_norm(&x.contiguous()?, &self.weight, &self.bias, self.epsilon);
        }
        let (weight, bias) = (numbers_of(&self.weight), numbers_of(&self.bias));
        let (weight, bias) = (weight.slice()?, bias.slice()?);
        in_place(x, |x| kernels::layer_norm(x, weight, bias, self.epsilon))
    }
}

/// Softmax over the last axis.
pub(crate) fn softmax(x: &Tensor) -> Result<Tensor> {
    let width = x.dim(D::Minus1)?;
    match x.device().is_cpu() {
        true => in_place(x, |x| kernels::softmax(x, width)),
        false => ops::softmax_last_dim(x),
    }
}

/// `silu(a) · b` of features `[a, b]`.
pub(crate) fn swiglu(x: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return ops::swiglu(x);
    }
    let width = x.dim(D::Minus1)?;
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.push(width / 2);
    let x = x.contiguous()?;
    let gated = kernels::swiglu(&numbers_of(&x).slice()?[..x.elem_count()], width);
    Tensor::from_vec(gated, shape, &Device::Cpu)
}

/// `[batch, tokens, heads · d]` as `[batch, heads, tokens, d]`, where it lies.
pub(crate) fn split_heads(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, tokens, width) = x.dims3()?;
    x.reshape((batch, tokens, heads, width / heads))?.transpose(1, 2)
}

/// `N` stacked projections `[batch, tokens, N · heads · d]`, each as `[batch, heads, tokens, d]`, where it lies.
pub(crate) fn split_stacked<const N: usize>(x: &Tensor, heads: usize) -> Result<[Tensor; N]> {
    let all = split_heads(x, N * heads)?;
    let parts = (0..N).map(|i| all.narrow(1, i * heads, heads)).collect::<Result<Vec<_>>>()?;
    Ok(parts.try_into().expect("N parts were made"))
}

/// The way back.
pub(crate) fn join_heads(x: &Tensor) -> Result<Tensor> {
    x.transpose(1, 2)?.contiguous()?.flatten_from(2)
}

/// `softmax(q kᵀ + mask) v` over `[batch, heads, tokens, d]`, unscaled; the mask is broadcast over what it lacks.
pub(crate) fn attention(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    if !q.device().is_cpu() {
        let scores = q.contiguous()?.matmul(&k.contiguous()?.t()?)?;
        let scores = match mask {
            Some(mask) => scores.broadcast_add(mask)?,
            None => scores,
        };
        return ops::softmax_last_dim(&scores)?.matmul(&v.contiguous()?);
    }
    let (batch, heads, queries, d) = q.dims4()?;
    let keys = k.dim(2)?;
    let mask = mask.map(|mask| mask.broadcast_as((batch, heads, queries, keys))).transpose()?;
    let mask = mask.as_ref().map(numbers_of);
    let mask = match &mask {
        Some(mask) => {
            let strides = mask.layout.stride().try_into().expect("a mask was given four axes");
            Some(Mask { numbers: mask.slice()?, strides })
        }
        None => None,
    };
    // Features are side by side in all that a projection gives; anything else is copied.
    let together = |x: &Tensor| if x.stride()[3] == 1 { Ok(x.clone()) } else { x.contiguous() };
    let (q, k, v) = (together(q)?, together(k)?, together(v)?);
    let (q, k, v) = (numbers_of(&q), numbers_of(&k), numbers_of(&v));
    let mixed =
        Attention { batch, heads, queries, keys, d, q: q.heads()?, k: k.heads()?, v: v.heads()?, mask }.run();
    Tensor::from_vec(mixed, (batch, queries, heads, d), &Device::Cpu)?.transpose(1, 2)
}

/// The mask under which a token sees itself and those before it: `queries` new tokens after `keys - queries` older ones.
pub(crate) fn causal_mask(queries: usize, keys: usize, device: &Device) -> Result<Tensor> {
    let older = keys - queries;
    let scores = (0..queries).flat_map(|i| (0..keys).map(move |j| if j > older + i { MASKED } else { 0.0 }));
    Tensor::from_vec(scores.collect::<Vec<f32>>(), (queries, keys), device)
}

/// Rotary position embedding: the tables for some positions, for heads whose first half is rotated with the second.
pub(crate) struct Rotation {
    cos: Tensor,
    sin: Tensor,
}

impl Rotation {
    /// Angle `position · base^(-2j/d)` for the pair `(j, j + d/2)`.
    pub(crate) fn new(
        positions: std::ops::Range<usize>,
        d: usize,
        base: f64,
        device: &Device,
    ) -> Result<Self> {
        let shape = (positions.len(), d / 2);
        let angle = |position: usize, j: usize| position as f64 * base.powf(-2.0 * j as f64 / d as f64);
        let table = |function: fn(f64) -> f64| {
            let values =
                positions.clone().flat_map(|p| (0..d / 2).map(move |j| function(angle(p, j)) as f32));
            Tensor::from_vec(values.collect::<Vec<f32>>(), shape, device)
        };
        Ok(Self { cos: table(f64::cos)?, sin: table(f64::sin)? })
    }

    /// Rotates `[batch, heads, tokens, d]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if !x.device().is_cpu() {
            return rotary_emb::rope(&x.contiguous()?, &self.cos, &self.sin);
        }
        let (cos, sin) = (numbers_of(&self.cos), numbers_of(&self.sin));
        let (half, count) = (self.cos.dim(1)?, self.cos.elem_count());
        let (cos, sin) = (&cos.slice()?[..count], &sin.slice()?[..count]);
        in_place(x, |x| {
            for head in x.chunks_exact_mut(2 * count) {
                let tables = cos.chunks_exact(half).zip(sin.chunks_exact(half));
                for (row, (cos, sin)) in head.chunks_exact_mut(2 * half).zip(tables) {
                    let (first, second) = row.split_at_mut(half);
                    for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                        (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
                    }
                }
            }
        })
    }
}

/// Keys and values of the tokens seen so far, `[batch, heads, tokens, d]`.
#[derive(Default)]
pub(crate) struct Cache {
    kept: Option<(Tensor, Tensor)>,
}

impl Cache {
    /// Appends those of new tokens and gives all.
    pub(crate) fn append(&mut self, k: Tensor, v: Tensor) -> Result<(Tensor, Tensor)> {
        let all = match self.kept.take() {
            Some((old_k, old_v)) => (Tensor::cat(&[&old_k, &k], 2)?, Tensor::cat(&[&old_v, &v], 2)?),
            None => (k, v),
        };
        self.kept = Some(all.clone());
        Ok(all)
    }
}

/// The last token of `[batch, tokens, d]`, as `[batch, d]`.
pub(crate) fn last_token(x: &Tensor) -> Result<Tensor> {
    x.narrow(1, x.dim(1)? - 1, 1)?.squeeze(1)
}

/// The tokens' rows as plain numbers, `[row][feature]`.
pub(crate) fn rows(x: &Tensor) -> Result<Vec<Vec<f32>>> {
    x.reshape(((), x.dim(D::Minus1)?))?.to_vec2()
}
