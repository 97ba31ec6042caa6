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
    return lambda: pipeline.predict_quantiles(inputs, prediction_length=horizon, quantile_levels=LEVELS)


def timesfm_25(folder, values, horizon):
    import timesfm

    model = timesfm.TimesFM_2p5_200M_torch(torch_compile=False)
    model.model.load_checkpoint(str(folder / "model.safetensors"))
    # As the crate's defaults are: every refinement but the one for quantities that cannot be negative.
    model.compile(timesfm.ForecastConfig(
        max_context=-(-len(values) // 32) * 32, max_horizon=128, normalize_inputs=True, use_continuous_quantile_head=True,
        force_flip_invariance=True, infer_is_positive=False, fix_quantile_crossing=True, per_core_batch_size=1,
    ))
    return lambda: model.forecast(horizon=horizon, inputs=[np.array(values)])


def timesfm_20(folder, values, horizon):
    from transformers import TimesFmModelForPrediction

    model = TimesFmModelForPrediction.from_pretrained(folder, dtype=torch.float32).eval()
    inputs = [torch.tensor(values, dtype=torch.float32)]
    return lambda: model(past_values=inputs, freq=[0])


def ttm(folder, values, horizon):
    from tsfm_public.models.tinytimemixer import TinyTimeMixerForPrediction

    model = TinyTimeMixerForPrediction.from_pretrained(folder).eval()
    past = torch.zeros(1, model.config.context_length, 1)
    past[0, -len(values):, 0] = torch.tensor(values[-model.config.context_length:])
    return lambda: model(past_values=past)


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
    return lambda: forecaster.forecast(series, prediction_length=horizon, num_samples=None)


def family(folder):
    name = folder.name
    for prefix, load in [("chronos", chronos), ("timesfm-2.5", timesfm_25), ("timesfm-2.0", timesfm_20), ("ttm", ttm),
                         ("toto", toto)]:
        if name.startswith(prefix):
            return load
    raise SystemExit(f"no reference implementation for {name}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, context, horizon = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    values = [float(np.sin(0.1 * i) + 0.01 * i) for i in range(context)]
    with torch.inference_mode():
        forecast = family(folder)(folder, values, horizon)
        forecast()
        print("ready", flush=True)
        for line in sys.stdin:
            taken = []
            for _ in range(int(line)):
                start = time.perf_counter_ns()
                forecast()
                taken.append(time.perf_counter_ns() - start)
            print(*taken, flush=True)
