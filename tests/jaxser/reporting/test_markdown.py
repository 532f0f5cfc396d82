"""Tests of the Markdown file of results: what was run, the tables, the verdict."""

import json
from pathlib import Path

import pytest
from helpers.compared_sweeps import RUNS, SPEAKERS, replace_seed, write_sweep

from data_pipelines.errors import UserError
from jaxser.analysis.comparison import comparison_rows
from jaxser.reporting import markdown
from jaxser.reporting.formats import format_leakage


def test_the_file_says_where_every_figure_is_from(tmp_path):
    """The command of the table and of every sweep, and what speech is synthetic."""
    path = write_sweep(tmp_path / 'table_emodb').path
    synthetic_path = write_sweep(tmp_path / 'testbed', synthetic=True).path
    command = 'python -m jaxser.compare x'
    text = markdown.render_results([path], [synthetic_path], Path('configs'), command)
    assert f'Written by `{command}`' in text
    assert text.count('`python -m jaxser.main --config=configs/table.py:emodb`') == 2
    assert text.count('Synthetic speech') == 1
    assert '| dann | lam 0.3 (1), lam 1 (1) | 0.700 | 0.875 | 0.000 |' in text
    assert '+0.375' in text
    assert '**Verdict.** Shown to help: dann, +0.375 [' in text
    assert '| dann | lam 0.3 | 0.600 | 0.750 | 0.000 |' in text


def test_a_sweep_is_described_by_what_was_run(tmp_path):
    """A Turkish corpus under the demo's configuration is not called synthetic English."""
    path = write_sweep(tmp_path / 'w').path
    metadata = json.loads((path / 'config.json').read_text())
    results = json.loads((path / 'results.json').read_text())
    options = '--config=configs/dann_demo.py --config.data.corpora=folder'
    metadata['command'] = f'python -m jaxser.main {options}'
    metadata['config'] |= {
        'data': {'upstream': ''},
        'model': {'name': 'cnn'},
        'train': {'epochs': 7},
        'domain': 'speaker',
    }
    attributes = {speaker: {'language': 'tr', 'corpus': 'istanbul'} for speaker in SPEAKERS}
    attributes['i'] = {'corpus': 'lab'}
    results |= {'corpora': ['folder'], 'speakers': attributes}
    (path / 'config.json').write_text(json.dumps(metadata))
    (path / 'results.json').write_text(json.dumps(results))
    text = markdown.render_results([path], [], None, '')
    for line in (
        '- Corpora: istanbul (tr), lab (language not recorded)',
        '- Protocol: speaker_folds; 2 folds run, 8 tested speakers',
        '- Labels: native, 2 classes (A, B)',
        '- Model: cnn on log-mel features, normalised by global',
        '- Methods: erm, dann',
        '- Domains to forget: speaker',
        '- Epoch chosen by: last epoch',
        '- Training: 7 epochs; seeds 0, 1',
    ):
        assert f'{line}\n' in text
    assert 'eSpeak' not in text
    assert 'ynthetic' not in text


def test_a_frozen_encoder_is_named_by_its_states(tmp_path):
    sweep = write_sweep(tmp_path / 'w')
    sweep.metadata['config'] |= {'model': {'name': 'layer_sum'}, 'data': {'upstream': 'whisper-1'}}
    features = 'the states of whisper-1 (pretrained, frozen)'
    line = f'- Model: layer_sum on {features}, normalised by global'
    assert line in markdown.description(sweep)


def test_a_fine_tuned_encoder_is_named_without_its_folder(tmp_path):
    sweep = write_sweep(tmp_path / 'w')
    sweep.metadata['config'] |= {
        'model': {'name': 'fine_tuned', 'upstream': '/home/me/x'},
        'data': {'upstream': 'heard-1'},
    }
    text = '\n'.join(markdown.description(sweep))
    features = 'a pretrained encoder, which is fine-tuned'
    assert f'- Model: fine_tuned on {features}, normalised by global' in text
    assert '/home/me' not in text


def test_configurations_without_a_sweep_are_listed(tmp_path):
    """By the commands of the sweeps; the configurations are not read."""
    folder = tmp_path / 'configs'
    folder.mkdir()
    for name in ('base', 'command', '__init__', 'table', 'other'):
        (folder / f'{name}.py').write_text('this is no Python')
    text = markdown.render_results([write_sweep(tmp_path / 'w').path], [], folder, '')
    assert text.endswith('No sweep above ran these configurations.\n\n- `other`\n')


