"""Every planted leak is found and refused, what is no leak is not, and the figures are those of closed forms."""

import dataclasses
import io
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.synthetic_utterances import make_utterances

from data_pipelines import corpora, pack
from data_pipelines.errors import UserError
from data_pipelines.features import log_mel
from data_pipelines.features.log_mel import LogMel
from data_pipelines.features.signature import SIGNATURE_SIZE, compute_signature
from data_pipelines.protocols import audit, audit_report, folds
from data_pipelines.protocols.folds import Fold, Protocol

ROOT = Path(__file__).parents[3]
RATE = LogMel().rate
SHARED = Path(os.environ.get('JAXSER_SHARED') or 'nowhere') / 'corpora'


def made(u=None, **changes) -> tuple:
    """Six speakers, and the first of three folds by speaker: two train, two are dev, two tested."""
    u = make_utterances() if u is None else u
    return u, [dataclasses.replace(folds.make_folds(u, Protocol(folds=3))[0], **changes)]


def found(u, some, shares_speakers=False, transductive=False, allow=()) -> dict:
    name = 'speaker_dependent' if shares_speakers else 'speaker_folds'
    adapt = 'transductive' if transductive else 'none'
    return audit.audit_folds(u, some, Protocol(name, adapt=adapt, allow_leak=','.join(allow)))


def copy(u, x: int, y: int) -> None:
    """Makes x the recording of y, to the bit."""
    u.text['sha256'] = u.text['sha256'].astype('U64')
    u.text['sha256'][[x, y]] = 'a' * 64
    u.signature_NxS[x] = u.signature_NxS[y]


def test_a_clean_split_is_found_clean():
    """Nothing is refused, and every finding can be written as JSON."""
    u, _ = made()
    findings = found(u, folds.make_folds(u, Protocol(folds=3)))
    assert findings['leaks'] == []
    assert findings['speaker'] == {'count': 0, 'in_folds': 0, 'examples': [], 'unknown': 0}
    assert findings['audio'] == {'exact': 0, 'near': 0, 'in_folds': 0, 'examples': []}
    assert findings['duplicates'] == {'exact': 0, 'near': 0, 'examples': []}
    assert json.loads(json.dumps(findings)) == findings


PAIRS = [('train', 'dev'), ('train', 'test'), ('dev', 'test')]
PAIRS += [(part, other) for part in ('adapt', 'identity') for other in ('dev', 'test')]


def planted(parts: tuple[str, str]) -> tuple:
    """A fold, and a row of each of two parts; where adapt or identity is one of them it has half of train."""
    u, (fold,) = made()
    if parts[0] in ('adapt', 'identity'):
        here = u.text['speaker'][fold.train] == u.text['speaker'][fold.train[0]]
        fold = dataclasses.replace(fold, **{parts[0]: fold.train[here]}, train=fold.train[~here])
    return u, fold, *(getattr(fold, part)[0] for part in parts)


@pytest.mark.parametrize('parts', PAIRS)
def test_a_shared_speaker_is_refused_by_name(parts):
    """Whichever two parts share him; and named are the fold, the parts, the speaker and an utterance of each."""
    u, fold, x, y = planted(parts)
    u.text['speaker'][x] = u.text['speaker'][y]
    with pytest.raises(UserError, match='Speaker leak') as refusal:
        found(u, [fold])
    for said in (
        fold.name,
        ' and '.join(parts),
        *u.text['utterance'][[x, y]],
        u.text['speaker'][y],
        '--allow_leak=speaker',
    ):
        assert said in str(refusal.value)
    assert 'Audio' not in str(refusal.value)


