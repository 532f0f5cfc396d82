"""Compares a pretrained encoder's forward pass, or a step of fine-tuning it, with PyTorch's.

  pip install -e '.[parity]'
  python tests/benchmarks/upstream.py FOLDER [--train] [--bfloat16] [--batch 4] [--seconds 4]

FOLDER is a Hugging Face folder. PyTorch's model has the same sizes, but random weights. One JSON
object is printed: milliseconds, the ratio (PyTorch / jaxser), and the fraction of the measured
matrix peak. They are medians of turns.

In the forward pass of Whisper both models get 30 s, the only length that transformers accepts.
jaxser also accepts shorter input; the last figure is for --seconds. With --train both get
--seconds (PyTorch's positions are cut). A step is complete: the transformer and an emotion head
are trained with AdamW, and jaxser trains changes to the weights. The convolutions that make
frames are not trained.
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
WARM_UP_RUNS = 2


def read_config(options) -> dict:
    """Returns the folder's config.json."""
    with open(os.path.join(options.folder, 'config.json')) as file:
        return json.load(file)


def random_input(options) -> np.ndarray:
    """Returns noise in the form of the encoder's input: samples, or log-mel."""
    config = read_config(options)
    if config['model_type'] == 'whisper':
        frames = 2 * config.get('max_source_positions', 1500)
        if options.train:
            frames = round(100 * options.seconds)
        shape = (options.batch, frames, config.get('num_mel_bins', 80))
    else:
        shape = (options.batch, round(16_000 * options.seconds))
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def make_torch_model(options, x: np.ndarray):
    """Returns PyTorch's encoder without dropout, and the width of its states."""
    import transformers
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = transformers.AutoConfig.from_pretrained(options.folder)
    config.apply_spec_augment = False
    for key in config.to_dict():  # jaxser's encoders drop neither units nor layers
        if key.endswith(('dropout', 'layerdrop')):
            setattr(config, key, 0.0)
    if config.model_type == 'whisper':
        config.max_source_positions = x.shape[1] // 2
        return WhisperEncoder(config), config.d_model
    return transformers.AutoModel.from_config(config), config.hidden_size


def make_torch_turn(options, device: str):
    """Returns a function that runs PyTorch's forward pass or training step."""
    import torch

    x = random_input(options)
    model, width = make_torch_model(options, x)
    if x.ndim == 3:  # Whisper's log-mel, of which PyTorch wants the bands first
        x = x.transpose(0, 2, 1).copy()
    model = model.to(device)
    x = torch.from_numpy(x).to(device)
    head = torch.nn.Linear(width, EMOTIONS).to(device)
    emotion_B = torch.arange(options.batch, device=device) % EMOTIONS
    for name, weight in model.named_parameters():
        weight.requires_grad_(not name.startswith(('conv', 'feature_extractor', 'embed_positions')))
    trained = [w for w in (*model.parameters(), *head.parameters()) if w.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-5)
    if options.compile:
        model = torch.compile(model)
    model.train(options.train)
    autocast = torch.autocast(device, torch.bfloat16, enabled=options.bfloat16)

    def step():
        with autocast:
            scores = head(model(x).last_hidden_state.mean(1))
            loss = torch.nn.functional.cross_entropy(scores, emotion_B)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 5.0)
        optimiser.step()

    @torch.no_grad()
    def forward():
        with autocast:
            model(x)

    return step if options.train else forward


def torch_child(pipe, options) -> None:
    """Times PyTorch's turns on request. It is a process of its own, with its own thread pool."""
    import torch
    import transformers

    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    torch.set_float32_matmul_precision('high')  # TF32 on a GPU, as is JAX's default
    turn = make_torch_turn(options, device)

    def run() -> float:
        began = time.perf_counter()
        turn()
        if device == 'cuda':
            torch.cuda.synchronize()
        return time.perf_counter() - began

    for _ in range(WARM_UP_RUNS):
        run()
    mode = f'{device}, compiled' if options.compile else device
    pipe.send(f'torch {torch.__version__}, transformers {transformers.__version__}, {mode}')
    while pipe.recv():
        pipe.send(run())


