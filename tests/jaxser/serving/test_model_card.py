"""The model card: what it says follows from model.json and the results, and its code runs."""

import ast
import json
import re
import shlex
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import yaml
from helpers.exports import parse_tables, predict_speech, run_in_fresh_python
from helpers.predictions import card_snippets, run_snippet

import jaxser
from jaxser import upstream
from jaxser.analysis import bootstrap, finished
from jaxser.analysis.finished import SweepAnalysis
from jaxser.analysis.measure import UAR
from jaxser.analysis.statistics import RecallStatistics
from jaxser.anonymity import anonymize_command
from jaxser.pretrained.encoder import read_encoder
from jaxser.pretrained.extractor import StateExtractor
from jaxser.runs import SYNTHETIC_WARNING
from jaxser.serving import card_results, model_card
from jaxser.serving.card_enrolment import describe_enrolled
from jaxser.serving.card_limitations import limitations
from jaxser.serving.markdown import escape_cell, escape_code, escape_text
from jaxser.serving.model import Model, read_model
from jaxser.serving.setting import describe_networks, describe_setting


@pytest.fixture
def analysis(swept) -> SweepAnalysis:
    return SweepAnalysis(finished.read_finished_sweep(swept))


def change_metadata(swept, **keys) -> Model:
    metadata, arrays = read_model(swept)
    return Model(metadata | keys, arrays)


@pytest.mark.parametrize(
    ('classes', 'soft_labels', 'ratings', 'expected'),
    [
        (['angry', 'sad'], False, [], 'emotion'),
        (['angry', 'sad'], True, [], "raters' votes"),
        (['angry', 'sad'], True, ['valence'], "raters' votes and ratings"),
        ([], False, ['valence'], 'ratings'),
    ],
)
def test_the_card_names_the_labels_of_training(classes, soft_labels, ratings, expected):
    """Utterances without one emotion are counted, too, if training uses the votes."""
    config = {'train': {'soft_labels': soft_labels}}
    metadata = {'classes': classes, 'ratings': ratings, 'config': config}
    assert model_card.describe_trained_labels(metadata) == expected


def test_the_code_for_jaxser_runs(shared_export, monkeypatch):
    monkeypatch.chdir(shared_export)
    assert run_snippet(card_snippets(shared_export)[0]) == predict_speech(shared_export)


def test_the_code_for_jax_and_librosa_runs_without_jaxser(exported):
    """From a stereo file of another rate; its features are those of `prepare`."""
    check = "\nimport sys\nassert not {'flax', 'jaxser', 'tensorflow'} & {*sys.modules}"
    printed = run_in_fresh_python(card_snippets(exported)[1] + check, exported)
    assert ast.literal_eval(printed) == pytest.approx(predict_speech(exported), abs=1e-5)


def test_the_results_are_those_of_the_sweep(shared_export, swept):
    """UAR, intervals, recalls and the split."""
    text = (shared_export / 'README.md').read_text()
    results = json.loads((swept / 'results.json').read_text())
    best = max(results['summary'], key=lambda row: row['dev_uar'])
    rows = parse_tables(text)
    uar, interval = rows['UAR (mean recall over classes), folds pooled']
    low, high = best['uar_ci95']
    assert uar == f'{best["uar"]:.3f}'
    assert interval == f'[{low:.3f}, {high:.3f}]'
    assert rows['UAR, mean over folds'][0] == f'{best["uar_folds"]:.3f}'
    assert rows['accuracy, folds pooled'][0] == f'{best["wa"]:.3f}'
    assert rows['macro-F1, folds pooled'][0] == f'{best["f1"]:.3f}'
    for n, name in enumerate(results['classes']):
        counts = best['confusion'][n]
        assert rows[name] == [str(sum(counts)), f'{counts[n] / sum(counts):.3f}']
    temperature = read_model(swept).metadata['calibration']['temperature']
    for phrase in (
        results['split_sha256'],
        '6 tested speakers',
        '1 seed; chance: 0.500',
        'python -m jaxser.main',
        'lam = ',
        'trained on folder',
        f'temperature of {temperature:.3f}, fitted',
    ):
        assert phrase in text


def test_the_head_is_yaml_without_a_licence(shared_export):
    text = (shared_export / 'README.md').read_text()
    head = yaml.safe_load(text.split('---\n')[1])
    assert head['language'] == ['de', 'en']
    assert head['pipeline_tag'] == 'audio-classification'
    assert 'license' not in head


