"""The model card of an exported model: what it is for and what not, its data, figures, groups and limits, and how to run it.

All of it is derived from model.json and, where the finished sweep is at hand, from its results; what neither says is left out.
Markdown with a YAML head, as the Hugging Face Hub reads it.
"""

import json
import re
import shlex
from typing import NamedTuple

from data_pipelines import corpora, log_mel
from data_pipelines.upstream import HOP, SOUND, States
from jaxser import bundle, predict, statistics, summary, sweep
from jaxser.evidence import Sweep
from jaxser.page import ends, number
from jaxser.report import LOUD, forgotten
from jaxser.sweep import many
from jaxser.upstream import RATE, Upstream

PROGRAM, SAVED_MODEL = 'posterior.stablehlo', 'saved_model'
APART = ('official', 'source_target')  # protocols whose tested speakers are in no fold's training part
NOT_FOR = """\
- Decisions about people: hiring, marking, policing, insurance, diagnosis, credit or anything like them. What somebody's voice
  sounds like to others is no evidence of what they feel. In the European Union, inferring emotions at work and in education is
  prohibited but for medical or safety reasons (Regulation (EU) 2024/1689, Article 5(1)(f)).
- Listening to people who have not agreed to it.
- Any use without a test on the speakers, recordings and language that it is meant for."""
LICENCES = """\
The weights were learned from these recordings: whether and how they may be used and passed on is for the corpora's licences to
say. jaxser itself is Apache-2.0."""


def cells(*values) -> str:
    """A row of a table; what comes from data cannot end its cell or its line."""
    return '| ' + ' | '.join(' '.join(str(v).replace('|', r'\|').split()) for v in values) + ' |'


def grid(head: list[str], rows: list[list]) -> str:
    """A table."""
    return '\n'.join([cells(*head), cells(*['---'] * len(head)), *(cells(*r) for r in rows)])


def listed(words) -> str:
    """Words with commas."""
    return ', '.join(map(str, words))


def text(model: bundle.Model, of: Sweep | None, saved_model: bool = False, encoder: Upstream | None = None) -> str:
    """The file; `of` is the sweep that made the model, where it is at hand, and `encoder` the upstream that is carried along."""
    facts = model.facts
    row = next(r for r in of.rows if all(r.get(k) == facts['row'].get(k) for k in of.swept)) if of else None
    parts = {
        '': opening(facts),
        'Intended use': intended(facts),
        'Not intended': NOT_FOR,
        'Data': data(facts, of),
        'Upstream': hears(facts, encoder),
        'Figures': figures(facts, of, row),
        'Groups': groups(of, row),
        'What it still tells of the speaker': leakage(of, row),
        'Calibration': calibration(facts),
        'Limits': '\n'.join(f'- {sentence}' for sentence in limits(facts, of, row)),
        'How to run it': usage(facts, saved_model, encoder),
        'Versions': versions(facts, of),
    }
    body = '\n\n'.join(f'## {title}\n\n{body}' if title else body for title, body in parts.items() if body)
    return f'{head(facts, programmed(facts, encoder))}{body}\n'


def programmed(facts: dict, encoder: Upstream | None) -> bool:
    """Whether there is a program: changes of weights are none without the weights."""
    return encoder is not None or not bundle.tuned(facts)


def spoken(facts: dict) -> list[str]:
    """The languages of what the model was trained on, or else of all its data."""
    of = [c for c in facts['data'].values() if c['trained']]
    return sorted({language for c in of for language in c['languages']})


def head(facts: dict, program: bool) -> str:
    """What the Hub reads; without a licence, which is not ours to name, and without data sets, whose names are not the Hub's."""
    known = {'library_name': 'jaxser', 'pipeline_tag': 'audio-classification', 'language': spoken(facts)}
    known |= {
        'tags': ['speech-emotion-recognition', 'audio-classification', 'jax', *['stablehlo'] * program],
        'metrics': ['recall', 'accuracy', 'f1'],
    }
    lines = [f'{k}: {v if isinstance(v, str) else json.dumps(v)}' for k, v in known.items() if v]
    return '\n'.join(['---', *lines, '---', '', ''])


