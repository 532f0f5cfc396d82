"""A pretrained encoder's forward pass, or a step of fine-tuning it, beside PyTorch's of the same configuration.

  pip install -e '.[parity]' && python tests/benchmarks/upstream.py FOLDER [--train] [--bfloat16] [--batch 4] [--seconds 4]

FOLDER is a Hugging Face folder; PyTorch's has the same sizes and weights of its own. One JSON object: milliseconds, ratio
(PyTorch / ours), and the fraction of the measured matrix peak, medians of turns taken one after another.

In the forward pass of Whisper both hear 30 s, the only length that transformers takes; jaxser hears as much as there is, and the
last figure is that of --seconds. With --train both hear --seconds (PyTorch's positions are cut), and a step is all of it: the
transformer and an emotion head learn by AdamW, of which jaxser keeps the changes; the convolutions that make frames do not.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import time

import numpy as np

EMOTIONS = 4


def described(options) -> dict:
    """The folder's config.json."""
    with open(os.path.join(options.folder, 'config.json')) as file:
        return json.load(file)


def heard(options) -> np.ndarray:
    """What the encoder hears: samples, or log-mel."""
    config = described(options)
    if config['model_type'] == 'whisper':
        frames = (
            round(100 * options.seconds)
            if options.train
            else 2 * config.get('max_source_positions', 1500)
        )
        shape = (options.batch, frames, config.get('num_mel_bins', 80))
    else:
        shape = (options.batch, round(16_000 * options.seconds))
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def torch_child(pipe, options) -> None:
    """Runs PyTorch's pass or step when told to, in a process of its own so that no thread pool disturbs the other."""
    import torch
    import transformers
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    torch.set_float32_matmul_precision('high')  # on a GPU, TF32, as JAX's default there
    config = transformers.AutoConfig.from_pretrained(options.folder)
    config.apply_spec_augment = False
    for key in config.to_dict():  # ours drops neither units nor layers
        if key.endswith(('dropout', 'layerdrop')):
            setattr(config, key, 0.0)
    whisper = config.model_type == 'whisper'
    x = heard(options)
    if whisper:
        config.max_source_positions = x.shape[1] // 2
        model = WhisperEncoder(config)
    else:
        model = transformers.AutoModel.from_config(config)
    model = model.to(device)
    x = torch.from_numpy(x.transpose(0, 2, 1).copy() if whisper else x).to(device)
    width = config.d_model if whisper else config.hidden_size
    head, emotion_B = (
        torch.nn.Linear(width, EMOTIONS).to(device),
        torch.arange(options.batch, device=device) % EMOTIONS,
    )
    for name, weight in model.named_parameters():
        weight.requires_grad_(not name.startswith(('conv', 'feature_extractor', 'embed_positions')))
    learns = [w for w in (*model.parameters(), *head.parameters()) if w.requires_grad]
    optimiser = torch.optim.AdamW(learns, lr=1e-5)

    if options.compile:
        model = torch.compile(model)
    kind = torch.autocast(device, torch.bfloat16, enabled=options.bfloat16)

    def step():
        with kind:
            loss = torch.nn.functional.cross_entropy(
                head(model(x).last_hidden_state.mean(1)), emotion_B
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learns, 5.0)
        optimiser.step()

    @torch.no_grad()
    def forward():
        with kind:
            model(x)

    model.train(options.train)

    def run() -> float:
        began = time.perf_counter()
        step() if options.train else forward()
        if device == 'cuda':
            torch.cuda.synchronize()
        return time.perf_counter() - began

    run(), run()
    how = f'{device}, compiled' if options.compile else device
    pipe.send(f'torch {torch.__version__}, transformers {transformers.__version__}, {how}')
    while pipe.recv():
        pipe.send(run())


def timed(compiled, *arguments):
    """A function of no arguments that says how many seconds a call took; what it returns first is its first argument anew."""
    import jax

    state, *rest = jax.device_put(arguments)

    def run() -> float:
        nonlocal state
        began = time.perf_counter()
        state = jax.block_until_ready(compiled(state, *rest))
        return time.perf_counter() - began

    run(), run()
    return run


def operations(function, *arguments) -> float:
    """Floating-point operations of a function, which is not run: as a CPU's compiler counts them, whatever the device."""
    import jax

    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arguments)
    with jax.default_device(jax.devices('cpu')[0]):
        return jax.jit(function).lower(*shapes).cost_analysis()['flops']


def forward(options, of, x: np.ndarray):
    """The pass as `timed` has it, and its operations."""
    import jax

    from jaxser.pretrained.transformer import ComputeOptions

    length_B = np.full(len(x), x.shape[1], np.int32)
    module = of.module.clone(options=ComputeOptions(kind(options)))
    last = lambda p, x, n: module.apply({'params': p}, x, n)[0][-1]  # noqa: E731
    compiled = jax.jit(last)

    def kept(params, x, length_B):
        jax.block_until_ready(compiled(params, x, length_B))
        return params

    return timed(kept, of.params, x, length_B), operations(last, of.params, x, length_B)


def kind(options):
    """Of the factors of products."""
    import jax.numpy as jnp

    return jnp.bfloat16 if options.bfloat16 else jnp.float32


