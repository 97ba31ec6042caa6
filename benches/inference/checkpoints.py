"""Makes checkpoints of the published models' sizes and layouts, with random weights: `checkpoints.py FOLDER [NAME..]`.

Nothing is downloaded. Speed, memory and start-up do not depend on what the weights are.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

QUANTILES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


class Weights(dict):
    """Tensors by name: matrices whose products keep the size of numbers, norms of one, biases of nothing much."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.dtype = dtype

    def linear(self, name, outputs, inputs, bias=False):
        self[f"{name}.weight"] = (torch.randn(outputs, inputs) / inputs**0.5).to(self.dtype)
        if bias:
            self[f"{name}.bias"] = (0.02 * torch.randn(outputs)).to(self.dtype)

    def norm(self, name, width):
        self[name] = torch.ones(width, dtype=self.dtype)

    def block(self, name, widths, parts=("hidden_layer", "output_layer", "residual_layer"), bias=True):
        inputs, hidden, outputs = widths
        for part, shape in zip(parts, [(hidden, inputs), (outputs, hidden), (outputs, inputs)]):
            self.linear(f"{name}.{part}", *shape, bias)


def t5(d, d_ff, layers, heads):
    return {
        "d_model": d, "d_kv": 64, "d_ff": d_ff, "num_layers": layers, "num_heads": heads, "model_type": "t5",
        "layer_norm_epsilon": 1e-6, "dense_act_fn": "relu", "feed_forward_proj": "relu", "is_gated_act": False,
        "dropout_rate": 0.1, "initializer_factor": 0.05, "pad_token_id": 0, "eos_token_id": 1, "reg_token_id": 1, "vocab_size": 2,
    }


def chronos_bolt(d, d_ff, layers, heads):
    w, inner = Weights(), 64 * heads
    w["shared.weight"] = torch.randn(2, d)
    w.block("input_patch_embedding", [32, d_ff, d])
    w.block("output_patch_embedding", [d, d_ff, len(QUANTILES) * 64])
    for stack, kinds in [("encoder", ["SelfAttention"]), ("decoder", ["SelfAttention", "EncDecAttention"])]:
        w.norm(f"{stack}.final_layer_norm.weight", d)
        table = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        w[table] = torch.randn(32, heads)
        for i in range(layers):
            for j, kind in enumerate(kinds):
                name = f"{stack}.block.{i}.layer.{j}"
                for part in "qkv":
                    w.linear(f"{name}.{kind}.{part}", inner, d)
                w[f"{name}.{kind}.q.weight"] /= 8
                w.linear(f"{name}.{kind}.o", d, inner)
                w.norm(f"{name}.layer_norm.weight", d)
            name = f"{stack}.block.{i}.layer.{len(kinds)}"
            w.linear(f"{name}.DenseReluDense.wi", d_ff, d)
            w.linear(f"{name}.DenseReluDense.wo", d, d_ff)
            w.norm(f"{name}.layer_norm.weight", d)
    config = t5(d, d_ff, layers, heads) | {
        "architectures": ["ChronosBoltModelForForecasting"], "chronos_pipeline_class": "ChronosBoltPipeline",
        "num_decoder_layers": layers, "decoder_start_token_id": 0, "is_encoder_decoder": True,
        "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
        "chronos_config": {
            "context_length": 2048, "input_patch_size": 16, "input_patch_stride": 16, "prediction_length": 64,
            "quantiles": QUANTILES, "use_reg_token": True,
        },
    }
    return config, w


def chronos_2():
    d, d_ff, layers, heads = 768, 3072, 12, 12
    levels = [0.01, *(i / 20 for i in range(1, 20)), 0.99]
    w = Weights()
    w["shared.weight"] = torch.randn(2, d)
    w.block("input_patch_embedding", [48, d_ff, d])
    w.block("output_patch_embedding", [d, d_ff, len(levels) * 16])
    w.norm("encoder.final_layer_norm.weight", d)
    for i in range(layers):
        name = f"encoder.block.{i}.layer"
        for j in range(2):
            for part in "qkvo":
                w.linear(f"{name}.{j}.self_attention.{part}", d, d)
            w[f"{name}.{j}.self_attention.q.weight"] /= 8
        w.linear(f"{name}.2.mlp.wi", d_ff, d)
        w.linear(f"{name}.2.mlp.wo", d, d_ff)
        for j in range(3):
            w.norm(f"{name}.{j}.layer_norm.weight", d)
    config = t5(d, d_ff, layers, heads) | {
        "architectures": ["Chronos2Model"], "chronos_pipeline_class": "Chronos2Pipeline", "rope_theta": 10000.0,
        "chronos_config": {
            "context_length": 8192, "input_patch_size": 16, "input_patch_stride": 16, "output_patch_size": 16,
            "max_output_patches": 64, "quantiles": levels, "time_encoding_scale": 8192, "use_arcsinh": True,
            "use_reg_token": True,
        },
    }
    return config, w