def opening(facts: dict) -> str:
    """What it is, in a paragraph; synthetic speech says so before anything else."""
    config, runs = facts['config'], facts['runs']
    method = summary.method(config | facts['row']).partition(',')[0]
    swept = [f'{k} = {sweep.word(v)}' for k, v in facts['row'].items() if k not in summary.FIGURES and v is not None]
    setting = listed(s for s in swept if not s.startswith(('method =', 'speaker_norm =')))
    made = f'one network, trained by `{method}`'
    if len(runs) > 1:
        folds, seeds = (len({r[k] for r in runs}) for k in ('fold', 'seed'))
        made = f'the mean over {len(runs)} networks ({many(folds, "fold")}, {many(seeds, "seed")}), each trained by `{method}`'
    features = 'log-mel features'
    if states := over(facts):
        features = f'the states of a frozen, pretrained {states.model} (`{states.name}`)'
        if bundle.tuned(facts):
            features = f'what a pretrained {states.model} hears, fine-tuned by each network,'
    body = (
        f'From an utterance of speech to a probability for each of {len(facts["classes"])} emotions: {listed(facts["classes"])}. '
        f'It is {made}{f" ({setting})" * bool(setting)} with jaxser {facts["versions"]["jaxser"]}: {features} into the '
        f'encoder `{config["model"]["name"]}`.'
    )
    note = summary.synthetic_note(facts)
    warning = [f'**{note}**'] if note else []
    return '\n\n'.join([f'# Speech emotion recognition, trained on {listed(facts["corpora"])}', *warning, body])


def intended(facts: dict) -> str:
    """For whom it is."""
    if summary.synthetic_note(facts) == summary.SYNTHETIC:
        return 'To try the software. What it says of anybody means nothing.'
    languages = f' in {listed(spoken(facts))}' if spoken(facts) else ''
    return (
        f'Research on speech emotion recognition, and comparison with other methods on the same split, of speech{languages} like '
        'that of the corpora below: it tells which of its classes an utterance would have been given there.'
    )


def over(facts: dict) -> States | None:
    """Of a model over a pretrained encoder, its states, which say what it is."""
    return States.named(facts['upstream']['name']) if 'upstream' in facts else None


def hears(facts: dict, encoder: Upstream | None) -> str:
    """Which pretrained encoder it hears by, and that its terms hold too."""
    if not (states := over(facts)):
        return ''
    size, also = f'{many(states.layers, "state")}, {states.width} wide', ''
    how = f'frozen: of {size}, {"the mean and the deviation over an utterance" if states.pooled else "every frame"}'
    where = (
        f'It is here: in `{PROGRAM}`, and in `{bundle.CARRIED}/`, its own tensors alone, for jaxser.'
        if encoder
        else 'It is not here: whoever runs the model from sound needs that checkpoint, as a Hugging Face folder.'
    )
    if bundle.tuned(facts):
        rank = facts['config']['model']['lora']
        changes = f'of queries and values, of rank {rank}' if rank else 'of its whole transformer'
        how = f'fine-tuned ({size}): `model.safetensors` holds the changes of every network ({changes}), and not what they change'
        also = ', for the changed weights too'
    return (
        f'It hears by the encoder of a {states.model}, {how}. '
        f'Its weights have the sha256 {facts["upstream"]["sha256"]} (of the SHA-256 digests of the files of its checkpoint), and '
        f'`python -m jaxser.upstream FOLDER` says that of a folder. {where}\n\nThe licence of that checkpoint holds beside those '
        f'above{also}; neither it nor the speech of its pretraining is known to jaxser: the recordings of the tested speakers '
        'may be among it.'
    )


def data(facts: dict, of: Sweep | None) -> str:
    """What it heard, of whom, under whose licence, and how that was divided."""
    rows = []
    for name, c in facts['data'].items():
        # A corpus that a CSV names is its maker's, whatever its name.
        known = corpora.load(name) if name in facts['corpora'] and name != 'folder' else None
        sexes = f' ({listed(c["sexes"])})' * bool(c['sexes'])
        rows.append(
            [
                known.title if known else f'{name}, from a list of its own',
                c['utterances'],
                c['trained'],
                f'{c["speakers"]}{sexes}',
                listed(c['languages']) or 'not said',
                listed(c['styles']) or 'not said',
                known.licence if known else 'not known to jaxser',
                known.home if known else '',
            ]
        )
    told = [
        grid(['corpus', 'utterances', 'trained on', 'speakers', 'language', 'style', 'licence', 'from'], rows),
        f'Labels: {facts["labels"]} ({listed(facts["classes"])}). Protocol: {facts["protocol"]}. "Trained on" counts what is in '
        'the training part of some fold, with its emotion.',
    ]
    if of:
        told[-1] += f' Epoch: {of.results["selection"]}; setting: best dev UAR; test chose nothing.'
    told.append(f'Features are normalised by `{facts["normalisation"]}`. Split: sha256 {facts["split_sha256"]}.')
    return '\n\n'.join([*told, LICENCES])