def test_the_card_does_not_contain_the_folder_of_a_checkpoint():
    command = (
        'python -m jaxser.main --config=configs/gat_tap_whisper_emodb.py {} '
        "--workdir='runs of mine'"
    )
    expected = shlex.join(shlex.split(command.format('--config.model.upstream=FOLDER')))
    for flag in (
        '--config.model.upstream=whisper',
        "'--config.model.upstream=/home/me/whisper tiny'",
    ):
        assert anonymize_command(command.format(flag)) == expected


def make_grouped_analysis() -> SimpleNamespace:
    """Four speakers a to d with 8, 5, 3 and 4 of 8 right answers, in groups of three kinds."""
    correct_SxC = np.array([[4, 4], [3, 2], [1, 2], [4, 0]])  # of 4 in each of two classes
    counts_ZxSxCxC = np.zeros((1, 4, 2, 2), int)
    for c in (0, 1):
        counts_ZxSxCxC[0, :, c, c] = correct_SxC[:, c]
        counts_ZxSxCxC[0, :, c, 1 - c] = 4 - correct_SxC[:, c]
    speakers = 'abcd'
    members = {
        'corpus': {'one': 'abcd'},
        'language': {'de': 'ab', 'fr': 'cd'},
        'sex': {'female': 'bc', 'male': 'a'},
        'speaker': {speaker: speaker for speaker in speakers},
    }
    masks = {}
    for kind, groups in members.items():
        masks[kind] = {name: np.isin([*speakers], [*group]) for name, group in groups.items()}
    return SimpleNamespace(
        measure=UAR,
        statistics=lambda row: RecallStatistics(counts_ZxSxCxC),
        speaker_groups=masks.__getitem__,
    )


def test_the_groups_with_the_lowest_uar_are_named():
    """A kind with one group is left out, and speakers have no rows."""
    text = card_results.groups_section(make_grouped_analysis(), {'uar': 0.6})
    assert text.startswith(
        'Lowest of each kind: language fr (0.438); sex female (0.500). The lowest UAR of a single '
        'speaker is 0.375. UAR: folds pooled.'
    )
    assert '|  | group | speakers | UAR, folds pooled | 95 % |' in text
    table = [line for line in text.splitlines() if line.startswith('|')][2:]
    assert table == [
        '| language | de | 2 | 0.812 |  |',
        '| language | **fr** | 2 | 0.438 |  |',
        '| sex | **female** | 2 | 0.500 |  |',
        '| sex | male | 1 | 1.000 |  |',
    ]


def test_the_code_for_enrolment_runs(enrolment_export, monkeypatch):
    """With jaxser, and with the saved offset as the input of the program."""
    monkeypatch.chdir(enrolment_export)
    _, _, from_features, enrol, with_offset = [
        code for code in card_snippets(enrolment_export) if 'tensorflow' not in code
    ]
    posterior = run_snippet(enrol)
    wave, rate = soundfile.read('speech.wav', dtype='float32')
    speaker = jaxser.load('.').enrol_files(['enrol'])
    assert posterior == speaker.predict(wave, rate)['posterior']
    unknown = predict_speech(enrolment_export)
    assert run_snippet(from_features) == pytest.approx(unknown, abs=1e-5)
    assert run_snippet(with_offset) == pytest.approx(posterior, abs=1e-5)
    assert posterior != pytest.approx(unknown, abs=1e-5)


@pytest.mark.slow
def test_with_tensorflow_the_offset_is_an_input_too(enrolment_export):
    (code,) = [code for code in card_snippets(enrolment_export) if 'tensorflow' in code]
    posterior = ast.literal_eval(run_in_fresh_python(code, enrolment_export))
    assert posterior == pytest.approx(predict_speech(enrolment_export), abs=1e-5)


def test_the_card_says_how_to_enrol_and_what_it_gains(enrolment_sweep, swept):
    """And that it is transductive; cards of other models have no such section."""
    metadata, arrays = read_model(enrolment_sweep)
    text = model_card.render_card(Model(metadata, arrays), None)
    for phrase in (
        '## Speaker enrolment',
        'is transductive',
        'speech.wav --enrol enrol',
        '--enrol-by folder',
        '--enrol stream',
        'What enrolment gains was not measured; `python -m jaxser.enrolment',
        'is normalised by the training data alone',
    ):
        assert phrase in text
    none = {'enrol': 0, 'uar': 0.7161, 'utterances': 0, 'delta_uar': None, 'delta_ci95': None}
    all_utterances = {'enrol': 'all', 'uar': 0.81, 'utterances': 29.6}
    all_utterances |= {'delta_uar': 0.094, 'delta_ci95': [0.05, 0.14]}
    rows = []
    for row in (none, all_utterances):
        rows.append(row | {'enrol_from': 'any', 'uar_ci95': [0.6, 0.9]})
    text = model_card.render_card(Model(metadata | {'enrolment': rows}, arrays), None)
    table = parse_tables(text)
    assert table['0'] == ['any emotion', '0.716', '[0.600, 0.900]']
    difference = ['+0.094', '[+0.050, +0.140]']
    assert table['all (30 on average)'] == ['any emotion', '0.810', '[0.600, 0.900]', *difference]
    assert 'not measured' not in text.split('## Speaker enrolment')[1]
    assert 'enrol' not in model_card.render_card(read_model(swept), None)


