"""Tests that the card of a system is checked before anything of it is shown."""

import json
from pathlib import Path

import pytest
from helpers.submitted_systems import CARD

from data_pipelines.errors import UserError
from jaxser.scoring.card import parse_card

FILE = Path('folder/system.json')


def test_a_card_is_read_as_it_was_written(tmp_path):
    card = parse_card(CARD | {'name': 'система, 系統 “x”'}, FILE)
    card.write(tmp_path / 'system.json')
    content = json.loads((tmp_path / 'system.json').read_text(encoding='utf-8'))
    assert parse_card(content, FILE) == card


def test_parameters_and_url_may_be_unknown():
    card = parse_card({k: v for k, v in CARD.items() if k not in ('parameters', 'url')}, FILE)
    assert card.parameters is None
    assert card.url is None


@pytest.mark.parametrize('key', ['name', 'authors', 'training_data', 'licence', 'command', 'date'])
def test_a_missing_key_is_named(key):
    with pytest.raises(UserError, match=f'system.json lacks {key}'):
        parse_card({k: v for k, v in CARD.items() if k != key}, FILE)


def test_an_unknown_key_is_named_with_the_similar_one():
    with pytest.raises(UserError, match=r"'license'.* mean 'licence'"):
        parse_card(CARD | {'license': 'MIT'}, FILE)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'name': ''}, "name is ''"),
        ({'name': 'x' * 61}, 'name has 61 letters; at most 60'),
        ({'description': 'x' * 1001}, 'description has 1001 letters; at most 1000'),
        ({'authors': ['A', 'B']}, 'authors is'),
        ({'name': 'a\u202eb'}, r'U\+202E'),
        ({'name': 'a\x1b[2Jb'}, r'U\+001B'),
        ({'url': 'javascript:alert(1)'}, 'url is'),
        ({'url': 'https://' + 'x' * 1000}, 'url has 1008 letters'),
        ({'date': '29.11.2026'}, 'date is'),
        ({'parameters': -1}, "parameters is '-1'"),
        ({'parameters': True}, "parameters is 'True'"),
        ({'parameters': '8M'}, "parameters is '8M'"),
        ({'parameters': 1.5}, r"parameters is '1\.5'"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(change, message):
    with pytest.raises(UserError, match=rf'system\.json: .*{message}'):
        parse_card(CARD | change, FILE)