def make_timer(compiled, *arguments):
    """Returns a function that calls `compiled` and returns its seconds.

    What `compiled` returns is its first argument of the next call.
    """
    import jax

    state, *rest = jax.device_put(arguments)

    def run() -> float:
        nonlocal state
        began = time.perf_counter()
        state = jax.block_until_ready(compiled(state, *rest))
        return time.perf_counter() - began

    for _ in range(WARM_UP_RUNS):
        run()
    return run


def count_operations(function, *arguments) -> float:
    """Returns the floating-point operations of a function, as the CPU's compiler counts them."""
    import jax

    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arguments)
    with jax.default_device(jax.devices('cpu')[0]):
        return jax.jit(function).lower(*shapes).cost_analysis()['flops']


def product_dtype(options):
    """Returns the type of the factors of products."""
    import jax.numpy as jnp

    return jnp.bfloat16 if options.bfloat16 else jnp.float32


def make_forward(options, encoder, x: np.ndarray):
    """Returns a timer of the forward pass, and its operations."""
    import jax

    from jaxser.pretrained.transformer import ComputeOptions

    length_B = np.full(len(x), x.shape[1], np.int32)
    module = encoder.module.clone(options=ComputeOptions(product_dtype(options)))

    def last_state(params, x, length_B):
        return module.apply({'params': params}, x, length_B)[0][-1]

    compiled = jax.jit(last_state)

    def forward(params, x, length_B):
        jax.block_until_ready(compiled(params, x, length_B))
        return params

    timer = make_timer(forward, encoder.params, x, length_B)
    return timer, count_operations(last_state, encoder.params, x, length_B)


def training_batch(encoder, x: np.ndarray) -> dict:
    """Returns the batch of a training step whose input is x."""
    from data_pipelines.features.upstream import HOP_SAMPLES

    mel_BxTxM = x
    if encoder.input_kind != 'mel':
        samples = x.shape[1] // HOP_SAMPLES * HOP_SAMPLES
        mel_BxTxM = x[:, :samples].reshape(len(x), -1, HOP_SAMPLES)
    B, T, M = mel_BxTxM.shape
    return {
        'mel_BxTxM': mel_BxTxM.astype(np.float16),
        'frames_B': np.full(B, T, np.int32),
        'mean_BxM': np.zeros((B, M), np.float32),
        'scale_BxM': np.ones((B, M), np.float32),
        'emotion_B': np.arange(B, dtype=np.int32) % EMOTIONS,
        'labelled_B': np.ones(B, np.float32),
        'target_B': np.zeros(B, np.float32),
        'frozen': encoder.params,
    }


def training_hyper() -> dict:
    """Returns the hyper-parameters of a training step, as arrays."""
    import jax.numpy as jnp

    values = {'lr': 1e-3, 'weight_decay': 1e-2, 'dropout': 0.1, 'time_mask': 0.0, 'band_mask': 0.0}
    hyper = {key: jnp.float32(value) for key, value in values.items()}
    hyper['seed'] = jnp.int32(0)
    hyper['fold'] = jnp.int32(0)
    return hyper