def test_the_card_says_with_how_many_enrolled_utterances_the_results_are(enrolment_sweep):
    """The code at the beginning enrols nobody, so that the UAR without enrolment comes next."""
    metadata, arrays = read_model(enrolment_sweep)
    none = {'enrol_from': 'any', 'enrol': 0, 'utterances': 0, 'uar': 0.716, 'uar_ci95': [0.6, 0.8]}
    none |= {'delta_uar': None, 'delta_ci95': None}
    two = none | {'enrol': 2, 'uar': 0.74, 'delta_uar': 0.024, 'delta_ci95': [-0.003, 0.05]}
    analysis = SweepAnalysis(finished.read_finished_sweep(enrolment_sweep))
    text = model_card.render_card(Model(metadata | {'enrolment': [none, two]}, arrays), analysis)
    table = parse_tables(text)
    uar = f'{metadata["row"]["uar"]:.3f}'
    assert table['UAR with 2 enrolled utterances of each tested speaker, folds pooled'][0] == uar
    without = 'UAR with no enrolled utterance, folds pooled, mean over draws'
    assert table[without] == ['0.716', '[0.600, 0.800]']
    for section, phrase in (
        ('Results', 'this card are with 2 enrolled utterances of each tested speaker'),
        ('Results by group', 'folds pooled, with 2 enrolled utterances of each tested speaker'),
        ('Calibration', 'predictions, with 2 enrolled utterances of each dev speaker'),
        ('Speaker enrolment', 'interval includes 0 is not clear with 6 tested speakers'),
    ):
        assert phrase in text.split(f'## {section}\n')[1].split('\n## ')[0]


@pytest.mark.parametrize(
    ('enrol', 'source', 'expected'),
    [
        (0, 'any', 'with no enrolled utterance'),
        (1, 'any', 'with 1 enrolled utterance of each tested speaker'),
        ('8', 'neutral', 'with 8 enrolled utterances (neutral) of each tested speaker'),
        ('all', 'any', 'with all set-aside utterances of each tested speaker enrolled'),
    ],
)
def test_the_number_of_enrolled_utterances_is_a_phrase(enrol, source, expected):
    protocol = {'enrol': enrol, 'enrol_from': source}
    facts = {'normalisation': 'speaker_enrolled', 'config': {'protocol': protocol}, 'row': {}}
    assert describe_enrolled(facts) == expected
    assert describe_enrolled(facts | {'row': {'enrol': 4}, 'normalisation': 'global'}) == ''
    swept = describe_enrolled(facts | {'row': {'enrol': 4}})
    assert swept.startswith('with 4 enrolled utterances')


def test_a_model_is_described_without_the_number_of_enrolled_utterances(enrolment_sweep):
    """It is the same model with every number."""
    metadata = read_model(enrolment_sweep).metadata
    metadata['row']['enrol'] = 4
    assert 'enrol' not in describe_setting(metadata)


def test_leakage_says_how_many_utterances_are_enrolled(analysis):
    row = analysis.rows[0] | {'probe': {'speaker': {'linear': 0.7, 'chance': 0.125}}}
    phrase = 'with 2 enrolled utterances of each speaker'
    assert f'is measured {phrase}.' in card_results.leakage_section(analysis, row, phrase)
    assert 'is measured with' not in card_results.leakage_section(analysis, row)


def test_a_note_on_synthetic_speech_comes_first(swept):
    """Below the title, and as the first of the limitations."""
    facts = read_model(swept).metadata['data']['folder']
    synthetic = change_metadata(swept, corpora=['demo'], data={'demo': facts})
    text = model_card.render_card(synthetic, None)
    assert text.split('\n\n')[2] == f'**{SYNTHETIC_WARNING}**'
    assert text.split('## Limitations\n\n- ')[1].startswith(SYNTHETIC_WARNING)
    assert SYNTHETIC_WARNING not in model_card.render_card(change_metadata(swept), None)


