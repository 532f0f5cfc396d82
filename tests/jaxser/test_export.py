"""The exported folder: whoever loads it, with jaxser, with JAX alone or with TensorFlow alone, gets what jaxser.predict says."""

import ast
import contextlib
import errno
import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import soundfile
import yaml
from helpers import tiny_config

import jaxser
from data_pipelines.errors import UserError
from data_pipelines.features import decode, log_mel
from jaxser import distributed, export, methods, plugins
from jaxser.analysis import bootstrap, finished
from jaxser.analysis.finished import SweepAnalysis
from jaxser.interfaces import Sizes
from jaxser.runs import SYNTHETIC_WARNING
from jaxser.serving import bundling, model_card, predictor, stablehlo
from jaxser.serving.model import MODEL_FILES, Model, read_model
from jaxser.training import step

ROOT = Path(__file__).parent.parent.parent
METHODS = sorted(
    p.stem for p in Path(methods.__path__[0]).glob('*.py') if '\ndef make(config' in p.read_text()
)
SHAPES = ((1, 1), (3, 7), (2, 150))  # B, T
BANDS = 64
NAMES = ['mel_BxTxM', 'frames_B']


@pytest.fixture(scope='module')
def exported(swept, tmp_path_factory) -> Path:
    """The folder of a sweep's model, TensorFlow's too, and in it a file to be heard and its features."""
    path = export.export_model(
        swept, tmp_path_factory.mktemp('exported') / 'new' / 'model', saved_model=True
    )
    t = np.arange(22_050 * 2) / 22_050
    noise = 0.01 * np.random.default_rng(0).normal(size=t.size)
    left = 0.2 * np.sin(2 * np.pi * 190 * t) * (1 + np.sin(2 * np.pi * 9 * t)) + noise
    soundfile.write(path / 'speech.wav', np.stack([left, 0.5 * left], 1), 22_050)
    wave = decode.to_mono(*soundfile.read(path / 'speech.wav', dtype='float32'), log_mel.LogMel())
    np.save(path / 'mel.npy', log_mel.compute_log_mel(wave, log_mel.LogMel()))
    return path


def answer(path: Path) -> dict[str, float]:
    """What jaxser.predict says of the file."""
    return jaxser.load(path).predict(*soundfile.read(path / 'speech.wav', dtype='float32'))[
        'posterior'
    ]


def batches_of(shapes=SHAPES) -> dict[str, np.ndarray]:
    """Features of utterances of several lengths, with garbage beyond their ends."""
    random, made = np.random.default_rng(1), {}
    for n, (B, T) in enumerate(shapes):
        mel_BxTxM, frames_B = (
            random.normal(-8, 3, (B, T, BANDS)).astype(np.float16),
            np.int32(random.integers(1, T + 1, B)),
        )
        for b, frames in enumerate(frames_B):
            mel_BxTxM[b, frames:] = (np.nan, 1e4, -1e4)[b]
        made |= {f'mel_{n}': mel_BxTxM, f'frames_{n}': frames_B}
    return made