def figures(facts: dict, of: Sweep | None, row: dict | None) -> str:
    """How well it does."""
    r = row or facts['row']
    lines = [
        ['UAR (mean recall over classes), folds pooled', number(r['uar']), ends(r['uar_ci95'])],
        ['UAR, mean over folds', number(r['uar_folds']), ''],
        ['accuracy, folds pooled', number(r['wa']), ''],
        ['macro-F1, folds pooled', number(r['f1']), ''],
        ['UAR on dev, mean over folds', number(r['dev_uar']), ''],
    ]
    if row and row['delta_uar'] is not None:
        difference = number(row['delta_uar'], '+z.3f'), ends(row['delta_ci95'], '+.3f')
        lines.insert(1, ['UAR minus that of plain training, folds pooled', *difference])
    if r['uar'] is None:
        return 'In every seed a run diverged: there are no figures.'
    told = [grid(['on the test parts', '', '95 %'], lines)]
    sure = 'resample speakers' if r['uar_ci95'] else f'are not given: fewer than {statistics.FEWEST} speakers'
    tested = f'{many(r["tested_speakers"], "tested speaker")}, ' if r.get('tested_speakers') else ''
    told.append(f'{tested}{many(r["seeds"], "seed")}{f"; chance is {of.chance:.3f}" if of else ""}. Intervals {sure}.')
    if len(facts['runs']) > 1:
        told.append('These are the figures of the networks one by one, each on its own test part.')
        crossed = len({r['fold'] for r in facts['runs']}) > 1 and facts['config']['protocol']['name'] not in APART
        told[-1] += ' The mean over them, which this model is, ' + (
            'cannot be tested on the same corpora: every speaker trained some of them.' if crossed else 'has not been tested.'
        )
    if row:
        recall = [
            [c, sum(said), number(said[n] / sum(said))]
            for n, (c, said) in enumerate(zip(of.classes, row['confusion']))
            if sum(said)
        ]
        told.append(grid(['class', 'tested, over seeds', 'recall'], recall))
        told.append(f'```\n{shared(of.facts["command"])}\n```')
    return '\n\n'.join(told)


def shared(command: str) -> str:
    """A command as others may read it: where a checkpoint lay here is nobody else's business."""
    words = (re.sub(r'^(--config\.model\.upstream=).*', r'\1FOLDER', word) for word in shlex.split(command))
    return shlex.join(words)


def groups(of: Sweep | None, row: dict | None) -> str:
    """UAR by group, and who is served worst."""
    if not of or row['uar'] is None:
        return ''
    counts, lines, worst = of.counts(row), [], []
    for kind in ('corpus', 'language', 'sex', 'speaker'):
        found = {group: counts[:, there_S] for group, there_S in of.groups(kind).items()}
        if len(found) < 2:
            continue
        measured = {group: statistics.of_uar(some) for group, some in found.items()}
        low = min(measured, key=lambda g: measured[g].value)
        worst.append(f'{kind} {low} ({measured[low].value:.3f})')
        if kind != 'speaker':
            lines += [
                [kind, f'**{g}**' if g == low else g, some.shape[1], number(measured[g].value), ends(measured[g].ci95)]
                for g, some in found.items()
            ]
    if not worst:
        return 'There is one group only.'
    table = [grid(['', 'group', 'speakers', 'UAR, folds pooled', '95 %'], lines)] if lines else []
    return '\n\n'.join([f'Worst of each kind: {"; ".join(worst)}. UAR: folds pooled.', *table])


