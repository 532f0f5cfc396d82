"""The model card of an exported model: what it is for and what not, its data, figures, groups and limits, and how to run it.

All of it is derived from model.json and, where the finished sweep is at hand, from its results; what neither says is left out.
Markdown with a YAML head, as the Hugging Face Hub reads it.
"""

import json
import re
import shlex
from typing import NamedTuple

from data_pipelines import corpora
from data_pipelines.features import decode, log_mel
from data_pipelines.features.upstream import AUDIO_SPEC, HOP_SAMPLES, EncoderStates
from data_pipelines.wording import pluralize
from jaxser.analysis import bootstrap, summary
from jaxser.analysis.finished import SweepAnalysis
from jaxser.pretrained.encoder import SAMPLE_RATE, PretrainedEncoder
from jaxser.reporting.html import format_interval, format_number
from jaxser.reporting.page import ALARMING_VERDICTS, probed_domain
from jaxser.runs import SYNTHETIC_WARNING, format_value, method_name, synthetic_note
from jaxser.serving import predictor
from jaxser.serving.model import ENCODER_FOLDER, Model, is_fine_tuned

PROGRAM_FILE, SAVED_MODEL_FOLDER = 'posterior.stablehlo', 'saved_model'
UNSEEN_SPEAKER_PROTOCOLS = (
    'official',
    'source_target',
)  # protocols whose tested speakers are in no fold's training part
UNINTENDED_USE = """\
- Decisions about people: hiring, marking, policing, insurance, diagnosis, credit or anything like them. What somebody's voice
  sounds like to others is no evidence of what they feel. In the European Union, inferring emotions at work and in education is
  prohibited but for medical or safety reasons (Regulation (EU) 2024/1689, Article 5(1)(f)).
- Listening to people who have not agreed to it.
- Any use without a test on the speakers, recordings and language that it is meant for."""
LICENCE_NOTE = """\
The weights were learned from these recordings: whether and how they may be used and passed on is for the corpora's licences to
say. jaxser itself is Apache-2.0."""


def markdown_row(*values) -> str:
    """A row of a table; what comes from data cannot end its cell or its line."""
    return '| ' + ' | '.join(' '.join(str(v).replace('|', r'\|').split()) for v in values) + ' |'


def markdown_table(head: list[str], rows: list[list]) -> str:
    """A table."""
    return '\n'.join(
        [markdown_row(*head), markdown_row(*['---'] * len(head)), *(markdown_row(*r) for r in rows)]
    )


def join_words(words) -> str:
    """Words with commas."""
    return ', '.join(map(str, words))


def render_card(
    model: Model,
    analysis: SweepAnalysis | None,
    saved_model: bool = False,
    encoder: PretrainedEncoder | None = None,
) -> str:
    """The file; `analysis` is the sweep that made the model, where it is at hand, and `encoder` the upstream that is carried along."""
    facts = model.metadata
    row = (
        next(
            r
            for r in analysis.rows
            if all(r.get(k) == facts['row'].get(k) for k in analysis.setting_keys)
        )
        if analysis
        else None
    )
    parts = {
        '': introduction(facts),
        'Intended use': intended_use(facts),
        'Not intended': UNINTENDED_USE,
        'Data': data_section(facts, analysis),
        'Upstream': encoder_section(facts, encoder),
        'Figures': metrics_section(facts, analysis, row),
        'Groups': groups_section(analysis, row),
        'What it still tells of the speaker': leakage_section(analysis, row),
        'Calibration': calibration_section(facts),
        'Limits': '\n'.join(f'- {sentence}' for sentence in limitations(facts, analysis, row)),
        'How to run it': usage_section(facts, saved_model, encoder),
        'Versions': versions_section(facts, analysis),
    }
    body = '\n\n'.join(
        f'## {title}\n\n{body}' if title else body for title, body in parts.items() if body
    )
    return f'{yaml_header(facts, has_program(facts, encoder))}{body}\n'


def has_program(metadata: dict, encoder: PretrainedEncoder | None) -> bool:
    """Whether there is a program: changes of weights are none without the weights."""
    return encoder is not None or not is_fine_tuned(metadata)


def training_languages(metadata: dict) -> list[str]:
    """The languages of what the model was trained on, or else of all its data."""
    of = [c for c in metadata['data'].values() if c['trained']]
    return sorted({language for c in of for language in c['languages']})


