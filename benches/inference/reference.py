"""The reference implementations behind the protocol of the `latency` example: `reference.py FOLDER CONTEXT HORIZON`."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def chronos(folder, values, horizon):
    from chronos import BaseChronosPipeline

    pipeline = BaseChronosPipeline.from_pretrained(folder, device_map="cpu", dtype=torch.float32)
    inputs = torch.tensor(values, dtype=torch.float32)
    inputs = inputs[None, None] if type(pipeline).__name__ == "Chronos2Pipeline" else inputs[None]
    forecast = lambda: pipeline.predict_quantiles(inputs, prediction_length=horizon, quantile_levels=LEVELS)
    return forecast, lambda answer: answer[1][0]


def timesfm_25(folder, values, horizon):
    import timesfm

    model = timesfm.TimesFM_2p5_200M_torch(torch_compile=False)
    model.model.load_checkpoint(str(folder / "model.safetensors"))
    # As the crate's defaults are: every refinement but the one for quantities that cannot be negative.
    model.compile(timesfm.ForecastConfig(
        max_context=-(-len(values) // 32) * 32, max_horizon=128, normalize_inputs=True, use_continuous_quantile_head=True,
        force_flip_invariance=True, infer_is_positive=False, fix_quantile_crossing=True, per_core_batch_size=1,
    ))
    return lambda: model.forecast(horizon=horizon, inputs=[np.array(values)]), lambda answer: answer[1][0][:, 0]


def timesfm_20(folder, values, horizon):
    from transformers import TimesFmModelForPrediction

    model = TimesFmModelForPrediction.from_pretrained(folder, dtype=torch.float32).eval()
    inputs = [torch.tensor(values, dtype=torch.float32)]
    return lambda: model(past_values=inputs, freq=[0]), lambda answer: answer.full_predictions[0, :horizon, 0]


def ttm(folder, values, horizon):
    from tsfm_public.models.tinytimemixer import TinyTimeMixerForPrediction

    model = TinyTimeMixerForPrediction.from_pretrained(folder).eval()
    values = np.array(values[-model.config.context_length:])
    # Standardised first, as the model's card demands.
    mean, deviation = values.mean(), values.std()
    past = torch.zeros(1, model.config.context_length, 1)
    past[0, -len(values):, 0] = torch.tensor((values - mean) / deviation)
    return lambda: model(past_values=past), lambda answer: answer.prediction_outputs[0, :horizon, 0] * deviation + mean


def toto(folder, values, horizon):
    from safetensors.torch import load_file
    from toto.data.util.dataset import MaskedTimeseries
    from toto.inference.forecaster import TotoForecaster
    from toto.model.backbone import TotoBackbone

    config = json.loads((folder / "config.json").read_text())
    model = TotoBackbone(**config)
    weights = {name.removeprefix("model."): tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    model.load_state_dict(weights, strict=False)
    forecaster = TotoForecaster(model.eval())
    length = len(values)
    series = MaskedTimeseries(
        series=torch.tensor(values, dtype=torch.float32)[None], padding_mask=torch.ones(1, length, dtype=torch.bool),
        id_mask=torch.zeros(1, length, dtype=torch.int), timestamp_seconds=torch.zeros(1, length, dtype=torch.int),
        time_interval_seconds=torch.ones(1, dtype=torch.int),
    )
    return lambda: forecaster.forecast(series, prediction_length=horizon, num_samples=None), lambda answer: answer.mean


class TimeMoe(torch.nn.Module):
    """Time-MoE's forward pass with its cache, after arXiv:2409.16040: no package has it. One pass gives 64 steps."""

    def __init__(self, folder):
        super().__init__()
        from safetensors.torch import load_file

        self.config = json.loads((folder / "config.json").read_text())
        self.w = {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()}

    def norm(self, x, name):
        return torch.nn.functional.rms_norm(x, x.shape[-1:], self.w[name], self.config["rms_norm_eps"])

    def linear(self, x, name):
        return torch.nn.functional.linear(x, self.w[f"{name}.weight"], self.w.get(f"{name}.bias"))

    def expert(self, x, name):
        gate = torch.nn.functional.silu(self.linear(x, f"{name}.gate_proj"))
        return self.linear(gate * self.linear(x, f"{name}.up_proj"), f"{name}.down_proj")

    def attention(self, x, name, cos, sin):
        heads = self.config["num_attention_heads"]
        q, k, v = (self.linear(x, f"{name}.{p}_proj").unflatten(-1, (heads, -1)).transpose(0, 1) for p in "qkv")
        half = q.shape[-1] // 2
        rotate = lambda t: t * cos + torch.cat([-t[..., half:], t[..., :half]], -1) * sin
        mixed = torch.nn.functional.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True)
        return self.linear(mixed.transpose(0, 1).flatten(1), f"{name}.o_proj")

    def experts(self, x, name):
        out = torch.sigmoid(self.linear(x, f"{name}.shared_expert_gate")) * self.expert(x, f"{name}.shared_expert")
        share, chosen = torch.topk(torch.softmax(self.linear(x, f"{name}.gate"), -1), self.config["num_experts_per_tok"])
        for e in range(self.config["num_experts"]):
            token, rank = torch.where(chosen == e)
            if len(token):
                out.index_add_(0, token, share[token, rank, None] * self.expert(x[token], f"{name}.experts.{e}"))
        return out

    def forward(self, values):
        z = ((values - values.mean()) / values.std())[:, None]
        x = torch.nn.functional.silu(self.linear(z, "model.embed_layer.gate_layer")) * self.linear(z, "model.embed_layer.emb_layer")
        d = self.config["hidden_size"] // self.config["num_attention_heads"]
        angles = torch.arange(len(z))[:, None] * self.config["rope_theta"] ** (-torch.arange(0, d, 2) / d)
        cos, sin = (torch.cat([t, t], -1) for t in [angles.cos(), angles.sin()])
        for i in range(self.config["num_hidden_layers"]):
            name = f"model.layers.{i}"
            x = x + self.attention(self.norm(x, f"{name}.input_layernorm.weight"), f"{name}.self_attn", cos, sin)
            x = x + self.experts(self.norm(x, f"{name}.post_attention_layernorm.weight"), f"{name}.ffn_layer")
        return self.linear(self.norm(x[-1], "model.norm.weight"), "lm_heads.3.out_layer") * values.std() + values.mean()


def time_moe(folder, values, horizon):
    assert horizon == 64
    model, values = TimeMoe(folder), torch.tensor(values)
    return lambda: model(values), lambda answer: answer


def family(folder):
    name = folder.name
    for prefix, load in [("chronos", chronos), ("timesfm-2.5", timesfm_25), ("timesfm-2.0", timesfm_20), ("ttm", ttm),
                         ("toto", toto), ("time-moe", time_moe)]:
        if name.startswith(prefix):
            return load
    raise SystemExit(f"no reference implementation for {name}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, context, horizon = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    values = [float(np.sin(0.1 * i) + 0.01 * i) for i in range(context)]
    with torch.inference_mode():
        forecast, read = family(folder)(folder, values, horizon)
        print("ready", *np.asarray(read(forecast())).reshape(-1).astype(float), flush=True)
        for line in sys.stdin:
            taken = []
            for _ in range(int(line)):
                start = time.perf_counter_ns()
                forecast()
                taken.append(time.perf_counter_ns() - start)
            print(*taken, flush=True)