def test_with_recorded_speech_too_the_note_names_the_synthetic_part(swept):
    facts = read_model(swept).metadata['data']['folder']
    mixed = change_metadata(swept, corpora=['demo', 'emodb'], data={'demo': facts, 'emodb': facts})
    text = model_card.render_card(mixed, None)
    assert '**Partly synthetic speech (eSpeak NG, demo)' in text
    assert SYNTHETIC_WARNING not in text
    assert 'Trying the software' not in text


CORPUS_FACTS = {
    'utterances': 9,
    'trained': 8,
    'speakers': 7,
    'languages': ['de'],
    'sexes': ['female'],
    'styles': ['acted'],
}


def test_the_licence_of_a_known_corpus_is_named(swept):
    model = change_metadata(swept, corpora=['emodb'], data={'emodb': CORPUS_FACTS})
    text = model_card.render_card(model, None)
    assert parse_tables(text)['EMO-DB'] == [
        '9',
        '8',
        '7 (female)',
        'de',
        'acted',
        'free for research',
        'http://emodb.bilderbar.info',
    ]
    assert 'Acted speech shows how people think that emotions sound' in text


def test_the_licence_of_a_csv_list_is_unknown_whatever_its_name(swept):
    """A CSV list may name its corpus like a known one, or with a bar and the end of a line."""
    data = {'emodb': CORPUS_FACTS, 'a|b\nc': CORPUS_FACTS}
    text = model_card.render_card(change_metadata(swept, corpora=['folder'], data=data), None)
    assert parse_tables(text)['emodb (from a CSV list)'][5] == 'not known to jaxser'
    assert '| a\\|b c (from a CSV list) | 9 |' in text


def test_text_from_data_is_not_interpreted_as_markdown():
    assert escape_text('a_b *c*\n# <d> [e](f) `g`') == r'a_b \*c\* # &lt;d&gt; \[e](f) \`g\`'
    assert escape_cell('a|b') == r'a\|b'
    assert escape_text('__init__ a_b_c ~x~ &lt;') == r'\_\_init\_\_ a_b_c \~x\~ &amp;lt;'
    assert escape_text('\x1b[2J\u202e') == r'\\x1b\[2J\\u202e'


def test_code_in_the_card_cannot_be_ended_by_a_name():
    names = ['```', '<script>', "it's", 'a\x1b']
    code = escape_code(names)
    assert ast.literal_eval(code) == names
    assert not {'`', '<', '\x1b'} & {*code}


@pytest.mark.parametrize(
    ('word', 'expected'),
    [
        ('--config.data.dir=/home/me/data', '--config.data.dir=FOLDER/data'),
        ('--workdir=/home/me/runs/a', '--workdir=FOLDER/a'),
        ('--workdir=~me/a', '--workdir=FOLDER/a'),
        ('--config=/home/me/my.py:emodb', '--config=FOLDER/my.py:emodb'),
        ('/home/me/a', 'FOLDER/a'),
        ('gs://bucket/a', 'FOLDER/a'),
        ('C:\\me\\a', 'FOLDER/a'),
        ('--config.data.only=speaker=anna', '--config.data.only=SPEAKERS'),
        ('--config.data.only=style=acted', '--config.data.only=style=acted'),
        ('--workdir=runs/a', '--workdir=runs/a'),
    ],
)
def test_the_command_in_the_card_has_no_absolute_path_and_no_speaker(word, expected):
    command = anonymize_command(shlex.join(['python', '--config.x=1', word]))
    assert shlex.split(command) == ['python', '--config.x=1', expected]


def test_a_command_cannot_end_its_block_of_code():
    assert anonymize_command("python '```\n<script>'") == ''


def test_without_the_sweep_the_card_has_the_results_of_the_model(swept):
    """And leaves out what it does not know."""
    model = read_model(swept)
    text = model_card.render_card(model, None)
    f1 = parse_tables(text)['macro-F1, folds pooled'][0]
    assert f1 == f'{model.metadata["row"]["f1"]:.3f}'
    assert not re.search(r'## Results by group|## Leakage|plain training|\bNone\b(?!])', text)


@pytest.mark.parametrize(
    ('keys', 'phrase'),
    [
        ({'protocol.name': 'speaker_dependent'}, 'tested speakers were seen in training'),
        ({'protocol.adapt': 'transductive'}, 'without its emotions (`adapt=transductive`)'),
        ({'protocol.name': 'source_target'}, 'which this model is, has not been tested'),
        (
            {'protocol.name': 'speaker_folds'},
            'every speaker was in the training data of some of them',
        ),
    ],
    ids=str,
)
def test_the_limitations_follow_from_the_protocol(swept, keys, phrase):
    """And from nothing else."""
    model = change_metadata(swept)
    for key, value in keys.items():
        _, name = key.split('.')
        model.metadata['config']['protocol'][name] = value
    assert phrase in model_card.render_card(model, None)
    is_protocol_of_sweep = keys == {'protocol.name': 'speaker_folds'}
    assert (phrase in model_card.render_card(read_model(swept), None)) == is_protocol_of_sweep