def yaml_header(metadata: dict, program: bool) -> str:
    """What the Hub reads; without a licence, which is not ours to name, and without data sets, whose names are not the Hub's."""
    known = {
        'library_name': 'jaxser',
        'pipeline_tag': 'audio-classification',
        'language': training_languages(metadata),
    }
    known |= {
        'tags': [
            'speech-emotion-recognition',
            'audio-classification',
            'jax',
            *['stablehlo'] * program,
        ],
        'metrics': ['recall', 'accuracy', 'f1'],
    }
    lines = [f'{k}: {v if isinstance(v, str) else json.dumps(v)}' for k, v in known.items() if v]
    return '\n'.join(['---', *lines, '---', '', ''])


def introduction(metadata: dict) -> str:
    """What it is, in a paragraph; synthetic speech says so before anything else."""
    config, runs = metadata['config'], metadata['runs']
    method = method_name(config | metadata['row']).partition(',')[0]
    swept = [
        f'{k} = {format_value(v)}'
        for k, v in metadata['row'].items()
        if k not in summary.RESULT_KEYS and v is not None
    ]
    setting = join_words(s for s in swept if not s.startswith(('method =', 'speaker_norm =')))
    made = f'one network, trained by `{method}`'
    if len(runs) > 1:
        folds, seeds = (len({r[k] for r in runs}) for k in ('fold', 'seed'))
        made = f'the mean over {len(runs)} networks ({pluralize(folds, "fold")}, {pluralize(seeds, "seed")}), each trained by `{method}`'
    features = 'log-mel features'
    if states := encoder_states(metadata):
        features = f'the states of a frozen, pretrained {states.model} (`{states.name}`)'
        if is_fine_tuned(metadata):
            features = f'what a pretrained {states.model} hears, fine-tuned by each network,'
    body = (
        f'From an utterance of speech to a probability for each of {len(metadata["classes"])} emotions: {join_words(metadata["classes"])}. '
        f'It is {made}{f" ({setting})" * bool(setting)} with jaxser {metadata["versions"]["jaxser"]}: {features} into the '
        f'encoder `{config["model"]["name"]}`.'
    )
    note = synthetic_note(metadata)
    warning = [f'**{note}**'] if note else []
    return '\n\n'.join(
        [
            f'# Speech emotion recognition, trained on {join_words(metadata["corpora"])}',
            *warning,
            body,
        ]
    )


def intended_use(metadata: dict) -> str:
    """For whom it is."""
    if synthetic_note(metadata) == SYNTHETIC_WARNING:
        return 'To try the software. What it says of anybody means nothing.'
    languages = (
        f' in {join_words(training_languages(metadata))}' if training_languages(metadata) else ''
    )
    return (
        f'Research on speech emotion recognition, and comparison with other methods on the same split, of speech{languages} like '
        'that of the corpora below: it tells which of its classes an utterance would have been given there.'
    )


def encoder_states(metadata: dict) -> EncoderStates | None:
    """Of a model over a pretrained encoder, its states, which say what it is."""
    return EncoderStates.from_name(metadata['upstream']['name']) if 'upstream' in metadata else None


def encoder_section(metadata: dict, encoder: PretrainedEncoder | None) -> str:
    """Which pretrained encoder it hears by, and that its terms hold too."""
    if not (states := encoder_states(metadata)):
        return ''
    size, also = f'{pluralize(states.layers, "state")}, {states.width} wide', ''
    how = f'frozen: of {size}, {"the mean and the deviation over an utterance" if states.is_pooled else "every frame"}'
    where = (
        f'It is here: in `{PROGRAM_FILE}`, and in `{ENCODER_FOLDER}/`, its own tensors alone, for jaxser.'
        if encoder
        else 'It is not here: whoever runs the model from sound needs that checkpoint, as a Hugging Face folder.'
    )
    if is_fine_tuned(metadata):
        rank = metadata['config']['model']['lora']
        changes = f'of queries and values, of rank {rank}' if rank else 'of its whole transformer'
        how = f'fine-tuned ({size}): `model.safetensors` holds the changes of every network ({changes}), and not what they change'
        also = ', for the changed weights too'
    return (
        f'It hears by the encoder of a {states.model}, {how}. '
        f'Its weights have the sha256 {metadata["upstream"]["sha256"]} (of the SHA-256 digests of the files of its checkpoint), and '
        f'`python -m jaxser.upstream FOLDER` says that of a folder. {where}\n\nThe licence of that checkpoint holds beside those '
        f'above{also}; neither it nor the speech of its pretraining is known to jaxser: the recordings of the tested speakers '
        'may be among it.'
    )


