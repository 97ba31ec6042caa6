//! The network as it is trained: the same arithmetic as `chronotick_tsfm`'s Foresight, with gradients.

use candle_core::{D, Device, Result, Tensor, Var};
use chronotick_tsfm::foresight::Shape;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// Named weights, in the order of their names.
pub(crate) type Weights = BTreeMap<String, Var>;

/// Random weights; the decoder's are small, so that the first answer is the base forecast.
pub(crate) fn begin(shape: &Shape, seed: u64, device: &Device) -> Result<Weights> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut weights = Weights::new();
    let mut linear = |name: String, inputs: usize, outputs: usize, gain: f64| -> Result<()> {
        let limit = gain * (6.0 / inputs as f64).sqrt();
        let drawn: Vec<f32> =
            (0..inputs * outputs).map(|_| (limit * random.random_range(-1.0..1.0)) as f32).collect();
        let weight = Var::from_tensor(&Tensor::from_vec(drawn, (outputs, inputs), device)?)?;
        let bias = Var::from_tensor(&Tensor::zeros(outputs, candle_core::DType::F32, device)?)?;
        weights.insert(format!("{name}.weight"), weight);
        weights.insert(format!("{name}.bias"), bias);
        Ok(())
    };
    linear("encoder".into(), shape.inputs(), shape.width, 0.7)?;
    for i in 0..shape.blocks {
        linear(format!("blocks.{i}.hidden"), shape.width, shape.width, 0.8)?;
        linear(format!("blocks.{i}.output"), shape.width, shape.width, 0.3)?;
    }
    linear("decoder".into(), shape.width, shape.outputs(), 0.02)?;
    // Half a standard deviation between one quantile and the next, to begin with.
    let levels = shape.quantiles.len();
    let apart: Vec<f32> =
        (0..shape.outputs()).map(|i| if i % levels == shape.middle() { 0.0 } else { -0.5 }).collect();
    weights["decoder.bias"].set(&Tensor::from_vec(apart, shape.outputs(), device)?)?;
    Ok(weights)
}

/// Quantiles of rows of features, in standard deviations of the base: `[row, step, level]`.
pub(crate) fn forward(shape: &Shape, weights: &Weights, features: &Tensor) -> Result<Tensor> {
    let linear = |x: &Tensor, name: &str| -> Result<Tensor> {
        let (weight, bias) = (&weights[&format!("{name}.weight")], &weights[&format!("{name}.bias")]);
        x.matmul(&weight.t()?)?.broadcast_add(bias)
    };
    let mut h = linear(features, "encoder")?.gelu_erf()?;
    for i in 0..shape.blocks {
        let hidden = linear(&h, &format!("blocks.{i}.hidden"))?.gelu_erf()?;
        h = (&h + linear(&hidden, &format!("blocks.{i}.output"))?)?;
    }
    let (levels, middle) = (shape.quantiles.len(), shape.middle());
    let raw = linear(&h, "decoder")?.reshape((features.dim(0)?, shape.prediction_length, levels))?;
    let median = raw.narrow(D::Minus1, middle, 1)?;
    // softplus(x) = max(x, 0) + ln(1 + exp(−|x|))
    let apart = (raw.relu()? + (raw.abs()?.neg()?.exp()? + 1.0)?.log()?)?;
    let mut below = vec![median.clone()];
    for i in (0..middle).rev() {
        below.push((&below[below.len() - 1] - apart.narrow(D::Minus1, i, 1)?)?);
    }
    below.reverse();
    let mut all = below;
    for i in middle + 1..levels {
        all.push((&all[all.len() - 1] + apart.narrow(D::Minus1, i, 1)?)?);
    }
    Tensor::cat(&all, D::Minus1)
}

/// The mean pinball loss of quantiles `[row, step, level]` against truth `[row, step]`.
pub(crate) fn loss(shape: &Shape, quantiles: &Tensor, truth: &Tensor) -> Result<Tensor> {
    let levels: Vec<f32> = shape.quantiles.iter().map(|q| *q as f32).collect();
    let levels = Tensor::from_vec(levels, (1, 1, shape.quantiles.len()), truth.device())?;
    let error = truth.unsqueeze(D::Minus1)?.broadcast_sub(quantiles)?;
    // max(q·e, (q − 1)·e) = q·e + max(−e, 0)
    (error.broadcast_mul(&levels)? + error.neg()?.relu()?)?.mean_all()
}
