"""A pretrained encoder's forward pass, beside PyTorch's of the same configuration, and beside what the chip can do.

  pip install -e '.[parity]' && python tests/benchmarks/upstream.py FOLDER [--batch 4] [--seconds 4] [--repeats 7]

FOLDER is a Hugging Face folder; PyTorch's has the same sizes and weights of its own. One JSON object: milliseconds, ratio
(PyTorch / ours), and the fraction of the measured matrix peak, medians of turns taken one after another. Of Whisper both hear
30 s, the only length that transformers takes; jaxser hears as much as there is, and the last figure is that of --seconds.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import time

import numpy as np


def heard(options) -> np.ndarray:
    """What the encoder hears: samples, or log-mel."""
    with open(os.path.join(options.folder, 'config.json')) as file:
        config = json.load(file)
    if config['model_type'] == 'whisper':
        shape = (options.batch, 2 * config.get('max_source_positions', 1500), config.get('num_mel_bins', 80))
    else:
        shape = (options.batch, round(16_000 * options.seconds))
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def torch_child(pipe, options) -> None:
    """Runs PyTorch's pass when told to, in a process of its own so that no thread pool disturbs the other."""
    import torch
    import transformers
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    config = transformers.AutoConfig.from_pretrained(options.folder)
    whisper = config.model_type == 'whisper'
    model = (WhisperEncoder(config) if whisper else transformers.AutoModel.from_config(config)).eval().to(device)
    x = torch.from_numpy(heard(options)).to(device)
    x = x.transpose(1, 2).contiguous() if whisper else x

    @torch.no_grad()
    def run() -> float:
        began = time.perf_counter()
        model(x)
        if device == 'cuda':
            torch.cuda.synchronize()
        return time.perf_counter() - began

    run(), run()
    pipe.send(f'torch {torch.__version__}, transformers {transformers.__version__}, {device}')
    while pipe.recv():
        pipe.send(run())


def ours(of, x: np.ndarray):
    """A function of no arguments that takes as long as the pass, and the pass's operations."""
    import jax

    length_B = np.full(len(x), x.shape[1], np.int32)
    compiled = jax.jit(lambda p, x, n: of.module.apply({'params': p}, x, n)[0][-1]).lower(of.params, x, length_B).compile()
    arguments = jax.device_put((of.params, x, length_B))

    def run() -> float:
        began = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        return time.perf_counter() - began

    run(), run()
    return run, compiled.cost_analysis()['flops']


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder')
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--seconds', type=float, default=4.0)
    parser.add_argument('--repeats', type=int, default=7)
    parser.add_argument('--square', type=int, default=2048, help='of the matrix product that gives the peak')
    options = parser.parse_args()
    pipe, theirs = multiprocessing.get_context('spawn').Pipe()
    multiprocessing.get_context('spawn').Process(target=torch_child, args=(theirs, options), daemon=True).start()
    versions = pipe.recv()

    import jax
    import jax.numpy as jnp

    from jaxser import upstream

    of, x = upstream.read(options.folder), heard(options)
    run, flops = ours(of, x)
    short = ours(of, x[:, : round(100 * options.seconds)])[0] if of.hears == 'mel' else run
    a, product = jnp.ones((options.square, options.square)), jax.jit(lambda a: a @ a)
    product(a)
    seen = {k: [] for k in ('ours', 'torch', 'product', 'short')}
    for _ in range(options.repeats):
        seen['ours'].append(run())
        pipe.send(True)
        seen['torch'].append(pipe.recv())
        seen['short'].append(short())
        began = time.perf_counter()
        jax.block_until_ready(product(a))
        seen['product'].append(time.perf_counter() - began)
    pipe.send(False)
    at = {k: statistics.median(v) for k, v in seen.items()}
    ratios = [t / o for t, o in zip(seen['torch'], seen['ours'])]
    print(
        json.dumps(
            {
                'model': f'{of.config["model_type"]} {of.layers - 1}x{of.width}',
                'batch': options.batch,
                'heard': list(x.shape[1:]),
                'ms': round(1000 * at['ours'], 1),
                'torch_ms': round(1000 * at['torch'], 1),
                'ratio': round(statistics.median(ratios), 2),
                'fraction_of_peak': round(flops / at['ours'] / (2 * options.square**3 / at['product']), 3),
                f'ms_of_{options.seconds:g}_s': round(1000 * at['short'], 1),
                'device': str(jax.devices()[0].device_kind),
                'machine': f'{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}',
                'versions': f'jax {jax.__version__}, {versions}',
            }
        )
    )


if __name__ == '__main__':
    main()