def data_section(metadata: dict, analysis: SweepAnalysis | None) -> str:
    """What it heard, of whom, under whose licence, and how that was divided."""
    rows = []
    for name, c in metadata['data'].items():
        # A corpus that a CSV names is its maker's, whatever its name.
        known = (
            corpora.load_corpus(name) if name in metadata['corpora'] and name != 'folder' else None
        )
        sexes = f' ({join_words(c["sexes"])})' * bool(c['sexes'])
        rows.append(
            [
                known.title if known else f'{name}, from a list of its own',
                c['utterances'],
                c['trained'],
                f'{c["speakers"]}{sexes}',
                join_words(c['languages']) or 'not said',
                join_words(c['styles']) or 'not said',
                known.licence if known else 'not known to jaxser',
                known.homepage if known else '',
            ]
        )
    told = [
        markdown_table(
            [
                'corpus',
                'utterances',
                'trained on',
                'speakers',
                'language',
                'style',
                'licence',
                'from',
            ],
            rows,
        ),
        f'Labels: {metadata["labels"]} ({join_words(metadata["classes"])}). Protocol: {metadata["protocol"]}. "Trained on" counts what is in '
        'the training part of some fold, with its emotion.',
    ]
    if analysis:
        told[-1] += (
            f' Epoch: {analysis.results["selection"]}; setting: best dev UAR; test chose nothing.'
        )
    told.append(
        f'Features are normalised by `{metadata["normalisation"]}`. Split: sha256 {metadata["split_sha256"]}.'
    )
    return '\n\n'.join([*told, LICENCE_NOTE])


def metrics_section(metadata: dict, analysis: SweepAnalysis | None, row: dict | None) -> str:
    """How well it does."""
    r = row or metadata['row']
    lines = [
        [
            'UAR (mean recall over classes), folds pooled',
            format_number(r['uar']),
            format_interval(r['uar_ci95']),
        ],
        ['UAR, mean over folds', format_number(r['uar_folds']), ''],
        ['accuracy, folds pooled', format_number(r['wa']), ''],
        ['macro-F1, folds pooled', format_number(r['f1']), ''],
        ['UAR on dev, mean over folds', format_number(r['dev_uar']), ''],
    ]
    if row and row['delta_uar'] is not None:
        difference = (
            format_number(row['delta_uar'], '+z.3f'),
            format_interval(row['delta_ci95'], '+.3f'),
        )
        lines.insert(1, ['UAR minus that of plain training, folds pooled', *difference])
    if r['uar'] is None:
        return 'In every seed a run diverged: there are no figures.'
    told = [markdown_table(['on the test parts', '', '95 %'], lines)]
    sure = (
        'resample speakers'
        if r['uar_ci95']
        else f'are not given: fewer than {bootstrap.MIN_SPEAKERS} speakers'
    )
    tested = (
        f'{pluralize(r["tested_speakers"], "tested speaker")}, ' if r.get('tested_speakers') else ''
    )
    told.append(
        f'{tested}{pluralize(r["seeds"], "seed")}{f"; chance is {analysis.chance:.3f}" if analysis else ""}. Intervals {sure}.'
    )
    if len(metadata['runs']) > 1:
        told.append('These are the figures of the networks one by one, each on its own test part.')
        crossed = (
            len({r['fold'] for r in metadata['runs']}) > 1
            and metadata['config']['protocol']['name'] not in UNSEEN_SPEAKER_PROTOCOLS
        )
        told[-1] += ' The mean over them, which this model is, ' + (
            'cannot be tested on the same corpora: every speaker trained some of them.'
            if crossed
            else 'has not been tested.'
        )
    if row:
        recall = [
            [c, sum(said), format_number(said[n] / sum(said))]
            for n, (c, said) in enumerate(zip(analysis.classes, row['confusion']))
            if sum(said)
        ]
        told.append(markdown_table(['class', 'tested, over seeds', 'recall'], recall))
        told.append(f'```\n{anonymize_command(analysis.metadata["command"])}\n```')
    return '\n\n'.join(told)


