"""Tests of the sections on the data and the split: the audit as tables."""

from helpers import finished_sweeps
from helpers.finished_sweeps import CLEAN_AUDIT, LEAKY_AUDIT, write_sweep
from helpers.html_page import Page

from jaxser.analysis.finished import SweepAnalysis, read_finished_sweep
from jaxser.reporting import audit_sections


def split_text(path, audit: dict) -> str:
    """Returns the text of the section on the split."""
    write_sweep(path, lams=(0.0, 1.0), probed=False, audit=audit)
    analysis = SweepAnalysis(read_finished_sweep(path))
    return ' '.join(Page(audit_sections.split_section(analysis).body).text.split())


def test_the_audit_is_tables(tmp_path):
    """What parts share, what tells the emotion, what is withheld, and examples."""
    text = split_text(tmp_path / 'w', CLEAN_AUDIT)
    for row in (
        'in two parts shared in folds nearly identical speakers 0 0 of 5',
        'recordings 0 0 of 5 0 copies within one part (harmless) 1 0',
        'Of: the bits of the emotion itself, the most there can be.',
        'speaker 0.10 0.10 2.00 none',
        'length 0.340 0.333 0.01 none',
        'Not measured: codec: prepared by an earlier version.',
        'withheld utterances, by fold 40, 41, 40, 40, 40',
        '1 example',
        'duplicates one part u1 and u2',
    ):
        assert row in text, row
    assert '{' not in text, 'no JSON'


def test_a_leak_is_first_and_has_its_examples(tmp_path):
    text = split_text(tmp_path / 'w', LEAKY_AUDIT)
    assert text.startswith('2 speakers are in both training and test (the configuration')
    assert 'speakers 2 5 of 5' in text
    assert 'speaker part 1 train and test a and b' in text


def test_audits_of_earlier_versions_have_the_tables_that_they_can(tmp_path):
    text = split_text(tmp_path / 'w', {'folds': 5, 'leaks': []})
    assert 'Not checked (results of an earlier version)' in text
    assert split_text(tmp_path / 'v', {}).startswith('The split was not audited')


def test_the_data_are_described_by_what_is_known(tmp_path):
    """Earlier versions recorded no speakers."""
    results = write_sweep(tmp_path / 'w', speakers=finished_sweeps.SPEAKERS, audit=CLEAN_AUDIT)
    analysis = SweepAnalysis(read_finished_sweep(tmp_path / 'w'))
    facts = dict(audit_sections.data_facts(analysis))
    assert facts['utterances'] == '240'
    assert facts['speakers'] == '8 (4 f, 4 m)'
    assert facts['split'].startswith(results['split_sha256'][:12])
    analysis.results = {key: value for key, value in results.items() if key != 'speakers'}
    facts = dict(audit_sections.data_facts(analysis))
    assert 'speakers' not in facts
    assert 'language' not in facts