@pytest.mark.parametrize('near', [False, True])
@pytest.mark.parametrize('parts', PAIRS)
def test_a_shared_recording_is_refused_whatever_it_is_called(parts, near):
    """One person under two names, a renamed file, a re-encoded one: two parts share a recording, to the bit or nearly."""
    u, fold, x, y = planted(parts)
    copy(u, x, y)
    if near:
        u.text['sha256'][x] = 'b' * 64
        u.signature_NxS[x, 0] *= 1.01
        u.signature_NxS[x, 1:] += 0.004 * np.sign(u.signature_NxS[x, ::-1][:-1])
    with pytest.raises(UserError, match='Audio leak') as refusal:
        found(u, [fold])
    sign = '~' if near else '='
    assert f'{u.text["utterance"][x]} {sign}' in str(refusal.value)
    for said in (
        fold.name,
        ' and '.join(parts),
        u.text['utterance'][y],
        'different speaker',
        '--allow_leak=audio',
    ):
        assert said in str(refusal.value)
    findings = found(u, [fold], allow=('audio',))
    assert (findings['audio']['exact'], findings['audio']['near']) == ((0, 1) if near else (1, 0))
    assert findings['duplicates']['examples'] == []


def test_both_kinds_are_refused_at_once():
    """So that nobody meets the second leak after mending the first."""
    u, (fold,) = made()
    fold = dataclasses.replace(fold, test=np.append(fold.test, fold.train[0]))
    with pytest.raises(UserError, match=r'(?s)Speaker leak.*Audio leak'):
        found(u, [fold])


def test_no_more_than_ten_are_named_and_all_are_counted():
    """16 recordings in two parts, of which ten are named."""
    u, (fold,) = made()
    findings = found(u, [dataclasses.replace(fold, dev=fold.train)], allow=('speaker', 'audio'))
    assert findings['audio']['exact'] == len(fold.train) == 16
    assert len(findings['audio']['examples']) == 10
    assert len(json.dumps(findings)) < 6_000


def test_an_allowed_leak_stays_in_the_findings_as_a_leak():
    """Allowing one kind allows no other, and what is no kind is refused."""
    u, (fold,) = made()
    u.text['speaker'][fold.train[0]] = u.text['speaker'][fold.test[0]]
    findings = found(u, [fold], allow=('speaker',))
    assert findings['leaks'] == findings['allowed'] == ['speaker']
    assert findings['speaker']['count'] == 1
    assert (
        'LEAK (allowed): 1 speaker shared in 1 of 1 fold' in audit_report.summary_lines(findings)[0]
    )
    with pytest.raises(UserError, match='Speaker leak'):
        found(u, [fold], allow=('audio',))
    with pytest.raises(UserError, match=r"no leak 'speakers' to allow; known are speaker, audio"):
        found(u, [fold], allow=('speakers',))
    assert folds.parse_allowed_leaks(' speaker,audio,') == ('audio', 'speaker')


def test_what_shares_speakers_by_design_may_share_no_recording():
    """speaker_dependent: the speakers are stated, a recording in two parts is refused."""
    u, every = make_utterances(), np.arange(48)
    mixed = Fold(0, 'mixed', every[::3], every[1::3], every[2::3])
    findings = found(u, [mixed], shares_speakers=True)
    assert findings['leaks'] == []
    assert findings['speaker']['count'] == 6
    assert 'by design of the protocol' in audit_report.summary_lines(findings)[0]
    copy(u, 0, 1)
    with pytest.raises(UserError, match='Audio leak'):
        found(u, [mixed], shares_speakers=True)


def test_what_is_transductive_may_hear_the_test_part_without_its_labels():
    """Adapting to the tested utterances is stated then, and refused otherwise."""
    u, (fold,) = made()
    fold = dataclasses.replace(fold, adapt=fold.test)
    assert 'training uses the test audio without its emotions' in ' '.join(
        audit_report.summary_lines(found(u, [fold], transductive=True))
    )
    with pytest.raises(UserError, match='adapt and test share'):
        found(u, [fold])


def test_identity_batches_may_not_hear_the_test_part_even_where_adaptation_does():
    """Their speakers are told, which those of a transductive target may be and those of other corpora not."""
    u, (fold,) = made()
    with pytest.raises(UserError, match='identity and test share'):
        found(
            u, [dataclasses.replace(fold, adapt=fold.test, identity=fold.test)], transductive=True
        )