def anonymize_command(command: str) -> str:
    """A command as others may read it: where a checkpoint lay here is nobody else's business."""
    words = (
        re.sub(r'^(--config\.model\.upstream=).*', r'\1FOLDER', word)
        for word in shlex.split(command)
    )
    return shlex.join(words)


def groups_section(analysis: SweepAnalysis | None, row: dict | None) -> str:
    """UAR by group, and who is served worst."""
    if not analysis or row['uar'] is None:
        return ''
    counts, lines, worst = analysis.confusion_counts(row), [], []
    for kind in ('corpus', 'language', 'sex', 'speaker'):
        found = {
            group: counts[:, there_S] for group, there_S in analysis.speaker_groups(kind).items()
        }
        if len(found) < 2:
            continue
        measured = {group: bootstrap.uar_estimate(some) for group, some in found.items()}
        low = min(measured, key=lambda g: measured[g].value)
        worst.append(f'{kind} {low} ({measured[low].value:.3f})')
        if kind != 'speaker':
            lines += [
                [
                    kind,
                    f'**{g}**' if g == low else g,
                    some.shape[1],
                    format_number(measured[g].value),
                    format_interval(measured[g].ci95),
                ]
                for g, some in found.items()
            ]
    if not worst:
        return 'There is one group only.'
    table = (
        [markdown_table(['', 'group', 'speakers', 'UAR, folds pooled', '95 %'], lines)]
        if lines
        else []
    )
    return '\n\n'.join([f'Worst of each kind: {"; ".join(worst)}. UAR: folds pooled.', *table])


def leakage_section(analysis: SweepAnalysis | None, row: dict | None) -> str:
    """What the representation still tells of the speaker, or of what was to be forgotten."""
    if not analysis:
        return ''
    domain, told = probed_domain(analysis, row)
    if not told:
        return 'Nobody has asked; `python -m jaxser.probe` does.'
    body = (
        f'A fresh linear classifier on the representation tells the {domain} with a mean recall of {told["linear"]:.3f}; chance '
        f'is {told["chance"]:.3f}, and the mean and spread of the input alone give {told["input"]["linear"]:.3f}. '
        'These are means over folds.'
    )
    if (
        analysis.plain_row
        and analysis.plain_row is not row
        and (before := probed_domain(analysis, analysis.plain_row)[1])
    ):
        body += f' After plain training it is {before["linear"]:.3f}.'
    return body + ' What a classifier does not find may still be there.'


def calibration_section(metadata: dict) -> str:
    """By what, and on what."""
    c = metadata['calibration']
    if not c['utterances']:
        return 'Not calibrated: there was no dev part.'
    return (
        f'Scores are divided by a temperature of {c["temperature"]:.3f}, fitted on what each network says of its own dev part '
        f'({pluralize(c["utterances"], "answer")}): the mean surprise at the truth falls from {c["nll_before"]:.3f} to {c["nll"]:.3f} '
        'nats. On other speakers, and of the mean over networks, calibration has not been measured.'
    )


