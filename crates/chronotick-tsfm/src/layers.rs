//! The layers that several families share. Tensors are `f32`; the last axis is the features, the one before it the
//! tokens. Weights are turned once, when they are loaded, into the order in which a product reads them.

use candle_core::{D, Device, Result, Tensor};
use candle_nn::{ops, rotary_emb};

use crate::OpenError;
use crate::checkpoint::Checkpoint;

/// Added to a score that must not count: what it leaves of the softmax is exactly zero.
pub(crate) const MASKED: f32 = f32::MIN;

/// `x Wᵀ + b`, with the weight stored `[in, out]`.
pub(crate) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Loads `{name}.weight`, `[outputs, inputs]` in the file, and `{name}.bias`.
    pub(crate) fn load(
        checkpoint: &Checkpoint,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> std::result::Result<Self, OpenError> {
        let bias = checkpoint.tensor(&format!("{name}.bias"), &[outputs])?;
        Ok(Self { bias: Some(bias), ..Self::load_unbiased(checkpoint, name, inputs, outputs)? })
    }

    /// Loads `{name}.weight` alone.
    pub(crate) fn load_unbiased(
        checkpoint: &Checkpoint,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> std::result::Result<Self, OpenError> {
        let weight = checkpoint.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
        Ok(Self::new(&weight, None)?)
    }

    /// Loads `{parent}.{part}.weight` of every part as one layer: their outputs side by side, in one product.
    pub(crate) fn load_stacked(
        checkpoint: &Checkpoint,
        parent: &str,
        parts: &[&str],
        inputs: usize,
        outputs: usize,
    ) -> std::result::Result<Self, OpenError> {
        let load = |part| Self::load_unbiased(checkpoint, &format!("{parent}.{part}"), inputs, outputs);
        let parts = parts.iter().map(load).collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(Self::stack(&parts)?)
    }

    /// One layer of several with the same inputs, either all or none with a bias: their outputs side by side.
    pub(crate) fn stack(parts: &[Self]) -> Result<Self> {
        let weights: Vec<&Tensor> = parts.iter().map(|part| &part.weight).collect();
        let biases: Vec<&Tensor> = parts.iter().filter_map(|part| part.bias.as_ref()).collect();
        let bias = if biases.is_empty() { None } else { Some(Tensor::cat(&biases, 0)?) };
        Ok(Self { weight: Tensor::cat(&weights, 1)?, bias })
    }

    /// A layer of a weight `[outputs, inputs]`.
    pub(crate) fn new(weight: &Tensor, bias: Option<Tensor>) -> Result<Self> {
        Ok(Self { weight: weight.t()?.contiguous()?, bias })
    }

    /// `[.., inputs]` to `[.., outputs]`: one product, whatever the leading axes are.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (inputs, outputs) = self.weight.dims2()?;
        let mut shape = x.dims().to_vec();
        let rows = shape.iter().product::<usize>() / inputs;
        shape.pop();
        shape.push(outputs);
        let y = x.reshape((rows, inputs))?.matmul(&self.weight)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias)?.reshape(shape),
            None => y.reshape(shape),
        }
    }
}

/// The function between two linear layers.
#[derive(Clone, Copy)]
pub(crate) enum Activation {
    Relu,
    Silu,
}

impl Activation {
    pub(crate) fn forward(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Relu => x.relu(),
            Self::Silu => x.silu(),
        }
    }
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
        let hidden = self.activation.forward(&self.hidden.forward(x)?)?;
        self.output.forward(&hidden)? + self.residual.forward(x)?
    }
}

/// `x / sqrt(mean(x²) + ε) · w`.
pub(crate) struct RmsNorm {
    weight: Tensor,
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
        Ok(Self::new(checkpoint.tensor(name, &[width])?, epsilon))
    }

    /// A norm of this weight.
    pub(crate) fn new(weight: Tensor, epsilon: f64) -> Self {
        Self { weight, epsilon: epsilon as f32 }
    }

    /// Where the weight lies, and so where the model computes.
    pub(crate) fn device(&self) -> &Device {
        self.weight.device()
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::rms_norm(&x.contiguous()?, &self.weight, self.epsilon)
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
        ops::layer_norm(&x.contiguous()?, &self.weight, &self.bias, self.epsilon)
    }
}

/// `[batch, tokens, heads · d]` to `[batch, heads, tokens, d]`.
pub(crate) fn split_heads(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, tokens, width) = x.dims3()?;
    x.reshape((batch, tokens, heads, width / heads))?.transpose(1, 2)?.contiguous()
}

/// `N` stacked projections `[batch, tokens, N · heads · d]`, each to `[batch, heads, tokens, d]`.
pub(crate) fn split_stacked<const N: usize>(x: &Tensor, heads: usize) -> Result<[Tensor; N]> {
    let all = split_heads(x, N * heads)?;
    let parts = (0..N).map(|i| all.narrow(1, i * heads, heads)?.contiguous()).collect::<Result<Vec<_>>>()?;
    Ok(parts.try_into().expect("N parts were made"))
}

/// The way back.
pub(crate) fn join_heads(x: &Tensor) -> Result<Tensor> {
    x.transpose(1, 2)?.contiguous()?.flatten_from(2)
}

/// `softmax(q kᵀ + mask) v` over `[batch, heads, tokens, d]`, unscaled; the mask is broadcast over what it lacks.
pub(crate) fn attention(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let scores = q.matmul(&k.t()?)?;
    let scores = match mask {
        Some(mask) => scores.broadcast_add(mask)?,
        None => scores,
    };
    ops::softmax_last_dim(&scores)?.matmul(v)
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
        rotary_emb::rope(x, &self.cos, &self.sin)
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
