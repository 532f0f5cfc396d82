"""Protects the language of the documentation: short sentences, a short README, links that work."""

import re
from pathlib import Path

import pytest

from data_pipelines.corpora import _list_columns, corpus_names

ROOT = Path(__file__).parents[2]
MAX_MEAN_WORDS = 16  # words of a sentence, on average over a page

FENCED = re.compile(r'^( *)```.*?^\1```$', re.MULTILINE | re.DOTALL)
LINK = re.compile(r'!?\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)')
# What begins a new block of text: an empty line, an item of a list, a heading, a row of a table.
BLOCK_START = re.compile(r'\n(?=\s*(?:[-*] |\d+\. |#|\||>|!!! |\n))')
NOT_PROSE = ('#', '|', '<', '!!! ', '![', '---')


def written_pages() -> list[Path]:
    """Returns the pages that people write; `jaxser.compare` writes the other pages of results."""
    found = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *(ROOT / 'docs').glob('*.md')]
    found += (ROOT / 'docs' / 'guide').glob('*.md')
    return sorted([*found, ROOT / 'docs' / 'results' / 'index.md'])


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def sentences(text: str) -> list[str]:
    """Returns the sentences of the text of a page, without its code, tables and headings."""
    text = LINK.sub(r'\g<text>', FENCED.sub('\n', text))
    found = []
    for block in BLOCK_START.split(text):
        block = ' '.join(block.split())
        if block.startswith(NOT_PROSE):
            continue
        for sentence in re.split(r'(?<=[.?!])[)*`"\']* +(?=[A-Z0-9`*(\[])', block):
            if re.search(r'\w', sentence):
                found.append(sentence)
    return found


def count_words(sentence: str) -> int:
    return len([word for word in sentence.split() if re.search(r'\w', word)])


def test_sentences_are_counted():
    """Code, tables and headings do not count; items of lists do."""
    code = '```bash\nno\n```\n'
    table = '| x |\n|---|\n\n'
    text = f'# Title\n\nOne two. Three `a.b` four?\n\n{table}{code}- An item\n- One [a b](c.md)\n'
    assert sentences(text) == ['One two.', 'Three `a.b` four?', '- An item', '- One a b']
    assert [count_words(s) for s in sentences(text)] == [2, 3, 2, 3]


@pytest.mark.parametrize('page', written_pages(), ids=page_name)
def test_sentences_are_short(page):
    """Readers whose second language is English understand each sentence at once."""
    lengths = [count_words(sentence) for sentence in sentences(page.read_text())]
    assert sum(lengths) <= MAX_MEAN_WORDS * len(lengths)


def test_the_readme_is_a_page():
    """Everything else is in docs/."""
    assert len((ROOT / 'README.md').read_text().splitlines()) <= 150


@pytest.mark.parametrize('name', ['README.md', 'CONTRIBUTING.md'])
def test_links_outside_the_site_work(name):
    """mkdocs checks the links of the site only."""
    for match in LINK.finditer((ROOT / name).read_text()):
        target = match['target']
        if not target.startswith(('http://', 'https://', '#')):
            assert (ROOT / target.partition('#')[0]).exists(), target


@pytest.mark.parametrize('page', written_pages(), ids=page_name)
def test_files_of_the_repository_exist(page):
    """Files that a page names in `code` are where it says."""
    for path in re.findall(
        r'`((?:configs|docs|jaxser|data_pipelines|launch|tests)/[\w/.-]+\.\w+)', page.read_text()
    ):
        if not re.search(r'/my_\w+\.py$|entropy\.py$|lakeside\.py$', path):
            assert (ROOT / path).exists(), path


def test_every_corpus_is_in_the_table_of_corpora():
    """The table says which folder `prepare` expects."""
    text = (ROOT / 'docs' / 'guide' / 'corpora.md').read_text()
    for name in corpus_names():
        assert re.search(rf'^\| `{name}[` ]', text, re.MULTILINE), name


def test_every_name_of_a_column_is_in_the_table_of_your_own_data():
    """The names that `prepare folder` understands."""
    text = (ROOT / 'docs' / 'guide' / 'data.md').read_text()
    for column, names in _list_columns.OTHER_NAMES.items():
        assert f'| `{column}` | {", ".join(names.split())} |' in text