def limitations(metadata: dict, analysis: SweepAnalysis | None, row: dict | None) -> list[str]:
    """What follows from the facts."""
    found, c, protocol = [], [*metadata['data'].values()], metadata['config']['protocol']
    warning = synthetic_note(metadata)
    if warning:
        found.append(warning)
    styles = sorted({s for corpus in c for s in corpus['styles']})
    if 'acted' in styles and warning != SYNTHETIC_WARNING:
        found.append(
            f'Its speech is {join_words(styles)}: what is acted is what emotions are taken to sound like.'
        )
    found.append(
        f'{pluralize(sum(x["speakers"] for x in c), "speaker")}, from {join_words(metadata["data"])}. The intervals are about other speakers '
        'recorded likewise, not about other rooms, microphones, languages or ways of speaking.'
    )
    languages = training_languages(metadata)
    found.append(
        f'It was trained on {join_words(languages)} only.'
        if languages
        else 'The language of its speech is not recorded.'
    )
    found.append(
        f'It answers {join_words(metadata["classes"][:-1])} or {metadata["classes"][-1]} whatever it hears: it has no word for anything '
        'else, nor for no speech at all.'
    )
    if protocol['name'] == 'speaker_dependent':
        found.append('Tested speakers were trained on too: of strangers less is to be expected.')
    if protocol['adapt'] != 'none':
        found.append(
            f'Training heard speech of the target without its emotions (`adapt={protocol["adapt"]}`).'
        )
    if metadata['normalisation'].startswith('speaker'):
        found.append(
            f'Training normalised by `{metadata["normalisation"]}`; the model has never met whom it hears now, and normalises by '
            'the utterance alone.'
        )
    if analysis:
        found += [
            f'A leak of {kind} was allowed: training has heard what is tested.'
            for kind in analysis.results['audit'].get('leaks', [])
        ]
        told = (row['adversary'] or {}).items()
        found += [
            f'The adversary was {word} in {pluralize(n, "run")}: {ALARMING_VERDICTS[word]}.'
            for word, n in told
            if word in ALARMING_VERDICTS
        ]
    spec, states = (
        AUDIO_SPEC
        if encoder_states(metadata)
        else log_mel.LogMel(**metadata['config']['data']['features']),
        encoder_states(metadata),
    )
    if states and states.model == 'whisper':
        heard = 'testing' if is_fine_tuned(metadata) else 'training'
        found.append(
            f'Of an utterance longer than its Whisper hears (as a rule 30 s) {heard} heard the beginning alone; `jaxser.predict` '
            'cuts nothing off.'
        )
    found.append(
        f'Sound is resampled to {spec.rate} Hz; it takes {decode.MIN_SECONDS:g} s or more. Of more than {predictor.MAX_UTTERANCE_SECONDS:g} s, '
        f'`jaxser.predict` answers by windows of {predictor.WINDOW_SECONDS:g} s and their mean; a program takes what it is given.'
    )
    return found


class InputDescription(NamedTuple):
    """What the program takes, in words and in code."""

    kind: str
    dtype: str
    array_name: str  # the name of the array of utterances
    length_name: str  # of their lengths
    variable_name: str  # of one utterance's array in the code
    variable_shape: str  # of that one
    length_limits: str = ''  # which lengths there may be
    extraction_code: str = ''  # the code that makes it from sound with librosa


def describe_input(metadata: dict, encoder: PretrainedEncoder | None) -> InputDescription:
    """Log-mel, an upstream's states, or what the carried upstream hears: as training did, a fine-tuned one in 16 bits."""
    mel, bits = ('mel_BxTxM', 'frames_B', 'mel_TxM'), 16 if is_fine_tuned(metadata) else 32
    if encoder and encoder.input_kind == 'wave':
        within = f', from {decode.MIN_SECONDS:g} s up'
        if is_fine_tuned(metadata):
            made = f"""\
wave, _ = librosa.load('speech.wav', sr={SAMPLE_RATE})
mel_TxM = wave[: len(wave) // {HOP_SAMPLES} * {HOP_SAMPLES}].reshape(-1, {HOP_SAMPLES}).astype(np.float16)"""
            return InputDescription(
                'samples of 16 kHz, a frame every 10 ms',
                'float16',
                *mel,
                f'(frames, {HOP_SAMPLES})',
                within,
                made,
            )
        made = f"""\
wave_L, _ = librosa.load('speech.wav', sr={SAMPLE_RATE})"""
        return InputDescription(
            'samples of 16 kHz',
            'float32',
            'wave_BxL',
            'samples_B',
            'wave_L',
            '(samples,)',
            within,
            made,
        )
    if encoder:
        bands = encoder.config['num_mel_bins']
        made = f"""\
wave, _ = librosa.load('speech.wav', sr={SAMPLE_RATE})
power_FxT = np.abs(librosa.stft(wave, n_fft=400, hop_length=160, pad_mode='reflect')[:, :-1]) ** 2
power_MxT = librosa.filters.mel(sr={SAMPLE_RATE}, n_fft=400, n_mels={bands}) @ power_FxT
log_MxT = np.log10(np.maximum(power_MxT, 1e-10))
mel_TxM = ((np.maximum(log_MxT, log_MxT.max() - 8) + 4) / 4).T.astype(np.float{bits})"""
        within = f', up to {100 * encoder.max_seconds:.0f} frames ({encoder.max_seconds:g} s)'
        return InputDescription(
            "Whisper's log-mel", f'float{bits}', *mel, f'(frames, {bands})', within, made
        )
    if states := encoder_states(metadata):
        return InputDescription(
            "the upstream's states", 'float16', *mel, f'(frames, {states.bands})'
        )
    spec = log_mel.LogMel(**metadata['config']['data']['features'])
    lengths = (
        f'n_fft={spec.fft_length}, win_length={spec.window_length}, hop_length={spec.hop_length}'
    )
    bands = f'n_mels={spec.bands}, fmin={spec.low}, fmax={spec.high}'
    made = f"""\
wave, _ = librosa.load('speech.wav', sr={spec.rate})
power_MxT = librosa.feature.melspectrogram(
    y=wave, sr={spec.rate}, {lengths}, {bands}
)
mel_TxM = np.log(np.maximum(power_MxT.T, {spec.floor})).astype(np.float16)"""
    return InputDescription(
        'log-mel features', 'float16', *mel, f'(frames, {spec.bands})', '', made
    )