def timesfm_25():
    d, w = 1280, Weights()
    w.block("tokenizer", [64, d, d])
    w.block("output_projection_point", [d, d, 1280], bias=False)
    w.block("output_projection_quantiles", [d, d, 10240], bias=False)
    for i in range(20):
        name = f"stacked_xf.{i}"
        for norm in ["pre_attn_ln", "post_attn_ln", "pre_ff_ln", "post_ff_ln"]:
            w.norm(f"{name}.{norm}.scale", d)
        w.linear(f"{name}.attn.qkv_proj", 3 * d, d)
        for part in ["attn.out", "ff0", "ff1"]:
            w.linear(f"{name}.{part}", d, d)
        w.norm(f"{name}.attn.query_ln.scale", 80)
        w.norm(f"{name}.attn.key_ln.scale", 80)
        w[f"{name}.attn.per_dim_scale.per_dim_scale"] = torch.zeros(80)
    return {}, w


def timesfm_20():
    d, w = 1280, Weights()
    parts = ("input_layer", "output_layer", "residual_layer")
    w.block("decoder.input_ff_layer", [64, d, d], parts)
    w.block("horizon_ff_layer", [d, d, 1280], parts)
    w["decoder.freq_emb.weight"] = torch.randn(3, d)
    for i in range(50):
        name = f"decoder.layers.{i}"
        w.norm(f"{name}.input_layernorm.weight", d)
        for part in ["q_proj", "k_proj", "v_proj", "o_proj"]:
            w.linear(f"{name}.self_attn.{part}", d, d, bias=True)
        w[f"{name}.self_attn.scaling"] = torch.zeros(80)
        w.norm(f"{name}.mlp.layer_norm.weight", d)
        w[f"{name}.mlp.layer_norm.bias"] = torch.zeros(d)
        w.linear(f"{name}.mlp.gate_proj", d, d, bias=True)
        w.linear(f"{name}.mlp.down_proj", d, d, bias=True)
    config = {
        "architectures": ["TimesFmModelForPrediction"], "model_type": "timesfm", "attention_dropout": 0.0,
        "context_length": 512, "freq_size": 3, "head_dim": 80, "hidden_size": d, "horizon_length": 128,
        "intermediate_size": d, "max_timescale": 10000, "min_timescale": 1, "num_attention_heads": 16,
        "num_hidden_layers": 50, "pad_val": 1123581321.0, "patch_length": 32, "quantiles": QUANTILES,
        "rms_norm_eps": 1e-6, "tolerance": 1e-6, "use_positional_embedding": False,
    }
    return config, w


