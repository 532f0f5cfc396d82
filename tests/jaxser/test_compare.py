"""The table over several sweeps: what is chosen, by whom, and what stands beside what."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.errors import UserError
from jaxser import compare
from jaxser.analysis import comparison, summary
from jaxser.analysis.finished import FinishedSweep, read_finished_sweep
from jaxser.reporting import markdown
from jaxser.runs import method_name, run_label, varying_keys

SPEAKERS, FOLDS, SEEDS = 'abcdefgh', 2, 2
# By method and coefficient: the share of right test predictions, and dev UAR in either fold.
RUNS = {
    ('erm', None): (0.5, (0.6, 0.6)),
    ('dann', 0.3): (0.75, (0.7, 0.5)),
    ('dann', 1.0): (1.0, (0.5, 0.7)),
    ('dann', 3.0): (1.0, (0.9, 0.9)),  # diverges
}


def finished(path, without: tuple = (), synthetic: bool = False) -> FinishedSweep:
    """A workdir of those runs, written as training writes it, and read."""
    path.mkdir(parents=True)
    runs, predictions = [], []
    kept = {k: v for k, v in RUNS.items() if k[0] not in without}
    hypers = [
        {'method': m, 'lam': lam, 'seed': s, 'fold': f}
        for m, lam in kept
        for s in range(SEEDS)
        for f in range(FOLDS)
    ]
    for h in hypers:
        right, dev = RUNS[h['method'], h['lam']]
        status = 'nonfinite' if h['lam'] == 3.0 else 'ok'
        measured = {'uar': dev[h['fold']]} if status == 'ok' else None
        runs.append({'hyper': h, 'status': status, 'dev': measured})
        if status != 'ok':
            continue
        for speaker in SPEAKERS[4 * h['fold'] : 4 * h['fold'] + 4]:
            for n in range(8):
                truth = n % 2
                said = truth if n // 2 < 4 * right else 1 - truth
                row = {
                    'run': run_label(h, varying_keys(hypers)),
                    'fold': h['fold'],
                    'speaker': speaker,
                }
                predictions.append(row | {'truth': 'AB'[truth], 'A': 1 - said, 'B': said})
    results = {
        'protocol': 'speaker_folds',
        'labels': 'native',
        'classes': ['A', 'B'],
        'folds': ['1', '2'],
        'runs': runs,
    }
    results |= {
        'corpora': ['demo'] if synthetic else ['emodb'],
        'speakers': {},
        'selection': 'last epoch',
    }
    results |= {
        'normalisation': 'global',
        'split_sha256': 'f' * 64,
        'device': '2 x cpu',
        'seconds': 60.0,
        'synthetic': synthetic,
    }
    results['groups'] = [{'runs': len(runs), 'seconds': 2.0 * len(runs)}]
    (path / 'results.json').write_text(json.dumps(results))
    facts = {
        'command': 'python -m jaxser.main --config=configs/table.py:emodb',
        'git_commit': None,
        'config': {'method': 'dann', 'speaker_norm': 'tap'},
    }
    (path / 'config.json').write_text(json.dumps(facts))
    with open(path / 'predictions.csv', 'w', newline='') as file:
        writer = csv.DictWriter(file, predictions[0])
        writer.writeheader()
        writer.writerows(predictions)
    return read_finished_sweep(path)


def by_seed(finished_sweep: FinishedSweep, key: str, *values) -> FinishedSweep:
    """The same runs, as if a seed stood for a value of a structural key."""
    before = {
        (run_label(r['hyper'], ['method', 'lam', 'seed']), r['hyper']['fold']): r['hyper']
        for r in finished_sweep.results['runs']
    }
    for run in finished_sweep.results['runs']:
        run['hyper'][key] = values[run['hyper']['seed']]
    varied = varying_keys([r['hyper'] for r in finished_sweep.results['runs']])
    predicted = {
        (run_label(h, varied), f): finished_sweep.predictions[name, f]
        for (name, f), h in before.items()
        if (name, f) in finished_sweep.predictions
    }
    return finished_sweep._replace(predictions=predicted)


def test_dev_chooses_in_every_fold_by_itself(tmp_path):
    """0.3 in the first fold and 1 in the second, though 1 is better on test in both; what diverged is not chosen."""
    erm, dann = comparison.comparison_rows(finished(tmp_path / 'w'))
    assert dann.coefficients == ['lam 0.3', 'lam 1']
    assert dann.dev_uar == pytest.approx(0.7)
    assert dann.uar.value == pytest.approx((0.75 + 1.0) / 2), (
        'eight speakers, four at 0.75 and four at 1'
    )
    assert erm.uar.value == pytest.approx(0.5)
    assert dann.gain.value == pytest.approx(0.375)
    assert erm.gain is None
    assert dann.sd == pytest.approx(0)


def test_without_plain_training_nothing_is_compared(tmp_path):
    """No gain is made up, and the verdict says why."""
    (dann,) = comparison.comparison_rows(finished(tmp_path / 'w', without=('erm',)))
    assert dann.gain is None
    assert 'nothing to compare' in comparison.comparison_verdict({'w': [dann]})


def test_lam_0_is_plain_training(tmp_path, monkeypatch):
    """Where erm does not stand, lam = 0 of an adversary does, as a row of its own that dev cannot choose."""
    changed = {(m, 0.0 if lam == 0.3 else lam): v for (m, lam), v in RUNS.items()}
    monkeypatch.setattr(sys.modules[__name__], 'RUNS', changed)
    plain, dann = comparison.comparison_rows(finished(tmp_path / 'w', without=('erm',)))
    assert (plain.method, dann.method) == ('dann, lam = 0', 'dann')
    assert dann.coefficients == ['lam 1', 'lam 1']
    assert dann.gain.value == pytest.approx(0.25)


def test_the_file_says_where_every_figure_is_from(tmp_path):
    """The command of the table and of every sweep, the protocol, made-up speech, and what was not measured."""
    paths = [finished(tmp_path / n, synthetic=n == 'bench').path for n in ('table_emodb', 'bench')]
    text = markdown.render_results(
        paths[:1], paths[1:], Path('configs'), 'python -m jaxser.compare x'
    )
    assert text.count('`python -m jaxser.main --config=configs/table.py:emodb`') == 2
    assert text.count('Synthetic speech') == 1
    assert '| dann | lam 0.3 (1), lam 1 (1) | 0.700 | 0.875 | 0.000 |' in text
    assert '+0.375' in text
    assert 'Of 1 comparisons with plain training, 1 gain and 0 lose' in text
    assert f'The largest gain is that of dann in {paths[0]}, +0.375' in text
    assert '| dann | lam 0.3 | 0.600 | 0.750 | 0.000 |' in text


def test_a_sweep_is_described_by_what_was_run(tmp_path, monkeypatch):
    """A Turkish corpus under the demo's configuration is no synthetic English; no configuration is read."""
    path = finished(tmp_path / 'w').path
    facts, results = (
        json.loads((path / name).read_text()) for name in ('config.json', 'results.json')
    )
    facts['command'] = (
        'python -m jaxser.main --config=configs/dann_demo.py --config.data.corpora=folder'
    )
    config = {
        'data': {'upstream': ''},
        'model': {'name': 'cnn'},
        'train': {'epochs': 7},
        'domain': 'speaker',
    }
    facts['config'] |= config
    people = {s: {'language': 'tr', 'corpus': 'istanbul'} for s in SPEAKERS}
    people['i'] = {'corpus': 'lab'}
    results |= {'corpora': ['folder'], 'speakers': people}
    (path / 'config.json').write_text(json.dumps(facts))
    (path / 'results.json').write_text(json.dumps(results))
    text = markdown.render_results([path], [], None, '')
    for line in (
        '- Corpora: istanbul (tr), lab (language not recorded)',
        '- Protocol: speaker_folds; 2 folds, 8 tested speakers',
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


def test_an_encoder_is_named_where_there_is_one(tmp_path):
    """Frozen by the name of its states; fine-tuned without the folder in which it lay."""
    of = finished(tmp_path / 'w')
    of.metadata['config'] |= {'model': {'name': 'layer_sum'}, 'data': {'upstream': 'whisper-1'}}
    assert (
        '- Model: layer_sum on the states of whisper-1 (pretrained, frozen), normalised by global'
        in markdown.description(of)
    )
    of.metadata['config'] |= {
        'model': {'name': 'fine_tuned', 'upstream': '/home/me/x'},
        'data': {'upstream': 'heard-1'},
    }
    said = '\n'.join(markdown.description(of))
    assert (
        '- Model: fine_tuned on a pretrained encoder, which is fine-tuned, normalised by global'
        in said
    )
    assert '/home/me' not in said


def test_configurations_without_a_sweep_are_named(tmp_path):
    """By the commands of the sweeps; none of their headers is read."""
    folder = tmp_path / 'configs'
    folder.mkdir()
    for name in ('base', 'command', '__init__', 'table', 'other'):
        (folder / f'{name}.py').write_text('this is no Python')
    text = markdown.render_results([finished(tmp_path / 'w').path], [], folder, '')
    assert text.endswith('No sweep above ran these configurations.\n\n- `other`\n')


def test_the_table_says_what_is_pooled(tmp_path):
    """Dev UAR is a mean of folds, and stands beside UAR, which pools them."""
    of = finished(tmp_path / 'w')
    assert '| dev UAR (mean of folds) | UAR (pooled) |' in markdown.render_sweep(
        of, comparison.comparison_rows(of)
    )


def test_only_a_file_of_its_own_is_replaced(tmp_path, monkeypatch, capsys):
    """What a person has written stays; its own tables are written anew."""
    path, notes, own = finished(tmp_path / 'w').path, tmp_path / 'notes.md', tmp_path / 'own.md'
    notes.write_text('# Results\n\nof mine')
    for out, status in ((notes, 2), (own, None), (own, None)):
        monkeypatch.setattr('sys.argv', ['compare', str(path), '--out', str(out)])
        if status is None:
            compare.main()
            continue
        with pytest.raises(SystemExit) as end:
            compare.main()
        assert end.value.code == status
        assert 'was not written by jaxser.compare' in capsys.readouterr().err
    assert notes.read_text() == '# Results\n\nof mine'
    assert 'Written by `python -m jaxser.compare' in own.read_text()


def test_a_sweep_that_is_not_done_is_refused(tmp_path):
    """By its name, with what to do."""
    with pytest.raises(UserError, match='holds no finished sweep'):
        read_finished_sweep(tmp_path)
    with pytest.raises(UserError, match='There is no folder'):
        read_finished_sweep(tmp_path / 'elsewhere')


def test_sweeps_of_one_name_are_two_and_one_sweep_is_never_two(tmp_path):
    """Folders are told apart by their paths, in headings and verdict; the same one twice is refused."""
    paths = [finished(tmp_path / n / 'all').path for n in 'ab']
    text = markdown.render_results(paths, [], None, '')
    assert 'Of 2 comparisons' in text
    assert [text.count(f'## {p}') for p in paths] == [1, 1]
    assert 'Not measured' not in text
    with pytest.raises(UserError, match='named twice'):
        markdown.render_results(paths, [tmp_path / 'a' / '..' / 'a' / 'all'], None, '')


def test_a_loss_is_no_gain(tmp_path, monkeypatch):
    """The verdict names a gain only where there is one, and a best and a worst method only where there are two."""
    monkeypatch.setattr(
        sys.modules[__name__],
        'RUNS',
        {('erm', None): (0.75, (0.6, 0.6)), ('dann', 0.3): (0.5, (0.7, 0.5))},
    )
    said = comparison.comparison_verdict(
        {'w': comparison.comparison_rows(finished(tmp_path / 'w'))}
    )
    assert 'The largest loss is that of dann in w, -0.250' in said
    assert 'largest gain' not in said
    assert 'does best' not in said


def test_where_every_coefficient_diverged_there_is_no_figure(tmp_path, monkeypatch):
    """The row says so, and plain training beside it stands."""
    monkeypatch.setattr(
        sys.modules[__name__],
        'RUNS',
        {('erm', None): (0.5, (0.6, 0.6)), ('dann', 3.0): RUNS['dann', 3.0]},
    )
    of = finished(tmp_path / 'w')
    erm, dann = comparison.comparison_rows(of)
    assert erm.uar.value == pytest.approx(0.5)
    assert dann == comparison.ComparisonRow({}, 'dann', ['diverged in fold 0, 1'])
    assert '| dann | diverged in fold 0, 1 |  |  |' in markdown.render_sweep(of, [erm, dann])


def test_intervals_are_over_speakers(tmp_path, monkeypatch):
    """Speakers who are all right or all wrong: sixteen utterances of each say no more than one would."""
    of = finished(tmp_path / 'w')
    apart = {
        k: (s, t, np.where(np.isin(s, list('aceg')), t, 1 - t))
        for k, (s, t, _) in of.predictions.items()
    }
    row = comparison.comparison_rows(of._replace(predictions=apart))[0]
    assert row.uar.value == pytest.approx(0.5)
    low, high = row.uar.ci95
    assert low < 0.1
    assert high > 0.9


def test_tap_and_snp_are_two_methods(tmp_path, monkeypatch):
    """A coefficient is chosen for each, never between them; beside SNP alone its lam = 0 stands for plain training."""
    keys = {'method': 'speaker_norm', 'speaker_norm': 'tap'}
    assert method_name(keys) == 'speaker_norm tap'
    assert method_name(keys | {'speaker_norm': 'snp', 'lam': 0.0}) == summary.PLAIN_METHODS[-1]
    assert method_name({'method': 'erm', 'speaker_norm': 'snp', 'lam': None}) == 'erm'


def test_the_methods_of_a_setting_stand_together(tmp_path):
    """However the programs came: a reader compares within a setting."""
    rows = comparison.comparison_rows(by_seed(finished(tmp_path / 'w'), 'model.width', 8, 16))
    assert [(r.setting['model.width'], r.method) for r in rows] == [
        (8, 'erm'),
        (8, 'dann'),
        (16, 'erm'),
        (16, 'dann'),
    ]


def test_batch_norm_arms_stand_beside_joint_plain_training(tmp_path):
    """An adversary's gain is over plain training in its arm; what the arm itself is worth is a column of its own."""
    of = by_seed(finished(tmp_path / 'w'), 'model.batch_norm', 'joint', 'domain')
    rows = {(r.setting['model.batch_norm'], r.method): r for r in comparison.comparison_rows(of)}
    joint, dann, adabn, both = (
        rows[arm, m] for arm in ('joint', 'domain') for m in ('erm', 'dann')
    )
    assert [r.gain is None for r in (joint, dann, adabn, both)] == [True, False, True, False]
    assert [r.gain_over_joint is None for r in (joint, dann, adabn, both)] == [
        True,
        False,
        False,
        False,
    ]
    assert dann.gain_over_joint == dann.gain
    assert both.gain_over_joint.value == pytest.approx(both.uar.value - joint.uar.value)
    assert '| - plain joint |' in markdown.render_sweep(of, [*rows.values()])


def test_what_the_probe_found_stands_beside_the_uar(tmp_path):
    """The mean over the chosen runs, by the domain that is forgotten; no column where nobody asked."""
    of = finished(tmp_path / 'w')
    assert 'leaks' not in markdown.render_sweep(of, comparison.comparison_rows(of))
    of.metadata['config']['domain'] = 'speaker'
    for run in of.results['runs']:
        told = 0.5 + 0.1 * run['hyper']['fold'] + (run['hyper']['method'] == 'dann') * 0.2
        run['probe'] = (
            {'speaker': {'linear': told, 'chance': 0.25}} if run['status'] == 'ok' else None
        )
    erm, dann = comparison.comparison_rows(of)
    assert erm.leakage == {'speaker': pytest.approx((0.55, 0.25))}
    assert dann.leakage == {'speaker': pytest.approx((0.75, 0.25))}
    text = markdown.render_sweep(of, [erm, dann])
    assert '| speaker leaks | s |' in text
    assert '| 0.750 (0.250) |' in text