def test_the_table_says_what_is_pooled(tmp_path):
    """Dev UAR is a mean of folds, and is beside UAR, which pools them."""
    sweep = write_sweep(tmp_path / 'w')
    text = markdown.render_sweep(sweep, comparison_rows(sweep))
    assert '| dev UAR (mean of folds) | UAR (pooled) |' in text


def test_a_method_that_diverged_has_a_row_without_figures(tmp_path):
    runs = {key: RUNS[key] for key in (('erm', None), ('dann', 3.0))}
    sweep = write_sweep(tmp_path / 'w', runs)
    text = markdown.render_sweep(sweep, comparison_rows(sweep))
    assert '| dann | diverged in fold 0, 1 |  |  |' in text


def test_batch_norm_arms_have_a_column_of_joint_plain_training(tmp_path):
    sweep = replace_seed(write_sweep(tmp_path / 'w'), 'model.batch_norm', 'joint', 'domain')
    assert '| - plain joint |' in markdown.render_sweep(sweep, comparison_rows(sweep))


def test_a_sweep_of_other_keys_has_its_figures_in_their_columns(tmp_path):
    """The pooled UAR is a number, and not the value of the last key of the setting."""
    sweep = replace_seed(write_sweep(tmp_path / 'w'), 'model.batch_norm', 'joint', 'domain')
    rows = comparison_rows(sweep)
    lines = markdown.render_sweep(sweep, rows).splitlines()
    table = [line.split(' | ') for line in lines if ' | ' in line]
    column = table[0].index('UAR (pooled)')
    expected = [f'{row.main.value:.3f}' for row in rows]
    assert [cells[column] for cells in table[1 : 1 + len(rows)]] == expected


@pytest.mark.parametrize(
    ('flags', 'expected'),
    [
        ({'withheld': True}, '0.580 (RBF)'),
        ({'strangers': False}, '0.580 (RBF, seen)'),
        ({'strangers': True, 'centred': True}, '0.580 (RBF, centred)'),
        ({'withheld': True, 'below_chance': True}, '0.580 (RBF, below chance)'),
    ],
)
def test_leakage_is_written_with_what_makes_it_too_low(flags, expected):
    assert format_leakage({'linear': 0.3, 'rbf': 0.58} | flags) == expected


def test_leakage_has_a_column_where_it_was_measured(tmp_path):
    sweep = write_sweep(tmp_path / 'w')
    text = markdown.render_sweep(sweep, comparison_rows(sweep))
    assert '| leakage of' not in text
    assert 'Every attacker' not in text
    sweep.metadata['config']['domain'] = 'speaker'
    for run in sweep.results['runs']:
        run['probe'] = {
            'speaker': {'linear': 0.75, 'chance': 0.25},
            'unseen_speaker': {'linear': 0.4, 'rbf': 0.8, 'chance': 0.5, 'strangers': True},
        }
    text = markdown.render_sweep(sweep, comparison_rows(sweep))
    assert '| leakage of training speakers | leakage of unseen speakers | s |' in text
    assert '| 0.750 (linear, seen), chance 0.250 | 0.800 (RBF), chance 0.500 |' in text
    _, attackers = text.split('Every attacker:')
    assert 'attackers of | linear | MLP | RBF | kNN | chance |' in attackers
    assert '| unseen speakers | 0.400 |  | 0.800 |  | 0.500 |' in attackers


def test_sweeps_whose_folders_have_one_name_are_two(tmp_path):
    """Headings and verdict have their paths."""
    paths = [write_sweep(tmp_path / name / 'all').path for name in 'ab']
    text = markdown.render_results(paths, [], None, '')
    assert 'Shown to help after correction for 2 comparisons: dann in' in text
    assert all(f'dann in {path}, +0.375' in text for path in paths)
    assert [text.count(f'## {path}') for path in paths] == [1, 1]
    assert 'Not measured' not in text


def test_a_sweep_that_is_named_twice_is_refused(tmp_path):
    path = write_sweep(tmp_path / 'all').path
    with pytest.raises(UserError, match='named 2 times'):
        markdown.render_results([path], [tmp_path / 'x' / '..' / 'all'], None, '')