def training(options, of, x: np.ndarray):
    """A step of plain training through `fine_tuned`, as the trainer has it, and its operations."""
    import jax
    import jax.numpy as jnp

    from configs import base
    from data_pipelines.features.upstream import HOP_SAMPLES
    from jaxser import plugins
    from jaxser.interfaces import Sizes
    from jaxser.training.step import make_step

    config = base.get_config()
    keys = {
        'name': 'fine_tuned',
        'upstream': options.folder,
        'lora': options.lora,
        'bfloat16': options.bfloat16,
    }
    config.update_from_flattened_dict(
        {'method': 'erm'} | {f'model.{k}': v for k, v in keys.items()}
    )
    mel_BxTxM = (
        x
        if of.input_kind == 'mel'
        else x[:, : x.shape[1] // HOP_SAMPLES * HOP_SAMPLES].reshape(len(x), -1, HOP_SAMPLES)
    )
    B, T, M = mel_BxTxM.shape
    sizes = Sizes(M, EMOTIONS, {'speaker': 2, 'language': 2, 'corpus': 2}, 1000)
    encoder, method = plugins.make_method(config, sizes)
    one = make_step(encoder, method, sizes, config.train)
    real = {'lr': 1e-3, 'weight_decay': 1e-2, 'dropout': 0.1, 'time_mask': 0.0, 'band_mask': 0.0}
    hyper = {k: jnp.float32(v) for k, v in real.items()} | {
        'seed': jnp.int32(0),
        'fold': jnp.int32(0),
    }
    batch = {
        'mel_BxTxM': mel_BxTxM.astype(np.float16),
        'frames_B': np.full(B, T, np.int32),
        'mean_BxM': np.zeros((B, M), np.float32),
        'scale_BxM': np.ones((B, M), np.float32),
        'emotion_B': np.arange(B, dtype=np.int32) % EMOTIONS,
        'labelled_B': np.ones(B, np.float32),
        'target_B': np.zeros(B, np.float32),
        'frozen': of.params,
    }
    state = jax.jit(one.init)(hyper)
    update = lambda s, b, h: one.update(s, b, h)[0]  # noqa: E731
    flops = operations(update, state, batch, hyper)  # before the state is given away
    return timed(jax.jit(update, donate_argnums=0), state, batch, hyper), flops


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder')
    parser.add_argument(
        '--train', action='store_true', help='a step of fine-tuning rather than the forward pass'
    )
    parser.add_argument(
        '--lora', type=int, default=0, help='with --train, the rank of adapters; PyTorch has none'
    )
    parser.add_argument(
        '--bfloat16', action='store_true', help='products of bfloat16; in PyTorch, autocast'
    )
    parser.add_argument('--compile', action='store_true', help="PyTorch's under torch.compile")
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--seconds', type=float, default=4.0)
    parser.add_argument('--repeats', type=int, default=7)
    parser.add_argument(
        '--square', type=int, default=2048, help='of the matrix product that gives the peak'
    )
    options = parser.parse_args()
    pipe, theirs = multiprocessing.get_context('spawn').Pipe()
    multiprocessing.get_context('spawn').Process(
        target=torch_child, args=(theirs, options), daemon=True
    ).start()
    theirs.close()  # so that its end is noticed
    try:
        versions = pipe.recv()
    except EOFError:
        raise SystemExit("PyTorch's process has ended; above it says why.") from None

    import jax

    from jaxser.pretrained.encoder import read_encoder

    of, x = read_encoder(options.folder), heard(options)
    run, flops = (training if options.train else forward)(options, of, x)
    square = jax.random.normal(jax.random.key(0), (options.square, options.square), kind(options))
    product = timed(jax.jit(lambda a: a @ a / options.square**0.5), square)
    turns = {'ours': run, 'product': lambda: min(product() for _ in range(4))}
    if of.input_kind == 'mel' and not options.train:
        turns['short'] = forward(options, of, x[:, : round(100 * options.seconds)])[0]
    seen = {k: [] for k in (*turns, 'torch')}
    for _ in range(options.repeats):
        for name, turn in turns.items():
            seen[name].append(turn())
        pipe.send(True)
        seen['torch'].append(pipe.recv())
    pipe.send(False)
    at = {k: statistics.median(v) for k, v in seen.items()}
    ratios = [t / o for t, o in zip(seen['torch'], seen['ours'])]
    short = {f'ms_of_{options.seconds:g}_s': round(1000 * at['short'], 1)} if 'short' in at else {}
    print(
        json.dumps(
            {
                'model': f'{of.config["model_type"]} {of.state_count - 1}x{of.width}',
                'what': 'training step' if options.train else 'forward pass',
                'kind': kind(options).__name__,
                'batch': options.batch,
                'heard': list(x.shape[1:]),
                'ms': round(1000 * at['ours'], 1),
                'torch_ms': round(1000 * at['torch'], 1),
                'ratio': round(statistics.median(ratios), 2),
                'fraction_of_peak': round(
                    flops / at['ours'] / (2 * options.square**3 / at['product']), 3
                ),
                'peak_gflops': round(2 * options.square**3 / at['product'] / 1e9),
                **short,
                'device': str(jax.devices()[0].device_kind),
                'machine': f'{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}',
                'versions': f'jax {jax.__version__}, {versions}',
            }
        )
    )


if __name__ == '__main__':
    main()