def wanted(model: predictor.Predictor, made: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What jaxser.predict says of each of their utterances, without its garbage."""
    pairs = [(made[f'mel_{n}'], made[f'frames_{n}']) for n in range(len(made) // 2)]
    return [np.stack(model._predict_posteriors([x[:f] for x, f in zip(*pair)])) for pair in pairs]


def fresh(code: str, cwd: Path) -> str:
    """What a new Python prints, which finds jaxser nowhere but where it is installed."""
    environment = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'} | {
        'JAX_NUM_CPU_DEVICES': '1'
    }
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def snippets(path: Path) -> list[str]:
    """The code on the card."""
    return re.findall(r'```python\n(.*?)```', (path / 'README.md').read_text(), re.DOTALL)


SHAPED = """
import sys

made = np.load('batches.npz')
np.savez('found.npz', *(program.call(made[f'mel_{n}'], made[f'frames_{n}']) for n in range(len(made) // 2)))
loaded = {m.partition('.')[0] for m in sys.modules}
assert not loaded & {'flax', 'jaxser', 'data_pipelines', 'tensorflow', 'safetensors', 'librosa'}, loaded
print(program.platforms)
"""


def test_a_fresh_python_with_jax_alone_says_what_predict_says(exported):
    """The card's snippet from features, then any number of utterances and frames through its one program.

    What lies beyond their ends is not heard, were it NaN.
    """
    np.savez(exported / 'batches.npz', **(made := batches_of()))
    said, platforms = map(
        ast.literal_eval, fresh(snippets(exported)[2] + SHAPED, exported).splitlines()
    )
    assert said == pytest.approx(answer(exported), abs=1e-5)
    assert platforms == ('cpu', 'cuda', 'rocm', 'tpu')
    assert (
        b'StableHLO_v0.9.0' in (exported / model_card.PROGRAM_FILE).read_bytes()
    )  # which older releases read too
    found = np.load(exported / 'found.npz')
    for (B, _), p_BxC, want_BxC in zip(
        SHAPES, found.values(), wanted(jaxser.load(exported), made), strict=True
    ):
        assert p_BxC.shape == (B, 2)
        np.testing.assert_allclose(p_BxC, want_BxC, atol=1e-5)


def test_a_card_does_not_say_where_a_checkpoint_lay():
    """Nor anything else of the command, whatever the folder's name."""
    said = "python -m jaxser.main --config=configs/gat_tap_whisper_emodb.py {} --workdir='runs of mine'"
    for folder in (
        '--config.model.upstream=whisper',
        "'--config.model.upstream=/home/me/whisper tiny'",
    ):
        assert model_card.anonymize_command(said.format(folder)) == shlex.join(
            shlex.split(said.format('--config.model.upstream=FOLDER'))
        )


def test_the_folder_is_a_model_to_jaxser(exported, swept):
    """Its files are the sweep's to the byte, and its answers to the bit."""
    for name in MODEL_FILES:
        assert (exported / name).read_bytes() == (swept / 'model' / name).read_bytes()
    assert (
        answer(exported)
        == jaxser.load(swept).predict(*soundfile.read(exported / 'speech.wav'))['posterior']
    )


def test_the_card_runs_with_jaxser(exported, monkeypatch):
    """The first snippet."""
    monkeypatch.chdir(exported)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(snippets(exported)[0], {})
    assert ast.literal_eval(said.getvalue()) == answer(exported)


def test_the_card_runs_with_jax_and_librosa(exported):
    """From a stereo file of another rate: its features are those of prepare."""
    nothing_else = "\nimport sys; assert not {'flax', 'jaxser', 'tensorflow'} & {*sys.modules}"
    found = ast.literal_eval(fresh(snippets(exported)[1] + nothing_else, exported))
    assert found == pytest.approx(answer(exported), abs=1e-5)


def test_tensorflow_alone_says_what_predict_says(exported):
    """The card's snippet, and other numbers of utterances and frames, where JAX cannot be imported."""
    np.savez(exported / 'others.npz', **(made := batches_of(((3, 7), (1, 40)))))
    more = """
made = np.load('others.npz')
for n in range(2):
    found = posterior(mel_BxTxM=made[f'mel_{n}'], frames_B=made[f'frames_{n}'])
    print(found['posterior_BxC'].numpy().tolist())
"""
    lines = fresh(
        "import sys\nsys.modules['jax'] = None\n" + snippets(exported)[3] + more, exported
    ).splitlines()
    first, *others = map(ast.literal_eval, lines)
    assert first == pytest.approx(answer(exported), abs=1e-5)
    for p_BxC, want_BxC in zip(others, wanted(jaxser.load(exported), made), strict=True):
        np.testing.assert_allclose(p_BxC, want_BxC, atol=1e-5)


SIZES = Sizes(BANDS, 2, {'speaker': 3, 'language': 2, 'corpus': 2}, 4)


def untrained(runs: int = 2, **keys) -> tuple[step.Step, dict, dict]:
    """The step, the configuration and the arrays of a model, random, and as if trained: no statistic is what it began as."""
    config = tiny_config.get_config()
    config.update_from_flattened_dict({'model.channels': (3, 4)} | keys)
    encoder, method = plugins.make_method(config, SIZES)
    one = step.make_step(encoder, method, SIZES, config.train)
    hyper = {
        'seed': np.arange(runs),
        'fold': np.zeros(runs, int),
        'weight_decay': np.zeros(runs),
        'lr': np.zeros(runs),
    }
    state, random = jax.eval_shape(jax.vmap(one.init), hyper), np.random.default_rng(0)
    arrays = {'params': state.params, 'batch_stats': state.batch_stats}
    made = jax.tree.map(lambda x: random.uniform(0.1, 0.9, x.shape).astype(np.float32), arrays)
    return one, config, made | {'params': jax.tree.map(lambda x: 4 * x - 2, made['params'])}


def model_of(config, arrays: dict) -> Model:
    facts = {
        'config': json.loads(config.to_json()),
        'classes': ['angry', 'sad'],
        'sizes': SIZES._asdict(),
        'versions': {},
    }
    return Model(
        facts | {'calibration': {'temperature': 1.7}, 'normalisation': '', 'synthetic': False},
        arrays,
    )


@pytest.mark.parametrize(
    ('keys', 'own', 'shape'),
    [
        ({'method': 'leace', 'model.batch_norm': 'domain'}, False, (3, 7)),
        ({'method': 'erm', 'model.name': 'cnn', 'model.batch_norm': 'none'}, True, (3, 5)),
        (
            {'method': 'speaker_norm', 'speaker_norm': 'snp', 'model.tdnn': ((5, 1, 1), (3, 2, 3))},
            True,
            (2, 1),
        ),
    ],
    ids=['domain, by the utterance', 'none, global, cnn', 'joint, global, strides'],
)
def test_every_kind_of_network_takes_any_shape(keys, own, shape):
    """Strides, BatchNorm's sides, layers and erasers; features normalised by themselves or by each run's own statistics."""
    _, config, arrays = untrained(**keys)
    if own:
        arrays |= {
            'mean': np.float32([[-8.0] * BANDS, [-6.0] * BANDS]),
            'scale': np.float32([[0.3] * BANDS, [0.2] * BANDS]),
        }
    model = model_of(config, arrays)
    program = jax.export.deserialize(stablehlo.export_program(model).serialize())
    made = batches_of([shape])
    p_BxC, (want_BxC,) = program.call(*made.values()), wanted(predictor.Predictor(model), made)
    np.testing.assert_allclose(p_BxC, want_BxC, atol=1e-5)
    assert np.ptp(np.asarray(p_BxC)[:, 0]) > 1e-3  # they are answers to what was heard


def test_what_training_did_not_normalise_is_not_normalised():
    """By no utterance of its own either: as if each run had a mean of 0 and a scale of 1."""
    _, config, arrays = untrained(**{'model.name': 'cnn'})
    facts, made = model_of(config, arrays).metadata, batches_of(((2, 7),))
    none = {'mean': np.zeros((2, BANDS), np.float32), 'scale': np.ones((2, BANDS), np.float32)}
    (want,) = wanted(predictor.Predictor(Model(facts, arrays | none)), made)
    (found,) = wanted(predictor.Predictor(Model(facts | {'normalisation': 'none'}, arrays)), made)
    (other,) = wanted(predictor.Predictor(Model(facts, arrays)), made)
    np.testing.assert_allclose(found, want, atol=1e-6)
    assert np.abs(other - want).max() > 1e-3


def test_no_file_tells_where_it_was_made(exported, data):
    """Neither of the source, whose paths JAX writes into its programs, nor of the speech."""
    for file in (f for f in exported.rglob('*') if f.is_file()):
        for path in (ROOT, data, Path(sys.prefix)):
            assert str(path).encode() not in file.read_bytes(), file


def test_features_that_are_not_rounded_are_refused(exported):
    """In float32 they would have another answer."""
    program = jax.export.deserialize((exported / model_card.PROGRAM_FILE).read_bytes())
    with pytest.raises(ValueError, match='float16'):
        program.call(np.zeros((1, 5, BANDS), np.float32), np.int32([5]))


def only(tree, like):
    """The part of a tree that has its counterpart in another."""
    return {k: only(tree[k], x) for k, x in like.items()} if isinstance(like, dict) else tree


@pytest.mark.parametrize('name', [*METHODS, 'snp'])
def test_a_model_has_no_head_that_only_training_reads(name):
    """Predictions are by the same program from the same arrays, and nothing is left that is named after a domain."""
    keys = (
        {'method': 'speaker_norm', 'speaker_norm': 'snp'}
        if name == 'snp'
        else {'method': name, 'domain': 'speaker+language'}
    )
    one, _, arrays = untrained(**keys)
    left = bundling.required_arrays(one.predict, arrays, BANDS)
    names = lambda tree: {jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(tree)}  # noqa: E731
    assert not re.search('speaker|language|corpus', ' '.join(names(left)))
    assert {'encoder', 'emotion', *['layer'] * (name == 'snp')} <= {*left['params']}
    lost = {n for n in names(arrays) - names(left)}
    assert all(re.match(r"\['params'\]\['(speaker|language)'\]", n) for n in lost)
    jax.tree.map(np.testing.assert_array_equal, left, {k: only(arrays[k], left[k]) for k in left})
    batch = {'mel_BxTxM': np.zeros((3, 20, BANDS), np.float16), 'frames_B': np.int32([20, 3, 11])}
    batch |= {'target_B': np.ones(3, np.float32), 'mean_BxM': np.zeros((3, BANDS), np.float32)}
    batch |= {'scale_BxM': np.ones((3, BANDS), np.float32)}
    scores = jax.jit(
        lambda arrays: jax.vmap(
            lambda run: one.predict(run['params'], run['batch_stats'], batch)[1]
        )(arrays)
    )
    assert scores.lower(left).as_text() == scores.lower(arrays).as_text()


def test_a_sweeps_model_has_no_head_of_the_speakers(swept):
    """dann's adversary stays in the checkpoints."""
    assert {*read_model(swept).arrays['params']} == {'encoder', 'emotion'}


def test_the_model_knows_its_data(swept):
    """Whom it heard, and how much of it with the emotion; an utterance in no part does not count."""
    known = {
        'utterances': 48,
        'trained': 48,
        'speakers': 6,
        'languages': ['de', 'en'],
        'sexes': [],
        'styles': [],
    }
    assert read_model(swept).metadata['data'] == {'folder': known}
    columns = {
        'corpus': 'aaabbc',
        'speaker': 'xyyzwv',
        'language': ['de', 'de', 'fr', '', '', ''],
        'sex': 'fmmmmm',
    }
    text = {k: np.array([*v]) for k, v in columns.items()} | {
        'style': np.array(['acted', 'acted', 'natural', '', '', ''])
    }
    parts = {
        k: np.array(v, int)
        for k, v in {'train': [0], 'dev': [1], 'test': [3], 'adapt': [4], 'identity': []}.items()
    }
    found = bundling.describe_data(
        SimpleNamespace(utterances=SimpleNamespace(text=text), folds=[SimpleNamespace(**parts)])
    )
    assert found['a'] == {
        'utterances': 2,
        'trained': 1,
        'speakers': 2,
        'languages': ['de'],
        'sexes': ['f', 'm'],
        'styles': ['acted'],
    }
    assert found['b'] == {
        'utterances': 2,
        'trained': 0,
        'speakers': 2,
        'languages': [],
        'sexes': ['m'],
        'styles': [],
    }
    assert {*found} == {'a', 'b'}


def rows(text: str) -> dict[str, list[str]]:
    """The tables of a card, by the first of their cells that is no number."""
    lines = [
        re.split(r' (?<!\\)\| ', line.strip('| '))
        for line in text.splitlines()
        if line.startswith('| ')
    ]
    return {line[0]: [c.strip(' |') for c in line[1:]] for line in lines}


def test_the_card_says_what_the_results_say(exported, swept):
    """Figures, intervals, recalls, groups and the split; the head is YAML."""
    text, results = (
        (exported / 'README.md').read_text(),
        json.loads((swept / 'results.json').read_text()),
    )
    best = max(results['summary'], key=lambda r: r['dev_uar'])
    of = rows(text)
    assert of['UAR (mean recall over classes), folds pooled'][0] == f'{best["uar"]:.3f}'
    assert of['UAR (mean recall over classes), folds pooled'][1] == '[{:.3f}, {:.3f}]'.format(
        *best['uar_ci95']
    )
    assert of['UAR, mean over folds'][0] == f'{best["uar_folds"]:.3f}'
    assert of['accuracy, folds pooled'][0] == f'{best["wa"]:.3f}'
    assert of['macro-F1, folds pooled'][0] == f'{best["f1"]:.3f}'
    for n, c in enumerate(results['classes']):
        said = best['confusion'][n]
        assert of[c] == [str(sum(said)), f'{said[n] / sum(said):.3f}']
    for word in (
        results['split_sha256'],
        '6 tested speakers',
        '1 seed; chance is 0.500',
        'python -m jaxser.main',
        'lam = ',
        'trained on folder',
    ):
        assert word in text
    assert (
        f'temperature of {read_model(swept).metadata["calibration"]["temperature"]:.3f}, fitted'
        in text
    )
    known = yaml.safe_load(text.split('---\n')[1])
    assert known['language'] == ['de', 'en']
    assert known['pipeline_tag'] == 'audio-classification'
    assert 'license' not in known


def test_the_worst_group_is_named():
    """By the UAR of its speakers together; a kind of one group is none, and speakers are named without a row each."""
    right_SxC = np.array([[4, 4], [3, 2], [1, 2], [4, 0]])  # of 4 and 4
    count_ZxSxCxC = np.zeros((1, 4, 2, 2), int)
    count_ZxSxCxC[0, :, [0, 1], [0, 1]], count_ZxSxCxC[0, :, [0, 1], [1, 0]] = (
        right_SxC.T,
        4 - right_SxC.T,
    )
    kinds = {
        'corpus': {'one': 'abcd'},
        'language': {'de': 'ab', 'fr': 'cd'},
        'sex': {'female': 'bc', 'male': 'a'},
    }
    kinds['speaker'] = {s: s for s in 'abcd'}
    groups = {
        k: {g: np.isin([*'abcd'], [*some]) for g, some in found.items()}
        for k, found in kinds.items()
    }
    of = SimpleNamespace(confusion_counts=lambda row: count_ZxSxCxC, speaker_groups=groups.get)
    text = model_card.groups_section(of, {'uar': 0.6})
    assert text.startswith(
        'Worst of each kind: language fr (0.438); sex female (0.500); speaker c (0.375).'
    )
    assert {k: v[:3] for k, v in rows(text).items()} == {
        'group': ['speakers', 'UAR, folds pooled', '95 %'],
        '---': ['---'] * 3,
    } | {
        'language': ['**fr**', '2', '0.438'],
        'sex': ['male', '1', '1.000'],
    }
    assert '| language | de | 2 | 0.812 |  |' in text
    assert '| sex | **female** | 2 | 0.500 |  |' in text


def changed(swept: Path, **keys) -> Model:
    facts, arrays = read_model(swept)
    return Model(facts | keys, arrays)


def test_synthetic_speech_says_so_first(swept):
    """Right under the title, and as the first of the limits."""
    known = read_model(swept).metadata['data']['folder']
    said = model_card.render_card(changed(swept, corpora=['demo'], data={'demo': known}), None)
    assert said.split('\n\n')[2] == f'**{SYNTHETIC_WARNING}**'
    assert said.split('## Limits\n\n- ')[1].startswith(SYNTHETIC_WARNING)
    assert SYNTHETIC_WARNING not in model_card.render_card(changed(swept), None)


def test_a_model_of_both_kinds_of_speech_says_which_part_is_synthetic(swept):
    """Speech of people beside the demo: the card does not call all of it synthetic."""
    known = read_model(swept).metadata['data']['folder']
    said = model_card.render_card(
        changed(swept, corpora=['demo', 'emodb'], data={'demo': known, 'emodb': known}), None
    )
    assert '**Partly synthetic speech (eSpeak NG, demo)' in said
    assert SYNTHETIC_WARNING not in said
    assert 'To try the software' not in said


def test_the_licence_of_a_corpus_is_its_files_and_of_a_list_nobodys(swept):
    """A CSV may call its corpus what it will, even with a bar in the name."""
    known = {
        'utterances': 9,
        'trained': 8,
        'speakers': 7,
        'languages': ['de'],
        'sexes': ['female'],
        'styles': ['acted'],
    }
    said = model_card.render_card(changed(swept, corpora=['emodb'], data={'emodb': known}), None)
    assert rows(said)['EMO-DB'] == [
        '9',
        '8',
        '7 (female)',
        'de',
        'acted',
        'free for research',
        'http://emodb.bilderbar.info',
    ]
    assert 'what is acted is what emotions are taken to sound like' in said
    said = model_card.render_card(
        changed(swept, corpora=['folder'], data={'emodb': known, 'a|b\nc': known}), None
    )
    assert rows(said)['emodb, from a list of its own'][5] == 'not known to jaxser'
    assert '| a\\|b c, from a list of its own | 9 |' in said


def test_a_card_of_the_model_alone(swept):
    """Without the sweep there are its own figures, and no word of what it does not know."""
    text = model_card.render_card(read_model(swept), None)
    assert (
        rows(text)['macro-F1, folds pooled'][0] == f'{read_model(swept).metadata["row"]["f1"]:.3f}'
    )
    assert not re.search(r'## Groups|## What it still tells|plain training|\bNone\b(?!])', text)


@pytest.mark.parametrize(
    ('keys', 'said'),
    [
        ({'protocol.name': 'speaker_dependent'}, 'Tested speakers were trained on too'),
        ({'protocol.adapt': 'transductive'}, 'without its emotions (`adapt=transductive`)'),
        ({'protocol.name': 'source_target'}, 'which this model is, has not been tested'),
        ({'protocol.name': 'speaker_folds'}, 'every speaker trained some of them'),
    ],
    ids=str,
)
def test_the_limits_follow_from_the_protocol(swept, keys, said):
    """And nothing else says so."""
    model = changed(swept)
    for key, value in keys.items():
        name, key = key.split('.')
        model.metadata['config'][name][key] = value
    assert said in model_card.render_card(model, None)
    assert (said in model_card.render_card(changed(swept), None)) == (
        keys == {'protocol.name': 'speaker_folds'}
    )


def test_a_leak_and_an_inert_adversary_are_told(swept):
    """What the page warns of, the card warns of."""
    of = SweepAnalysis(finished.read_finished_sweep(swept))
    row = of.rows[0] | {'adversary': {'inert': 2, 'balanced': 1}}
    of.results['audit'] = of.results['audit'] | {'leaks': ['speaker']}
    said = ' '.join(model_card.limitations(read_model(swept).metadata, of, row))
    assert 'A leak of speaker was allowed' in said
    assert 'inert in 2 runs' in said
    assert 'balanced' not in said


def test_leakage_is_what_the_probe_said(swept):
    """Beside chance and what the input tells."""
    of = SweepAnalysis(finished.read_finished_sweep(swept))
    told = {'linear': 0.7, 'mlp': 0.8, 'chance': 0.125, 'input': {'linear': 0.61}}
    said = model_card.leakage_section(of, of.rows[0] | {'probe': {'speaker': told}})
    assert re.search(r'tells the speaker .* 0\.700; chance is 0\.125, .* give 0\.610', said)
    assert 'Nobody has asked' in model_card.leakage_section(of, of.rows[0])


def test_intervals_that_cannot_be_given_are_missed(swept):
    """Fewer than six speakers, and runs of which every seed diverged."""
    facts = read_model(swept).metadata
    few = facts['row'] | {'uar_ci95': None, 'tested_speakers': 4}
    assert f'fewer than {bootstrap.MIN_SPEAKERS} speakers' in model_card.metrics_section(
        facts | {'row': few}, None, None
    )
    none = facts['row'] | dict.fromkeys(('uar', 'uar_ci95', 'wa', 'f1', 'uar_folds', 'dev_uar'))
    assert 'no figures' in model_card.metrics_section(facts | {'row': none}, None, None)


def refused(monkeypatch, capsys, *arguments) -> str:
    """What the command says where it ends with the status 2."""
    monkeypatch.setattr(sys, 'argv', ['export', *map(str, arguments)])
    monkeypatch.setattr(distributed, 'configure_jax', lambda: None)
    with pytest.raises(SystemExit, match='2'):
        export.main()
    said = capsys.readouterr()
    assert not said.out
    assert 'Traceback' not in said.err
    return said.err


def test_what_cannot_be_exported_is_refused_with_a_sentence(swept, tmp_path, monkeypatch, capsys):
    """No sweep, one that is not finished, a model of an earlier jaxser."""
    out = tmp_path / 'out'
    assert 'holds no model' in refused(
        monkeypatch, capsys, '--workdir', tmp_path / 'none', '--out', out
    )
    (tmp_path / 'begun').mkdir()
    (tmp_path / 'begun' / 'config.json').write_text('{}')
    assert 'python -m jaxser.bundle' in refused(
        monkeypatch, capsys, '--workdir', tmp_path / 'begun', '--out', out
    )
    facts = read_model(swept).metadata
    (tmp_path / 'old').mkdir()
    (tmp_path / 'old' / 'model.json').write_text(
        json.dumps({k: v for k, v in facts.items() if k != 'data'})
    )
    (tmp_path / 'old' / 'model.safetensors').write_bytes(
        (swept / 'model' / 'model.safetensors').read_bytes()
    )
    assert 'earlier jaxser' in refused(
        monkeypatch, capsys, '--workdir', tmp_path / 'old', '--out', out
    )
    assert not out.exists()


def test_a_place_that_cannot_be_written_is_refused_and_left_as_it_is(
    swept, tmp_path, monkeypatch, capsys
):
    """A folder with something in it, a file, a disk that is full; an empty folder will do."""
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'mine.txt').write_text('mine')
    for place in (tmp_path / 'full', tmp_path / 'full' / 'mine.txt'):
        assert 'there already' in refused(monkeypatch, capsys, '--workdir', swept, '--out', place)
    assert [p.name for p in tmp_path.rglob('*')] == ['full', 'mine.txt']
    assert 'mine.txt' in refused(
        monkeypatch, capsys, '--workdir', swept, '--out', tmp_path / 'full' / 'mine.txt' / 'deeper'
    )
    (tmp_path / 'empty').mkdir()
    with monkeypatch.context() as patched:
        broken = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        patched.setattr(Path, 'write_bytes', lambda *_, **__: (_ for _ in ()).throw(broken))
        assert 'No space left' in refused(
            patched, capsys, '--workdir', swept, '--out', tmp_path / 'empty'
        )
    assert sorted(p.name for p in tmp_path.rglob('*')) == ['empty', 'full', 'mine.txt']


def test_tensorflow_that_is_not_there_or_cannot_write_is_told(exported, tmp_path, monkeypatch):
    """Its errors are no OSErrors."""
    import tensorflow as tf

    program = jax.export.deserialize((exported / model_card.PROGRAM_FILE).read_bytes())
    with monkeypatch.context() as patched:
        broken = tf.errors.ResourceExhaustedError(None, None, 'No space left on device')
        patched.setattr(tf.saved_model, 'save', lambda *_, **__: (_ for _ in ()).throw(broken))
        with pytest.raises(UserError, match=r'cannot write .*: No space left'):
            stablehlo.save_for_tensorflow(program, NAMES, tmp_path / 'saved_model')
    monkeypatch.setitem(sys.modules, 'tensorflow', None)
    with pytest.raises(UserError, match='--saved_model needs TensorFlow'):
        stablehlo.save_for_tensorflow(program, NAMES, tmp_path / 'saved_model')


def test_an_export_can_be_exported_again(exported, tmp_path):
    """JAX reads its programs for half a year: the model makes a new one, into an empty folder too."""
    (tmp_path / 'again').mkdir()
    again = export.export_model(exported, tmp_path / 'again')
    assert sorted(p.name for p in again.iterdir()) == [
        'README.md',
        'model.json',
        'model.safetensors',
        model_card.PROGRAM_FILE,
    ]
    assert (again / model_card.PROGRAM_FILE).read_bytes() == (
        exported / model_card.PROGRAM_FILE
    ).read_bytes()