def leakage(of: Sweep | None, row: dict | None) -> str:
    """What the representation still tells of the speaker, or of what was to be forgotten."""
    if not of:
        return ''
    domain, told = forgotten(of, row)
    if not told:
        return 'Nobody has asked; `python -m jaxser.probe` does.'
    body = (
        f'A fresh linear classifier on the representation tells the {domain} with a mean recall of {told["linear"]:.3f}; chance '
        f'is {told["chance"]:.3f}, and the mean and spread of the input alone give {told["input"]["linear"]:.3f}. '
        'These are means over folds.'
    )
    if of.plain and of.plain is not row and (before := forgotten(of, of.plain)[1]):
        body += f' After plain training it is {before["linear"]:.3f}.'
    return body + ' What a classifier does not find may still be there.'


def calibration(facts: dict) -> str:
    """By what, and on what."""
    c = facts['calibration']
    if not c['utterances']:
        return 'Not calibrated: there was no dev part.'
    return (
        f'Scores are divided by a temperature of {c["temperature"]:.3f}, fitted on what each network says of its own dev part '
        f'({many(c["utterances"], "answer")}): the mean surprise at the truth falls from {c["nll_before"]:.3f} to {c["nll"]:.3f} '
        'nats. On other speakers, and of the mean over networks, calibration has not been measured.'
    )


def limits(facts: dict, of: Sweep | None, row: dict | None) -> list[str]:
    """What follows from the facts."""
    found, c, protocol = [], [*facts['data'].values()], facts['config']['protocol']
    warning = summary.synthetic_note(facts)
    if warning:
        found.append(warning)
    styles = sorted({s for corpus in c for s in corpus['styles']})
    if 'acted' in styles and warning != summary.SYNTHETIC:
        found.append(f'Its speech is {listed(styles)}: what is acted is what emotions are taken to sound like.')
    found.append(
        f'{many(sum(x["speakers"] for x in c), "speaker")}, from {listed(facts["data"])}. The intervals are about other speakers '
        'recorded likewise, not about other rooms, microphones, languages or ways of speaking.'
    )
    languages = spoken(facts)
    found.append(f'It was trained on {listed(languages)} only.' if languages else 'The language of its speech is not recorded.')
    found.append(
        f'It answers {listed(facts["classes"][:-1])} or {facts["classes"][-1]} whatever it hears: it has no word for anything '
        'else, nor for no speech at all.'
    )
    if protocol['name'] == 'speaker_dependent':
        found.append('Tested speakers were trained on too: of strangers less is to be expected.')
    if protocol['adapt'] != 'none':
        found.append(f'Training heard speech of the target without its emotions (`adapt={protocol["adapt"]}`).')
    if facts['normalisation'].startswith('speaker'):
        found.append(
            f'Training normalised by `{facts["normalisation"]}`; the model has never met whom it hears now, and normalises by '
            'the utterance alone.'
        )
    if of:
        found += [
            f'A leak of {kind} was allowed: training has heard what is tested.' for kind in of.results['audit'].get('leaks', [])
        ]
        told = (row['adversary'] or {}).items()
        found += [f'The adversary was {word} in {many(n, "run")}: {LOUD[word]}.' for word, n in told if word in LOUD]
    spec, states = SOUND if over(facts) else log_mel.LogMel(**facts['config']['data']['features']), over(facts)
    if states and states.model == 'whisper':
        heard = 'testing' if bundle.tuned(facts) else 'training'
        found.append(
            f'Of an utterance longer than its Whisper hears (as a rule 30 s) {heard} heard the beginning alone; `jaxser.predict` '
            'cuts nothing off.'
        )
    found.append(
        f'Sound is resampled to {spec.rate} Hz; it takes {log_mel.SHORTEST:g} s or more. Of more than {predict.LONGEST:g} s, '
        f'`jaxser.predict` answers by windows of {predict.WINDOW:g} s and their mean; a program takes what it is given.'
    )
    return found


class Taken(NamedTuple):
    """What the program takes, in words and in code."""

    kind: str
    dtype: str
    what: str  # the name of the array of utterances
    length: str  # of their lengths
    heard: str  # of one utterance's array in the code
    shape: str  # of that one
    within: str = ''  # which lengths there may be
    made: str = ''  # the code that makes it from sound with librosa


