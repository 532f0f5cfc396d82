"""Tests that commands and values are published without what is private."""

import pytest

from jaxser.anonymity import anonymize_command, anonymize_value, names_speakers


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        ('whisper', 'whisper'),
        ('/home/me/whisper', 'FOLDER/whisper'),
        ('~/whisper', 'FOLDER/whisper'),
        ('speaker=anna', 'SPEAKERS'),
        ('speaker!=anna', 'SPEAKERS'),
        ('language!=en', 'language!=en'),
    ],
)
def test_folders_and_speakers_are_removed_from_values(value, expected):
    assert anonymize_value(value) == expected


@pytest.mark.parametrize('selection', ['speaker=anna', 'speaker!=anna', ' utterance != a,b'])
def test_a_choice_of_speakers_is_not_published(selection):
    """Neither those that are used nor those that are left out (config.data.only)."""
    assert names_speakers(selection)
    for command in (
        f"main '--config.data.only={selection}'",
        f"main --config.data.only '{selection}'",
    ):
        assert anonymize_command(command).endswith('SPEAKERS')
