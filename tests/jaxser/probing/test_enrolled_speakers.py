"""Tests of the probe of a sweep with enrolled speakers."""

import numpy as np
import pytest
from helpers import tiny_config

from data_pipelines.protocols.folds import Fold
from jaxser.probing import prober
from jaxser.training import experiment


@pytest.fixture
def probed(data, tmp_path, monkeypatch, quick_attackers):
    """results.json, representations.npz, and each run's fold with the rows that were probed."""
    config = tiny_config.get_config()
    keys = {
        'data.dir': str(data),
        'data.normalise': 'speaker_enrolled',
        'sweep.enrol': (0, 'all'),
        'sweep.fold': (0,),
        'sweep.lam': (0.5,),
        'train.epochs': 2,
    }
    config.update_from_flattened_dict(keys)
    experiment.run_experiment(config, tmp_path)
    probed_rows: list[tuple[Fold, np.ndarray]] = []
    probe_group = prober.Prober.probe_group

    def record_and_probe(self, group, representations, *arguments):
        for n, fold_index in enumerate(group.subset_fold_N):
            rows, _ = representations.get_run(n)
            probed_rows.append((self.task.subset_folds[fold_index], rows))
        return probe_group(self, group, representations, *arguments)

    monkeypatch.setattr(prober.Prober, 'probe_group', record_and_probe)
    results = prober.probe_sweep(tmp_path)
    with np.load(tmp_path / 'representations.npz', allow_pickle=False) as arrays:
        return results, dict(arrays), probed_rows


def test_attackers_get_no_utterance_that_is_set_aside(probed):
    """Neither for fitting nor for testing; unseen speakers are asked about all the same."""
    results, arrays, probed_rows = probed
    assert [len(fold.enrolled) > 0 for fold, _ in probed_rows] == [False, True]
    for n, (fold, rows) in enumerate(probed_rows):
        # Of 16 utterances in each part: a half of dev and test; of training speakers, the 4 on
        # which attackers are tested and half of the others.
        assert len(rows) == 8 + 8 + 4 + 6
        np.testing.assert_array_equal(rows, fold.used_rows)
        assert len(fold.reserved) == 8 + 8 + 6
        assert not set(rows) & {*fold.reserved, *fold.enrolled}
        assert set(arrays[f'row_{n}']) == set(rows)
    for run in results['runs']:
        assert run['probe']['unseen_speaker']['strangers']
        assert 0 <= run['probe']['unseen_speaker']['strongest'] <= 1
        assert run['probe']['unseen_speaker']['classes'] == 4
        assert run['probe']['speaker']['n'] == 4
        assert run['probe']['verification']['speakers'] == 4
        assert 0 <= run['refit']['speaker']['after'] <= run['refit']['speaker']['before']
    # The offsets change the representation.
    assert not np.array_equal(arrays['z_0'], arrays['z_1'])
