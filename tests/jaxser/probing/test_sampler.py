"""Tests of the sample of representations for the map."""

from types import SimpleNamespace

import numpy as np

from jaxser.probing import sampler
from jaxser.training import tracking

UTTERANCES = 200
RUNS = [{'lam': lam, 'seed': 0, 'fold': 0} for lam in (0.0, 1.0)]
TEXT = {
    'utterance': np.array([f'u{n}' for n in range(UTTERANCES)]),
    'speaker': np.array([f's{n % 7}' for n in range(UTTERANCES)]),
    'emotion': np.array([f'e{n % 3}' for n in range(UTTERANCES)]),
}


def make_arrays(first_row: int) -> dict[str, np.ndarray]:
    """Returns the arrays of two runs, of which z is the number of the utterance."""
    rows = np.arange(first_row, UTTERANCES, 2)
    z_NxBxD = np.stack([rows, 1000 + rows]).astype(float)[:, :, None]
    representations = tracking.Collected(np.zeros(2, int))
    representations.add(rows[None], z_NxBxD)
    parts = {'adapt': [], 'withheld': [], 'dev': [], 'test': rows[rows > 100]}
    samples = sampler.RepresentationSampler(RUNS)
    group = SimpleNamespace(runs=RUNS, subset_fold_N=[0, 0])
    samples.add(group, representations, [SimpleNamespace(**parts)])
    return samples.to_arrays(TEXT)


def test_of_many_utterances_a_sample_is_kept(monkeypatch):
    """The same for all settings; each row still finds its utterance and its part."""
    monkeypatch.setattr(sampler, 'MAX_UTTERANCES', 20)
    arrays = make_arrays(1)
    assert len(arrays['utterance']) == 20
    np.testing.assert_array_equal(arrays['row_0'], arrays['row_1'])
    number_N = arrays['z_0'][:, 0].astype(int)
    names = [f'u{number}' for number in number_N]
    assert arrays['utterance'][arrays['row_0']].tolist() == names
    assert arrays['speaker'][arrays['row_0']].tolist() == [f's{n % 7}' for n in number_N]
    np.testing.assert_array_equal(arrays['part_0'] == 'test', number_N > 100)
    np.testing.assert_array_equal(arrays['z_1'], arrays['z_0'] + 1000)


def test_few_utterances_are_kept_as_they_are():
    """Also those that belong to no setting have their name."""
    arrays = make_arrays(0)
    assert arrays['utterance'].tolist() == TEXT['utterance'].tolist()
    np.testing.assert_array_equal(arrays['row_1'], np.arange(0, UTTERANCES, 2))