@pytest.mark.parametrize(
    ('counts', 'phrase'),
    [
        ({'trained': 6, 'all': 6}, 'every speaker was in the training data of some of them'),
        ({'trained': 4, 'all': 6}, '4 of 6 speakers were in the training data of some of them'),
        (None, 'has not been tested: speakers of these corpora were in the training data'),
    ],
)
def test_the_card_says_how_many_speakers_were_trained_on(swept, counts, phrase):
    """A model of an earlier version does not know."""
    text = model_card.render_card(change_metadata(swept, training_speakers=counts), None)
    assert phrase in text
    assert ('every speaker was' in text) == (counts == {'trained': 6, 'all': 6})


def test_the_card_says_which_folds_were_run_and_what_is_plain_training(swept):
    model = change_metadata(swept, protocol_folds=5)
    model.metadata['row']['lam'] = 0.0
    introduction = model_card.introduction(model.metadata)
    assert '(folds 0, 1, 2 of 5, 1 seed)' in introduction
    assert 'each trained by `dann` (lam = 0, which is plain training' in introduction
    sentence = describe_setting(model.metadata)
    assert sentence.startswith('The model is dann (lam = 0, which is plain training')
    assert sentence.endswith('), chosen by dev UAR.')
    model.metadata['row']['lam'] = 0.5
    assert 'plain' not in describe_setting(model.metadata)
    assert describe_networks(model.metadata) == 'Model: dann (lam = 0.5), 3 networks.'
    del model.metadata['row'], model.metadata['runs']  # of an earlier version
    assert describe_networks(model.metadata) == 'Model: dann.'


def test_allowed_leaks_and_an_inert_adversary_are_limitations(swept, analysis):
    """The card has the warnings of the report."""
    row = analysis.rows[0] | {'adversary': {'inert': 2, 'balanced': 1}}
    analysis.results['audit'] = analysis.results['audit'] | {'leaks': ['speaker']}
    text = ' '.join(limitations(read_model(swept).metadata, analysis, row))
    assert 'Leak of speaker allowed' in text
    assert 'inert in 2 runs' in text
    assert 'balanced' not in text


def test_leakage_is_shown_with_chance_and_the_leakage_of_the_input(analysis):
    probe = {'linear': 0.7, 'mlp': 0.8, 'chance': 0.125, 'input': {'linear': 0.61}}
    row = analysis.rows[0] | {'probe': {'speaker': probe}}
    text = card_results.leakage_section(analysis, row)
    assert '| training speakers | 0.800 (MLP, seen) |  | 0.125 |  | 0.610 (linear) |  |' in text
    assert 'biased low' in text
    assert 'Leakage of unseen speakers was not measured.' in text
    unseen = {'rbf': 0.9, 'chance': 0.5, 'strangers': True, 'scores': {'knn': 0.6}}
    row['probe']['unseen_speaker'] = unseen
    text = card_results.leakage_section(analysis, row)
    assert '| unseen speakers | 0.900 (RBF) |  | 0.500 |  |  | 0.600 (kNN) |' in text
    assert 'not measured' not in text
    unprobed = card_results.leakage_section(analysis, analysis.rows[0])
    assert 'Leakage was not measured' in unprobed


def test_missing_intervals_and_results_are_explained(swept):
    """With fewer than six speakers, and if in every seed a run diverged."""
    metadata = read_model(swept).metadata
    few_speakers = metadata['row'] | {'uar_ci95': None, 'tested_speakers': 4}
    text = card_results.results_section(metadata | {'row': few_speakers}, None, None)
    assert f'fewer than {bootstrap.MIN_SPEAKERS} speakers' in text
    measures = ('uar', 'uar_ci95', 'wa', 'f1', 'uar_folds', 'dev_uar')
    diverged = metadata['row'] | dict.fromkeys(measures)
    text = card_results.results_section(metadata | {'row': diverged}, None, None)
    assert 'There are no results' in text


def test_the_code_on_cards_of_earlier_versions_still_finds_its_names():
    """They print `upstream.Frozen(upstream.read(FOLDER), pooled=...)`."""
    assert upstream.Frozen is StateExtractor
    assert upstream.read is read_encoder