def test_the_same_recording_within_a_part_is_reported_and_no_leak():
    """Twice in training: counted, named, with what is said differently of it."""
    u, (fold,) = made()
    x, y = fold.train[:2]
    copy(u, x, y)
    u.text['emotion'][x] = 'sad' if u.text['emotion'][y] == 'angry' else 'angry'
    findings = found(u, [fold])
    assert findings['duplicates']['exact'] == 1
    assert findings['duplicates']['examples'][0]['differ'] == ['emotion']
    assert '1 pair of identical audio within a part' in audit_report.summary_lines(findings)[0]


@pytest.mark.parametrize(
    ('difference', 'sign'),
    [(0, '='), (1e-9, '~ (> 0.9999)'), (2e-2, '~ (0.9998)'), (0.03, '~ (0.9995)')],
)
def test_only_identical_recordings_are_equal(difference, sign, capsys):
    """However near another is, its correlation is never rounded up to 1."""
    u, (fold,) = made()
    x, y = fold.train[:2]
    copy(u, x, y)
    signature_S = np.zeros(u.signature_NxS.shape[1])
    signature_S[:2] = u.signature_NxS[y, 0], 1
    u.signature_NxS = u.signature_NxS.astype(float)
    u.signature_NxS[[x, y]] = signature_S
    u.signature_NxS[x, 1:3] = np.cos(difference), np.sin(difference)
    if difference:
        u.text['sha256'][x] = 'b' * 64
    findings = found(u, [fold])
    (pair,) = findings['duplicates']['examples']
    assert (pair['alike'] == 1) == (difference == 0)
    assert f' {sign} ' in audit.format_pair(pair)
    kind = 'nearly identical' if difference else 'identical'
    assert f'1 pair of {kind} audio within a part' in audit_report.summary_lines(findings)[0]
    audit_report.print_findings(findings)
    assert f' {sign} ' in capsys.readouterr().out


def test_unknown_speakers_are_counted_and_never_shared():
    """Nobody's name is no name."""
    u, (fold,) = made()
    for part in (fold.train, fold.test):
        u.text['speaker'][part[:2]] = ''
    findings = found(u, [fold])
    assert (findings['speaker']['count'], findings['speaker']['unknown']) == (0, 4)
    assert '4 utterances of unknown speakers' in audit_report.summary_lines(findings)[0]


def test_sessions_of_several_parts_are_reported():
    """Leaving a speaker out leaves his partner in: two speakers a session, each tested once with the other in train or dev."""
    u = make_utterances(sessions=1)
    findings = found(u, folds.make_folds(u, Protocol('leave_one_speaker_out')))
    assert (findings['session']['count'], findings['session']['in_folds']) == (3, 6)
    assert findings['session']['examples'][0]['session'] == 'Ses0'
    assert found(u, folds.make_folds(u, Protocol('leave_one_session_out')))['session']['count'] == 0


def test_sentences_of_training_are_counted_in_the_test_part():
    """Of 16 tested, 12 say a known sentence, 8 of them one of the two of four that training has."""
    u, (fold,) = made()
    u.text['sentence'] = np.full(len(u), '', 'U9')
    u.text['sentence'][fold.train[:2]] = 'a', 'b'
    u.text['sentence'][fold.test[:12]] = ['a', 'b', 'c', 'a', 'b', 'd'] * 2
    findings = found(u, [fold])
    assert findings['sentence'] == {'known': 12, 'heard': 8, 'sentences': 4, 'sentences_heard': 2}
    assert (
        '2 of 4 sentences tested are in training too (67 % of the utterances)'
        in audit_report.summary_lines(findings)[0]
    )