def taken(facts: dict, encoder: Upstream | None) -> Taken:
    """Log-mel, an upstream's states, or what the carried upstream hears: as training did, a fine-tuned one in 16 bits."""
    mel, bits = ('mel_BxTxM', 'frames_B', 'mel_TxM'), 16 if bundle.tuned(facts) else 32
    if encoder and encoder.hears == 'wave':
        within = f', from {log_mel.SHORTEST:g} s up'
        if bundle.tuned(facts):
            made = f"""\
wave, _ = librosa.load('speech.wav', sr={RATE})
mel_TxM = wave[: len(wave) // {HOP} * {HOP}].reshape(-1, {HOP}).astype(np.float16)"""
            return Taken('samples of 16 kHz, a frame every 10 ms', 'float16', *mel, f'(frames, {HOP})', within, made)
        made = f"""\
wave_L, _ = librosa.load('speech.wav', sr={RATE})"""
        return Taken('samples of 16 kHz', 'float32', 'wave_BxL', 'samples_B', 'wave_L', '(samples,)', within, made)
    if encoder:
        bands = encoder.config['num_mel_bins']
        made = f"""\
wave, _ = librosa.load('speech.wav', sr={RATE})
power_FxT = np.abs(librosa.stft(wave, n_fft=400, hop_length=160, pad_mode='reflect')[:, :-1]) ** 2
power_MxT = librosa.filters.mel(sr={RATE}, n_fft=400, n_mels={bands}) @ power_FxT
log_MxT = np.log10(np.maximum(power_MxT, 1e-10))
mel_TxM = ((np.maximum(log_MxT, log_MxT.max() - 8) + 4) / 4).T.astype(np.float{bits})"""
        within = f', up to {100 * encoder.longest:.0f} frames ({encoder.longest:g} s)'
        return Taken("Whisper's log-mel", f'float{bits}', *mel, f'(frames, {bands})', within, made)
    if states := over(facts):
        return Taken("the upstream's states", 'float16', *mel, f'(frames, {states.bands})')
    spec = log_mel.LogMel(**facts['config']['data']['features'])
    lengths = f'n_fft={spec.fft_length}, win_length={spec.window_length}, hop_length={spec.hop_length}'
    bands = f'n_mels={spec.bands}, fmin={spec.low}, fmax={spec.high}'
    made = f"""\
wave, _ = librosa.load('speech.wav', sr={spec.rate})
power_MxT = librosa.feature.melspectrogram(
    y=wave, sr={spec.rate}, {lengths}, {bands}
)
mel_TxM = np.log(np.maximum(power_MxT.T, {spec.floor})).astype(np.float16)"""
    return Taken('log-mel features', 'float16', *mel, f'(frames, {spec.bands})', '', made)


def usage(facts: dict, saved_model: bool, encoder: Upstream | None = None) -> str:
    """The ways to run it, each complete."""
    states, (kind, dtype, what, length, heard, shape, within, made) = over(facts), taken(facts, encoder)
    read = f"""\
with open('{PROGRAM}', 'rb') as file:
    program = jax.export.deserialize(file.read())"""
    file = f'{heard.partition("_")[0]}.npy'
    answer = f"""\
(posterior_C,) = program.call({heard}[None], np.array([len({heard})], np.int32))
print(dict(zip({facts['classes']}, posterior_C.tolist())))"""
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
    if not programmed(facts, encoder):
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

wave, _ = librosa.load('speech.wav', sr={RATE})
(mel_TxM,) = upstream.Frozen(upstream.read('FOLDER'), pooled={states.pooled})([wave])
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

posterior = tf.saved_model.load('{SAVED_MODEL}').signatures['serving_default']
{heard} = np.load('{file}')
(posterior_C,) = posterior({what}={heard}[None], {length}=np.int32([len({heard})]))['posterior_BxC'].numpy()
print(dict(zip({facts['classes']}, posterior_C.tolist())))
```"""
    return told


def versions(facts: dict, of: Sweep | None) -> str:
    """What made it."""
    known = [f'{k} {v}' for k, v in facts['versions'].items() if v]
    commit = [f'commit {of.facts["git_commit"]}'] if of and of.facts['git_commit'] else []
    return f'{listed([*known, *commit])}.'