def usage_section(
    metadata: dict, saved_model: bool, encoder: PretrainedEncoder | None = None
) -> str:
    """The ways to run it, each complete."""
    states, (kind, dtype, what, length, heard, shape, within, made) = (
        encoder_states(metadata),
        describe_input(metadata, encoder),
    )
    read = f"""\
with open('{PROGRAM_FILE}', 'rb') as file:
    program = jax.export.deserialize(file.read())"""
    file = f'{heard.partition("_")[0]}.npy'
    answer = f"""\
(posterior_C,) = program.call({heard}[None], np.array([len({heard})], np.int32))
print(dict(zip({metadata['classes']}, posterior_C.tolist())))"""
    named = states is not None and not encoder
    told = f"""\
With jaxser, from this folder (or `python -m jaxser.predict --workdir .{' --upstream FOLDER' * named} speech.wav`); `pip install
PATH` installs it from a checkout of its repository, at best of the commit below:

```python
import jaxser
import soundfile

model = jaxser.load('.'{", upstream='FOLDER'" * named})
print(model.predict(*soundfile.read('speech.wav', dtype='float32'))['posterior'])
```

"""
    if not has_program(metadata, encoder):
        told += """\
FOLDER is that of the checkpoint. There is no program here, as it would hold the weights of that checkpoint: where its licence
allows a copy, `python -m jaxser.export --workdir . --out ANEW --carry_upstream --upstream FOLDER` writes one (keep this card:
without the sweep at hand it will know less)."""
        return told
    if named:
        told += f"""\
The program takes the states of the upstream, which jaxser computes too; the folder is that of its checkpoint:

```python
import librosa
import numpy as np
from jaxser import upstream

wave, _ = librosa.load('speech.wav', sr={SAMPLE_RATE})
(mel_TxM,) = upstream.Frozen(upstream.read('FOLDER'), pooled={states.is_pooled})([wave])
np.save('{file}', mel_TxM)
```

"""
    else:
        told += f"""\
From sound with JAX and librosa (`pip install jax flatbuffers librosa`):

```python
import jax.export
import librosa
import numpy as np

{read}
{made}
np.save('{file}', {heard})
{answer}
```

"""
    told += f"""\
The program takes any number of utterances of any length{within}: {what} ({dtype}) and {length} (int32), the
{length.removesuffix('_B')} of each; whatever lies beyond them changes nothing. It runs wherever JAX does, on a CPU or an
accelerator. With JAX alone (`pip install jax flatbuffers`), from {kind}, {dtype} of shape {shape}, as the snippet above
has kept them:

```python
import jax.export
import numpy as np

{read}
{heard} = np.load('{file}')
{answer}
```

JAX promises to read such a program for six months; `python -m jaxser.export --workdir . --out ANEW` writes it again (keep
this card: without the sweep at hand it will know less)."""
    if saved_model:
        told += f"""

With TensorFlow alone, from the same {kind}:

```python
import numpy as np
import tensorflow as tf

posterior = tf.saved_model.load('{SAVED_MODEL_FOLDER}').signatures['serving_default']
{heard} = np.load('{file}')
(posterior_C,) = posterior({what}={heard}[None], {length}=np.int32([len({heard})]))['posterior_BxC'].numpy()
print(dict(zip({metadata['classes']}, posterior_C.tolist())))
```"""
    return told


def versions_section(metadata: dict, analysis: SweepAnalysis | None) -> str:
    """What made it."""
    known = [f'{k} {v}' for k, v in metadata['versions'].items() if v]
    commit = (
        [f'commit {analysis.metadata["git_commit"]}']
        if analysis and analysis.metadata['git_commit']
        else []
    )
    return f'{join_words([*known, *commit])}.'