@pytest.mark.parametrize('part', ['train', 'dev', 'test'])
def test_a_class_that_a_part_lacks_is_reported(part):
    """By fold, part and class."""
    u, (fold,) = made()
    rows = getattr(fold, part)
    findings = found(
        u, [dataclasses.replace(fold, **{part: rows[u.text['emotion'][rows] != 'sad']})]
    )
    assert findings['missing'] == {
        'parts': 1,
        'examples': [{'fold': fold.name, 'part': part, 'classes': ['sad']}],
    }
    assert f"classes: {part} of fold '{fold.name}' has no sad" in ' '.join(
        audit_report.summary_lines(findings)
    )


def test_the_information_is_that_of_closed_forms():
    """Independent columns tell nothing, a column tells all of itself, and 2 bits of 3 for a known map."""
    x, y = np.repeat(np.arange(4), 4), np.tile(np.arange(4), 4)
    assert audit.mutual_information(x, y) == 0
    assert audit.mutual_information(x, x) == pytest.approx(2)
    assert audit.mutual_information(np.arange(8), np.arange(8) // 2) == pytest.approx(2)
    assert audit.entropy(np.array([0, 0, 0, 1])) == pytest.approx(2 - 0.75 * np.log2(3))


def test_the_information_is_that_of_scikit_learn():
    """On columns of chance, in bits rather than nats."""
    metrics = pytest.importorskip('sklearn.metrics')
    random = np.random.default_rng(0)
    for _ in range(5):
        x = random.integers(0, 7, 200)
        y = np.where(random.random(200) < 0.5, x % 3, random.integers(0, 3, 200))
        assert audit.mutual_information(x, y) == pytest.approx(
            metrics.mutual_info_score(x, y) / np.log(2), abs=1e-12
        )


def test_a_confound_is_weighed_against_chance():
    """Balanced speakers tell nothing, speakers of one emotion tell all of it, and many speakers of few words tell by chance."""
    u, every = make_utterances(), [made()[1][0]]
    plain = found(u, every)['tells']
    assert list(plain) == ['speaker']
    assert plain['speaker']['bits'] == 0
    assert (plain['speaker']['of'], plain['speaker']['word']) == (1, 'none')
    u.text['emotion'] = np.where(u.text['sex'] == 'male', 'angry', 'sad')
    told = found(u, every)['tells']['speaker']
    assert told['bits'] == told['of'] == 1
    assert (told['share'], told['word']) == (1, 'strong')
    random = np.random.default_rng(0)
    few = audit.measure_confounding(np.repeat(np.arange(200), 2), random.integers(0, 4, 400))
    assert few['bits'] > 1
    assert few['word'] == 'none'


def test_corpora_and_languages_are_weighed_where_there_are_several():
    """The speaker within each corpus too; unknown speakers are left out."""
    u, (fold,) = made()
    u.text['corpus'] = np.where(np.arange(len(u)) % 2, 'y', 'x')
    u.text['language'] = np.where(u.text['emotion'] == 'sad', 'de', 'en')
    u.text['speaker'][:3] = ''
    findings = found(u, [fold])
    assert list(findings['tells']) == [
        'speaker',
        'speaker in x',
        'speaker in y',
        'corpus',
        'language',
    ]
    assert findings['tells']['language']['share'] == 1
    assert findings['tells']['corpus']['bits'] == 0
    known = np.sort(np.concatenate([fold.train, fold.dev, fold.test]))[3:]
    assert findings['tells']['speaker'] == audit.measure_confounding(
        u.text['speaker'][known], u.text['emotion'][known]
    )


def test_the_blocked_search_is_that_of_all_pairs(monkeypatch):
    """Signatures of which many are alike, in blocks of 7: the pairs and products of the whole matrix."""
    random = np.random.default_rng(0)
    grid = random.normal(size=(12, 512))[random.integers(0, 12, 150)] + 0.25 * random.normal(
        size=(150, 512)
    )
    signature = np.concatenate(
        [np.exp(random.normal(5, 0.02, (150, 1))), grid / np.linalg.norm(grid, axis=1)[:, None]],
        axis=1,
    )
    signature = signature.astype(np.float16)
    monkeypatch.setattr(audit, 'BLOCK_SIZE', 7)
    monkeypatch.setattr(audit, 'COPY_SIMILARITY', 0.94)
    pairs, alike = audit.find_near_duplicates(signature)
    length, x = np.log(signature[:, 0].astype(float)), signature[:, 1:].astype(np.float32)
    expected = [
        (i, j)
        for i, j in itertools.combinations(range(150), 2)
        if x[i] @ x[j] >= 0.94 and abs(length[i] - length[j]) <= 0.03
    ]
    assert (
        20
        < len(expected)
        < sum(x[i] @ x[j] >= 0.94 for i, j in itertools.combinations(range(150), 2))
    )
    assert [tuple(p) for p in pairs] == expected
    np.testing.assert_allclose(alike, [x[i] @ x[j] for i, j in expected], atol=1e-6)
    assert audit.find_near_duplicates(signature[:0])[0].shape == (0, 2)


def voice(seed: int) -> np.ndarray:
    """Something like speech: harmonics of a gliding pitch under a few resonances, in syllables, with pauses at the ends."""
    random = np.random.default_rng(seed)
    t = np.arange(round(random.uniform(1.2, 2.5) * RATE)) / RATE
    steps = np.linspace(0, t[-1], 12)
    phase = 2 * np.pi * np.cumsum(np.interp(t, steps, random.uniform(90, 250, 12))) / RATE
    loud = np.interp(t, steps, np.concatenate([[0], random.uniform(0.05, 1, 10), [0]]))
    tilt = np.interp(t, steps, random.uniform(0.5, 2, 12))
    wave = sum(np.sin(k * phase) / k**tilt for k in range(1, 25)) * loud
    quiet = np.zeros(RATE // 4)
    return np.concatenate([quiet, 0.3 * wave / np.abs(wave).max(), quiet]).astype(np.float32)


def encoded(wave: np.ndarray, rate: int = RATE, **how) -> np.ndarray:
    """The signature of a wave that was written to a file."""
    file = io.BytesIO()
    soundfile.write(file, wave, rate, **({'format': 'WAV'} | how))
    file.seek(0)
    samples, rate = soundfile.read(file, dtype='float32')
    return signature(samples, rate)


def signature(wave: np.ndarray, rate: int = RATE) -> np.ndarray:
    import librosa

    wave = librosa.resample(wave, orig_sr=rate, target_sr=RATE) if rate != RATE else wave
    return compute_signature(log_mel.compute_log_mel(wave, LogMel()))


def noisy(wave: np.ndarray, decibel: float) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(len(wave)).astype(np.float32)
    return wave + noise * np.std(wave) * np.float32(10 ** (-decibel / 20))


def resampled(wave: np.ndarray, *rates: int) -> np.ndarray:
    import librosa

    for before, after in itertools.pairwise((RATE, *rates)):
        wave = librosa.resample(wave, orig_sr=before, target_sr=after)
    return signature(wave, rates[-1])


def trimmed(wave: np.ndarray, decibel: float) -> np.ndarray:
    import librosa

    return librosa.effects.trim(wave, top_db=decibel, frame_length=400, hop_length=80)[0]


def padded(wave: np.ndarray) -> np.ndarray:
    return np.pad(wave, (RATE * 7 // 10, RATE * 3 // 10))


COPIES = {
    'quieter by 12 dB': lambda w: encoded(0.25 * w),
    'MP3': lambda w: encoded(w, format='MP3'),
    'OGG': lambda w: encoded(w, format='OGG', subtype='VORBIS'),
    '8 bits': lambda w: encoded(0.9 * w / np.abs(w).max(), subtype='PCM_U8'),
    'u-law': lambda w: encoded(w, subtype='ULAW'),
    '48 and 22.05 kHz': lambda w: resampled(w, 48_000, 16_000, 22_050),
    '12 kHz': lambda w: resampled(w, 12_000),
    'noise at 40 dB': lambda w: signature(noisy(w, 40)),
    'noise at 30 dB': lambda w: signature(noisy(w, 30)),
    'trimmed at -40 dB': lambda w: signature(trimmed(w, 40)),
    'trimmed at -30 dB': lambda w: signature(trimmed(w, 30)),
    'silence at the ends': lambda w: encoded(padded(w)),
    'all of it': lambda w: encoded(0.3 * noisy(padded(trimmed(w, 30)), 35), format='MP3'),
}


@pytest.mark.parametrize('how', COPIES)
def test_a_copy_is_known_by_its_signature(how):
    """Whatever was done to it; and it is taken for none of the others."""
    waves = [voice(n) for n in range(4)]
    both = np.stack([*map(signature, waves), *map(COPIES[how], waves)])
    pairs, _ = audit.find_near_duplicates(both)
    assert [tuple(p) for p in pairs] == [(n, n + 4) for n in range(4)]


def test_a_signature_is_finite_whatever_the_sound_and_the_bands():
    """A click, a constant tone, a second and a quarter of an hour; forty bands, or four."""
    click = np.full((100, 64), -60, np.float16)
    click[50] = 0
    for mel in (
        click,
        np.zeros((11, 64), np.float16),
        np.zeros((90_000, 40), np.float16),
        click[:, :4],
    ):
        s = compute_signature(mel)
        assert s.shape == (SIGNATURE_SIZE,)
        assert np.isfinite(s).all()
        assert s[0] > 0


def walked(name: str) -> list[corpora.Utterance]:
    """The utterances of a corpus of real speech, where it is at hand."""
    if not (SHARED / name).is_dir():
        pytest.skip(f'{name} is not at hand: JAXSER_SHARED names no folder that has it')
    return corpora.load_corpus(name).walk(SHARED / name)


def test_the_pair_that_ravdess_has_twice_is_found(capsys):
    """Actor 7 has one take under two names; of his 60 utterances no other two are the same."""
    some = [u for u in walked('ravdess') if u.speaker == '07']
    features = [log_mel.compute_features(u, LogMel()) for u in some]
    u = make_utterances(speakers=6, per_class=5)
    u.text['utterance'] = np.array([x.name for x in some])
    u.text['sha256'] = np.array([f['sha256'] for f in features])
    u.signature_NxS = np.stack([f['signature_S'] for f in features])
    rows = np.arange(len(some))
    findings = found(u, [Fold(0, 'all', rows, rows[:0], rows[:0])])
    (pair,) = findings['duplicates']['examples']
    assert sorted(pair['utterances']) == ['03-01-03-01-02-01-07', '03-01-03-01-02-02-07']
    audit_report.print_findings(findings)
    assert (
        f'the same audio within a part: {" = ".join(pair["utterances"])}' in capsys.readouterr().out
    )


def command(*arguments: object) -> tuple[int, str]:
    """The exit status of the command and what it said."""
    line = [sys.executable, '-m', 'data_pipelines.audit', *map(str, arguments)]
    process = subprocess.run(
        line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )
    return process.returncode, process.stdout


def test_the_command_prints_parts_priors_and_findings_and_ends_with_2_on_a_leak(data, tmp_path):
    """A packed corpus, first as it is, then with one speaker's recording under another's name."""
    (record,) = data.rglob('prepared.json')
    file = tmp_path / 'folder' / LogMel().npz_name
    file.parent.mkdir()
    pack.write_npz(record.parent, file)
    status, said = command('--config=tests/helpers/tiny_config.py', f'--config.data.dir={tmp_path}')
    assert status == 0, said
    for words in (
        'part 1 of 3',
        '16, 2, 2',
        'most unbalanced speakers first',
        'no speaker shared',
        'emotion from speaker',
        'split ',
    ):
        assert words in said
    assert max(map(len, said.splitlines())) <= 80, said

    with np.load(file) as content:
        columns = dict(content)
    columns['text_sha256'][0] = columns['text_sha256'][-1]
    np.savez(file, **columns)
    planted = ('--config=tests/helpers/tiny_config.py', f'--config.data.dir={tmp_path}')
    status, said = command(*planted)
    assert status == 2, said
    assert 'Audio leak' in said.splitlines()[-1]
    assert 'labelled with different speaker and emotion' in said
    assert 'Traceback' not in said
    status, said = command(*planted, '--allow_leak=audio')
    assert status == 0, said
    assert 'LEAK (allowed): 1 recording shared' in said


def test_the_command_refuses_mistakes_in_a_sentence():
    """As training does, with its own name."""
    for arguments, words in (
        (
            ['--config=tests/helpers/tiny_config.py', '--allow_leak=voice'],
            'known are speaker, audio',
        ),
        ([], 'python -m data_pipelines.audit --config'),
        (
            ['--config=tests/helpers/tiny_config.py', '--config.protocol.nam=x'],
            "Did you mean 'name'",
        ),
    ):
        status, said = command(*arguments)
        assert (status, words in said, 'Traceback' in said) == (2, True, False), said


def test_the_flag_ends_up_in_the_configuration():
    """In one order, whatever the order of the words; so it stands in config.json and cannot be changed on resuming."""
    code = 'import sys; from configs import command; print(command.parse_flags(sys.argv, "x").protocol.allow_leak)'
    line = [
        sys.executable,
        '-c',
        code,
        '--config=tests/helpers/tiny_config.py',
        '--allow_leak=speaker,audio',
    ]
    assert (
        subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        == 'audio,speaker\n'
    )


@pytest.mark.slow
def test_copies_and_takes_of_real_speech_are_apart():
    """Takes stay below COPY, copies above; prints the figures that audit.py states."""
    random = np.random.default_rng(0)
    of, names, waves = [], [], []
    for name in ('ravdess', 'emodb', 'urdu'):
        for u in walked(name):
            wave, rate = soundfile.read(u.path, dtype='float32')
            of.append((name, u.speaker))
            names.append(u.name)
            waves.append(wave)
            assert rate == RATE
    s = np.stack([*map(signature, waves)])
    length, x = np.log(s[:, 0].astype(float)), s[:, 1:].astype(np.float32)
    alike = np.triu(x @ x.T, 1) * (
        np.abs(length[:, None] - length) <= audit.MAX_LOG_LENGTH_DIFFERENCE
    )
    top = [divmod(int(n), len(s)) for n in np.argsort(-alike, axis=None)[:200]]
    print()
    for i, j in top[:4]:
        print(f'{names[i]} and {names[j]}: {alike[i, j]:.3f}')
    other = next((i, j) for i, j in top if of[i] != of[j])
    print(f'different speakers, {names[other[0]]} and {names[other[1]]}: {alike[other]:.3f}')
    assert [names[i] for i in top[0]] == ['03-01-03-01-02-01-07', '03-01-03-01-02-02-07']
    assert alike[top[1]] < audit.COPY_SIMILARITY - 0.03
    some, missed = random.choice(len(waves), 320, replace=False), 0
    for how, change in COPIES.items():
        changed = np.stack([change(waves[n]) for n in some])
        products = (changed[:, 1:].astype(np.float32) * x[some]).sum(axis=1)
        apart = np.abs(np.log(changed[:, 0].astype(float)) - length[some])
        lost = (products < audit.COPY_SIMILARITY) | (apart > audit.MAX_LOG_LENGTH_DIFFERENCE)
        missed += lost.sum()
        print(
            f'{how}: lowest {products.min():.3f}, 1 % below {np.quantile(products, 0.01):.3f}; {lost.sum()} of 320 missed'
        )
    assert missed <= 0.005 * 320 * len(COPIES)
