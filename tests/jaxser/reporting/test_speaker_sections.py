"""Tests of what the page shows of single speakers, few or many, and of speakers.csv."""

import numpy as np
import pytest
from helpers import html_page, rating_sweeps
from helpers.finished_sweeps import HTML_NAME, SPEAKERS, write_sweep

from data_pipelines import csv_files
from jaxser.analysis import bootstrap
from jaxser.analysis.finished import SweepAnalysis, read_finished_sweep
from jaxser.analysis.speaker_differences import SpeakerDifference
from jaxser.reporting import plotting, sections, speaker_sections

SHARES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # correct at lam = 1, by speaker; 0.5 at 0


@pytest.fixture
def analysis(tmp_path) -> SweepAnalysis:
    write_sweep(tmp_path / 'w', probed=False, share_by_speaker=SHARES)
    return SweepAnalysis(read_finished_sweep(tmp_path / 'w'))


@pytest.fixture
def many_speakers(monkeypatch) -> None:
    """Eight speakers are many, and two at each end are shown."""
    monkeypatch.setattr(speaker_sections, 'MAX_LISTED_SPEAKERS', 7)
    monkeypatch.setattr(speaker_sections, 'EXTREME_SPEAKERS', 2)


def drawn_rows(monkeypatch, analysis: SweepAnalysis) -> tuple[str, list[list[str]]]:
    """Returns the section's text, and the names in each forest plot."""
    panels = []

    def draw_nothing(draw, *arguments):
        if draw is speaker_sections.draw_forest_plot:
            panels.append([row.name for row in arguments[0]])
        return plotting.Drawing('<svg/>', 1, 1)

    monkeypatch.setattr(plotting, 'render_svg', draw_nothing)
    return speaker_sections.speakers_section(analysis).body, panels


def test_few_speakers_are_all_shown(monkeypatch, analysis):
    """Those with the highest differences first."""
    body, panels = drawn_rows(monkeypatch, analysis)
    by_difference = [name for _, name in sorted(zip(SHARES, SPEAKERS), reverse=True)]
    assert panels == [[*by_difference, 'all, 95 %']]
    assert 'Histogram' not in body
    assert 'speakers.csv' not in body


def test_of_many_speakers_the_extremes_are_shown(monkeypatch, analysis, many_speakers):
    """Besides a histogram of all of them; the page says where the others are."""
    body, panels = drawn_rows(monkeypatch, analysis)
    assert panels == [['h', 'g', '_b', HTML_NAME, 'all, 95 %']]
    assert 'Histogram of UAR minus that of plain training, over 8 speakers' in body
    assert 'All: speakers.csv.' in body


def test_speakers_with_few_utterances_are_not_extremes(monkeypatch, analysis, many_speakers):
    """Their figures are extreme by chance."""
    monkeypatch.setattr(speaker_sections, 'MIN_LISTED_UTTERANCES', 31)  # all have 30
    _, panels = drawn_rows(monkeypatch, analysis)
    assert panels == [['all, 95 %']]
    assert 'Speakers with the lowest' not in sections.groups_section(analysis).body


def test_the_table_of_many_speakers_has_the_lowest_and_the_highest(analysis, many_speakers):
    page = html_page.Page(str(sections.groups_section(analysis).body))
    assert 'Speakers with the lowest and the highest UAR' in page.text
    for name in (HTML_NAME, '_b', 'g', 'h'):
        assert name in page.text
    assert '王' not in page.text
    assert 'Of 8 speakers with 20 utterances or more. All: speakers.csv.' in page.text


def test_every_speaker_is_in_the_file(analysis):
    """With the UAR that the confusion matrices have, and the difference of the two."""
    rows = list(csv_files.read_rows(speaker_sections.speakers_csv(analysis)))
    assert [row['speaker'] for row in rows] == analysis.tested_speakers == sorted(SPEAKERS)
    assert {row['utterances'] for row in rows} == {'30'}
    assert {(row['sex'], row['language'], row['corpus']) for row in rows} == {
        ('f', 'de', ''),
        ('m', 'de', ''),
    }
    for key, row in (('uar', analysis.best_row), ('uar_plain', analysis.plain_row)):
        expected_S = bootstrap.uar_from_counts(analysis.confusion_counts(row)).mean(0)
        np.testing.assert_allclose([float(row[key]) for row in rows], expected_S, atol=1e-6)
    for row in rows:
        difference = float(row['uar']) - float(row['uar_plain'])
        assert float(row['delta_uar']) == pytest.approx(difference, abs=1e-5)
        if difference:  # else no utterance differs, and there is no interval
            assert float(row['delta_low']) < difference < float(row['delta_high'])


def test_without_plain_training_the_file_has_no_differences(tmp_path):
    """Nor is there a file where no setting has figures. Of ratings it has the CCC."""
    rating_sweeps.write_sweep(tmp_path / 'w', lams=(0.0,))
    text = speaker_sections.speakers_csv(SweepAnalysis(read_finished_sweep(tmp_path / 'w')))
    assert text.partition('\n')[0] == 'speaker,corpus,language,sex,utterances,ccc'
    diverged = [(0.0, seed, 0) for seed in range(2)]
    write_sweep(
        tmp_path / 'none', lams=(0.0, 1.0), diverged=[*diverged, *((1.0, s, 0) for s in (0, 1))]
    )
    analysis = SweepAnalysis(read_finished_sweep(tmp_path / 'none'))
    assert speaker_sections.speakers_csv(analysis) is None


def test_the_histogram_counts_speakers_by_the_side_of_their_interval():
    differences = [
        SpeakerDifference('a', 0.2, (0.1, 0.3), 30),
        SpeakerDifference('b', -0.2, (-0.3, -0.1), 30),
        SpeakerDifference('c', 0.3, (-0.1, 0.7), 30),
        SpeakerDifference('d', 0.1, None, 1),
    ]
    figure = speaker_sections.draw_speaker_histogram(differences, 'UAR')
    _, labels = figure.axes[0].get_legend_handles_labels()
    assert sorted(labels) == ['above 0 (1)', 'below 0 (1)', 'neither (2)']