def make_training(options, encoder, x: np.ndarray):
    """Returns a timer of a plain training step through `fine_tuned`, and its operations."""
    import jax

    from configs import base
    from jaxser import plugins
    from jaxser.interfaces import Sizes
    from jaxser.training.step import make_step

    config = base.get_config()
    config.method = 'erm'
    config.model.name = 'fine_tuned'
    config.model.upstream = options.folder
    config.model.lora = options.lora
    config.model.bfloat16 = options.bfloat16
    batch = training_batch(encoder, x)
    bands = batch['mel_BxTxM'].shape[2]
    sizes = Sizes(bands, EMOTIONS, {'speaker': 2, 'language': 2, 'corpus': 2}, 1000)
    step = make_step(*plugins.make_method(config, sizes), sizes, config.train)
    hyper = training_hyper()

    def update(state, batch, hyper):
        return step.update(state, batch, hyper)[0]

    state = jax.jit(step.init)(hyper)
    flops = count_operations(update, state, batch, hyper)  # before the state is donated
    return make_timer(jax.jit(update, donate_argnums=0), state, batch, hyper), flops


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('folder', metavar='FOLDER')
    add('--train', action='store_true', help='a step of fine-tuning in place of the forward pass')
    add('--lora', type=int, default=0, help='with --train, the rank of adapters; PyTorch has none')
    add('--bfloat16', action='store_true', help='products of bfloat16; in PyTorch, autocast')
    add('--compile', action='store_true', help='run PyTorch with torch.compile')
    add('--batch', type=int, default=4)
    add('--seconds', type=float, default=4.0)
    add('--repeats', type=int, default=7)
    add('--square', type=int, default=2048, help='size of the matrix product for the peak')
    return parser


def start_torch(options):
    """Starts PyTorch's process; returns its pipe and the versions of its libraries."""
    context = multiprocessing.get_context('spawn')
    pipe, end = context.Pipe()
    context.Process(target=torch_child, args=(end, options), daemon=True).start()
    end.close()  # so that recv fails if the process ends
    try:
        return pipe, pipe.recv()
    except EOFError:
        raise SystemExit("PyTorch's process ended; its error is above.") from None


def take_turns(options, timers: dict, pipe) -> dict[str, list[float]]:
    """Runs jaxser's timers and PyTorch in turns; returns the seconds of each."""
    seconds = {name: [] for name in (*timers, 'torch')}
    for _ in range(options.repeats):
        for name, timer in timers.items():
            seconds[name].append(timer())
        pipe.send(True)
        seconds['torch'].append(pipe.recv())
    pipe.send(False)
    return seconds


def measure(options, pipe) -> dict:
    """Returns the facts and figures of the comparison."""
    import jax

    from jaxser.pretrained.encoder import read_encoder

    encoder = read_encoder(options.folder)
    x = random_input(options)
    make = make_training if options.train else make_forward
    timer, flops = make(options, encoder, x)
    square = jax.random.normal(
        jax.random.key(0), (options.square, options.square), product_dtype(options)
    )
    product = make_timer(jax.jit(lambda a: a @ a / options.square**0.5), square)
    timers = {'jaxser': timer, 'product': lambda: min(product() for _ in range(4))}
    if encoder.input_kind == 'mel' and not options.train:
        timers['short'], _ = make_forward(options, encoder, x[:, : round(100 * options.seconds)])
    seconds = take_turns(options, timers, pipe)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = np.array(seconds['torch']) / np.array(seconds['jaxser'])
    peak = 2 * options.square**3 / median['product']
    facts = {
        'model': f'{encoder.config["model_type"]} {encoder.state_count - 1}x{encoder.width}',
        'what': 'training step' if options.train else 'forward pass',
        'kind': product_dtype(options).__name__,
        'batch': options.batch,
        'input_shape': list(x.shape[1:]),
        'ms': round(1000 * median['jaxser'], 1),
        'torch_ms': round(1000 * median['torch'], 1),
        'ratio': round(float(np.median(ratios)), 2),
        'fraction_of_peak': round(flops / median['jaxser'] / peak, 3),
        'peak_gflops': round(peak / 1e9),
        'device': str(jax.devices()[0].device_kind),
    }
    if 'short' in median:
        facts[f'ms_of_{options.seconds:g}_s'] = round(1000 * median['short'], 1)
    return facts


def main() -> None:
    """Parses the command line and prints one JSON object."""
    options = make_parser().parse_args()
    pipe, torch_versions = start_torch(options)
    import jax

    facts = measure(options, pipe)
    python = platform.python_version()
    facts['machine'] = f'{platform.machine()}, {os.cpu_count()} cores, Python {python}'
    facts['versions'] = f'jax {jax.__version__}, {torch_versions}'
    print(json.dumps(facts))


if __name__ == '__main__':
    main()
