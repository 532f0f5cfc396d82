"""Small pretrained encoders of every family with random weights, and the states that Hugging Face's
transformers computes with them.

  pip install torch transformers && PYTHONPATH=.:tests python tests/helpers/parity.py

writes parity.npz, the state of every layer for each input alone. The tests compare with it.
"""

import json
import sys
import zlib
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

FILE = Path(__file__).with_suffix('.npz')
SMALL = {
    'hidden_size': 16,
    'num_hidden_layers': 2,
    'num_attention_heads': 2,
    'intermediate_size': 24,
    'conv_dim': [8, 8, 8],
    'conv_stride': [5, 2, 2],
    'conv_kernel': [10, 3, 2],
    'num_conv_pos_embeddings': 8,
    'num_conv_pos_embedding_groups': 4,
}
LARGE = {
    'feat_extract_norm': 'layer',
    'do_stable_layer_norm': True,
    'conv_bias': True,
}  # as the large ones differ
NEAR = {'num_buckets': 16, 'max_bucket_distance': 24}  # so that all kinds of distances occur
CASES = {
    'wav2vec2 base': {'model_type': 'wav2vec2', **SMALL},
    'wav2vec2 large': {'model_type': 'wav2vec2', **SMALL, **LARGE},
    'hubert base': {'model_type': 'hubert', **SMALL},
    'hubert large': {'model_type': 'hubert', **SMALL, **LARGE, 'num_conv_pos_embeddings': 7},
    'hubert without a norm before the projection': {
        'model_type': 'hubert',
        **SMALL,
        'feat_proj_layer_norm': False,
    },
    'wavlm base': {'model_type': 'wavlm', **SMALL, **NEAR},
    'wavlm large': {'model_type': 'wavlm', **SMALL, **LARGE, **NEAR},
    'whisper': {
        'model_type': 'whisper',
        'd_model': 16,
        'encoder_layers': 2,
        'encoder_attention_heads': 2,
        'encoder_ffn_dim': 24,
        'num_mel_bins': 6,
        'max_source_positions': 20,
    },
}
NORMALISED = ('wav2vec2 large', 'hubert large')


def inputs(case: str) -> list[np.ndarray]:
    """Returns three waves (samples,) or three log-mels (frames, bands) of different lengths."""
    random = np.random.default_rng(0)
    if case == 'whisper':
        return [random.normal(size=(T, 6)).astype(np.float32) for T in (40, 26, 8)]
    return [(0.1 * random.normal(size=L) + 0.05).astype(np.float32) for L in (1200, 777, 90)]


def write(case: str, folder: Path) -> Path:
    """Writes the Hugging Face folder of a case and returns its path."""
    from jaxser.pretrained import checkpoint, encoder, wav2vec2, whisper

    config = CASES[case]
    (folder / 'config.json').write_text(json.dumps(config))
    (folder / 'preprocessor_config.json').write_text(
        json.dumps({'do_normalize': case in NORMALISED, 'sampling_rate': 16_000})
    )
    family = whisper if case == 'whisper' else wav2vec2
    _, shapes = encoder.build_module(family, family.CONFIG_DEFAULTS | config, folder)
    tensors = {}
    for path, parameter in shapes.items():
        name = encoder._tensor_name(path)
        shape = parameter.shape[::-1] if path[-1] == 'kernel' else parameter.shape
        random = np.random.default_rng(zlib.crc32(name.encode()))
        tensor = random.normal(size=shape).astype(np.float32)
        if path[-1] == 'scale':
            tensor = 1 + 0.1 * tensor
        else:
            tensor = tensor * (0.3 if len(shape) > 1 else 0.1)
        if 'pos_conv' in name and name.endswith('weight'):
            stem = f'{name.removesuffix("weight")}parametrizations.weight.original'
            tensors |= {
                f'{stem}0': np.float32(random.uniform(0.5, 1.5, (1, 1, shape[-1]))),
                f'{stem}1': tensor,
            }
        else:
            tensors[name] = tensor
    tensors['masked_spec_embed'] = np.zeros(16, np.float32)
    save_file(tensors, folder / checkpoint.WEIGHTS_FILE)
    return folder


def theirs(case: str, folder: Path) -> list[list[np.ndarray]]:
    """Returns every layer's state of each input alone, by transformers."""
    import torch
    import transformers
    from safetensors.torch import load_file

    config = CASES[case]
    class_names = {
        'wav2vec2': 'Wav2Vec2',
        'hubert': 'Hubert',
        'wavlm': 'WavLM',
        'whisper': 'Whisper',
    }
    class_name = class_names[config['model_type']]
    model_config = getattr(transformers, f'{class_name}Config')(**config)
    if case == 'whisper':
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        model = WhisperEncoder(model_config)
    else:
        model = getattr(transformers, f'{class_name}Model')(model_config)
    keys = model.load_state_dict(load_file(folder / 'model.safetensors'), strict=False)
    assert not keys.missing_keys, keys
    assert set(keys.unexpected_keys) <= {'masked_spec_embed'}, keys
    model.eval()
    states_of_inputs = []
    for x in inputs(case):
        if case == 'whisper':
            # transformers takes only inputs of 30 s: give it as many positions as this one has.
            positions = load_file(folder / 'model.safetensors')['embed_positions.weight']
            model.embed_positions = torch.nn.Embedding.from_pretrained(positions[: len(x) // 2])
            model.max_source_positions = model.config.max_source_positions = len(x) // 2
            x = x.T
        elif case in NORMALISED:
            x = (x - x.mean()) / np.sqrt(x.var() + 1e-7)
        with torch.no_grad():
            output = model(torch.from_numpy(x)[None], output_hidden_states=True)
        # The last state is the one after the final norm, if there is one.
        states = (*output.hidden_states[:-1], output.last_hidden_state)
        states_of_inputs.append([state[0].numpy() for state in states])
    return states_of_inputs


def main() -> None:
    """Writes parity.npz."""
    import tempfile

    arrays = {}
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            for n, states in enumerate(theirs(case, write(case, Path(folder)))):
                arrays[f'{case}/{n}'] = np.stack(states)
    np.savez_compressed(FILE, **arrays)
    print({k: v.shape for k, v in arrays.items()}, FILE.stat().st_size)


if __name__ == '__main__':
    sys.exit(main())