def ttm():
    d, decoder_d, patches, w = 192, 128, 8, Weights()

    def mixer(name, positions, features):
        w.norm(f"{name}.norm.norm.weight", features)
        w[f"{name}.norm.norm.bias"] = torch.zeros(features)
        w.linear(f"{name}.mlp.fc1", 2 * positions, positions, bias=True)
        w.linear(f"{name}.mlp.fc2", positions, 2 * positions, bias=True)
        w.linear(f"{name}.gating_block.attn_layer", positions, positions, bias=True)

    def layer(name, positions, features):
        mixer(f"{name}.patch_mixer", positions, features)
        mixer(f"{name}.feature_mixer", features, features)

    w.linear("backbone.encoder.patcher", d, 64, bias=True)
    for level in range(3):
        for j in range(2):
            name = f"backbone.encoder.mlp_mixer_encoder.mixers.{level}.mixer_layers.{j}"
            factor = 2 ** (2 - level)
            layer(name, patches * factor, d // factor)
    w.linear("decoder.adapter", decoder_d, d, bias=True)
    for i in range(2):
        layer(f"decoder.decoder_block.mixers.{i}", patches, decoder_d)
    w.linear("head.base_forecast_block", 96, patches * decoder_d, bias=True)
    config = {
        "architectures": ["TinyTimeMixerForPrediction"], "model_type": "tinytimemixer", "context_length": 512,
        "patch_length": 64, "patch_stride": 64, "num_patches": patches, "d_model": d, "num_layers": 2,
        "adaptive_patching_levels": 3, "expansion_factor": 2, "decoder_d_model": decoder_d, "decoder_num_layers": 2,
        "decoder_adaptive_patching_levels": 0, "decoder_mode": "common_channel", "mode": "common_channel",
        "decoder_raw_residual": False, "prediction_length": 96, "gated_attn": True, "scaling": "std", "loss": "mse",
        "norm_mlp": "LayerNorm", "norm_eps": 1e-5, "num_input_channels": 1, "use_decoder": True, "self_attn": False,
        "use_positional_encoding": False, "resolution_prefix_tuning": False, "enable_forecast_channel_mixing": False,
    }
    return config, w


def toto():
    d, hidden, w = 768, 3072, Weights()
    w.linear("model.patch_embed.projection", d, 64, bias=True)
    w.linear("model.unembed", 64 * d, d, bias=True)
    for part in ["df", "loc_proj", "scale_proj", "mixture_weights"]:
        w.linear(f"model.output_distribution.{part}", 24, d, bias=True)
    frequencies = 10000.0 ** (-torch.arange(0, 64, 2) / 64)
    w["model.transformer.rotary_emb.freqs"] = frequencies
    for i in range(12):
        name = f"model.transformer.layers.{i}"
        w.norm(f"{name}.norm1.scale", d)
        w.norm(f"{name}.norm2.scale", d)
        w.linear(f"{name}.attention.wQKV", 3 * d, d, bias=True)
        w.linear(f"{name}.attention.wO", d, d, bias=True)
        w.linear(f"{name}.mlp.0", 2 * hidden, d, bias=True)
        w.linear(f"{name}.mlp.2", d, hidden, bias=True)
        if i < 11:
            w[f"{name}.attention.rotary_emb.freqs"] = frequencies.clone()
    config = {
        "patch_size": 64, "stride": 64, "embed_dim": d, "num_layers": 12, "num_heads": 12, "mlp_hidden_dim": hidden,
        "dropout": 0.1, "spacewise_every_n_layers": 12, "spacewise_first": False,
        "scaler_cls": "<class 'model.scaler.CausalPatchStdMeanScaler'>", "stabilize_with_global": True,
        "scale_factor_exponent": 10.0, "use_memory_efficient_attention": False,
        "output_distribution_classes": ["<class 'model.distribution.MixtureOfStudentTsOutput'>"],
        "output_distribution_kwargs": {"k_components": 24},
    }
    return config, w


def time_moe(d, inner):
    experts, lengths, w = 8, [1, 8, 32, 64], Weights(torch.bfloat16)
    w.linear("model.embed_layer.emb_layer", d, 1)
    w.linear("model.embed_layer.gate_layer", d, 1)
    w.norm("model.norm.weight", d)
    for i, length in enumerate(lengths):
        w.linear(f"lm_heads.{i}.out_layer", length, d)
    for i in range(12):
        name = f"model.layers.{i}"
        w.norm(f"{name}.input_layernorm.weight", d)
        w.norm(f"{name}.post_attention_layernorm.weight", d)
        for part in "qkv":
            w.linear(f"{name}.self_attn.{part}_proj", d, d, bias=True)
        w.linear(f"{name}.self_attn.o_proj", d, d)
        w.linear(f"{name}.ffn_layer.gate", experts, d)
        w.linear(f"{name}.ffn_layer.shared_expert_gate", 1, d)
        widths = {"shared_expert": inner} | {f"experts.{e}": inner // 2 for e in range(experts)}
        for expert, width in widths.items():
            w.linear(f"{name}.ffn_layer.{expert}.gate_proj", width, d)
            w.linear(f"{name}.ffn_layer.{expert}.up_proj", width, d)
            w.linear(f"{name}.ffn_layer.{expert}.down_proj", d, width)
    config = {
        "architectures": ["TimeMoeForPrediction"], "model_type": "time_moe", "hidden_act": "silu", "hidden_size": d,
        "intermediate_size": inner, "num_hidden_layers": 12, "num_attention_heads": 12, "num_key_value_heads": 12,
        "num_experts": experts, "num_experts_per_tok": 2, "horizon_lengths": lengths, "input_size": 1,
        "max_position_embeddings": 4096, "rms_norm_eps": 1e-6, "rope_theta": 10000, "use_dense": False,
    }
    return config, w


MODELS = {
    "chronos-bolt-tiny": lambda: chronos_bolt(256, 1024, 4, 4),
    "chronos-bolt-mini": lambda: chronos_bolt(384, 1536, 4, 8),
    "chronos-bolt-small": lambda: chronos_bolt(512, 2048, 6, 8),
    "chronos-bolt-base": lambda: chronos_bolt(768, 3072, 12, 12),
    "chronos-2": chronos_2,
    "ttm-512-96": ttm,
    "timesfm-2.5": timesfm_25,
    "toto": toto,
    "time-moe-50m": lambda: time_moe(384, 1536),
    "timesfm-2.0": timesfm_20,
}

if __name__ == "__main__":
    folder, names = Path(sys.argv[1]), sys.argv[2:] or list(MODELS)
    for name in names:
        torch.manual_seed(0)
        config, weights = MODELS[name]()
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "config.json").write_text(json.dumps(config, indent=1))
        save_file(dict(weights), folder / name / "model.safetensors", metadata={"format": "pt"})
        print(name, f"{sum(tensor.numel() for tensor in weights.values()) / 1e6:.1f} M numbers")
