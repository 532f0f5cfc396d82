"""Tests how a user's own corpus is read from a CSV file."""

import os
import re
import unicodedata
from pathlib import Path

import pytest

from data_pipelines.corpora import folder
from data_pipelines.errors import UserError


def write_list(root: Path, text: str) -> Path:
    path = root / 'list.csv'
    path.write_text(text)
    return path


def test_every_column_is_read_and_paths_are_relative_to_the_list(tmp_path):
    path = write_list(
        tmp_path,
        'path,speaker,emotion,start,end,language,corpus,sex,session,sentence,style,split,'
        'arousal,valence,dominance\n'
        'a/b.wav,anna,happy,0.5,2,de,mine,female,s1,"Guten Tag, Welt",acted,dev,-1,0.25,1\n'
        'a/b.wav,anna,sad,2,,,,,,,,,,,\n',
    )
    full, sparse = folder.walk(path)
    assert (full.path, full.start, full.end) == (tmp_path / 'a/b.wav', 0.5, 2.0)
    assert (full.corpus, full.sex, full.session) == ('mine', 'female', 's1')
    assert (full.sentence, full.style) == ('Guten Tag, Welt', 'acted')
    assert (full.split, full.arousal, full.valence, full.dominance) == ('dev', -1.0, 0.25, 1.0)
    assert (sparse.start, sparse.end, sparse.corpus, sparse.language) == (2.0, None, 'folder', '')
    assert (sparse.split, sparse.arousal, sparse.valence, sparse.dominance) == (
        '',
        None,
        None,
        None,
    )
    assert full.name != sparse.name


def test_two_channels_of_one_file_are_two_utterances(tmp_path):
    text = 'path,speaker,emotion,channel\na.wav,1,sad,1\na.wav,2,sad,2\nb.wav,3,sad,\n'
    utterances = folder.walk(write_list(tmp_path, text))
    assert [utterance.channel for utterance in utterances] == [1, 2, 0]
    assert [utterance.name for utterance in utterances] == ['a.wav@1', 'a.wav@2', 'b.wav']


@pytest.mark.parametrize('channel', ['0', '-1', 'left', '1.5', '1000'])
def test_a_channel_that_is_no_number_from_1_is_refused(channel, tmp_path):
    path = write_list(tmp_path, f'path,speaker,emotion,channel\na.wav,1,sad,{channel}\n')
    with pytest.raises(UserError, match=f"line 2: channel '{channel}' is not a number from 1"):
        folder.walk(path)


def test_unknown_columns_are_ignored_and_named(tmp_path, capsys):
    """Also where their cells are not UTF-8, or their names would move the cursor."""
    path = tmp_path / 'list.csv'
    path.write_bytes(b'path,mood\x1b[2J,speaker,emotion,age,age\nx.wav,caf\xe9,1,sad,4,5\n')
    (utterance,) = folder.walk(path)
    assert (utterance.speaker, utterance.emotion) == ('1', 'sad')
    printed = capsys.readouterr().out
    assert 'unknown columns, which are ignored: mood[2j, age, age.' in printed
    assert '\x1b' not in printed


def test_a_list_from_a_spreadsheet_is_read(tmp_path):
    """With a byte order mark, CRLF, columns in another order, and an absolute path."""
    absolute = tmp_path / 'x.wav'
    path = write_list(tmp_path, f'\ufeffemotion,speaker,path\r\nangry,1,{absolute}\r\n')
    (utterance,) = folder.walk(path)
    assert utterance.path == absolute


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('path,speaker\nx.wav,1\n', 'missing: emotion'),
        ('path,emotion\nx.wav,sad\n', 'add a column speaker without text'),
        ('path,speaker,emotion,chanel\nx.wav,1,sad,2\n', 'rename chanel to channel'),
        ('path,speaker,emotion,path\nx.wav,1,sad,x.wav\n', 'each once'),
        ('path|speaker|emotion\nx.wav|1|sad\n', 'separated by commas, semicolons or tabs'),
        ('path,speaker,emotion,\nx.wav,1,sad,new\n', 'Column 4 of .* has no name'),
        (',path,speaker,emotion\n1,x.wav,1,sad\n1,y.wav,1,sad\n', 'Column 1 of .* has no name'),
        ('', r'columns \(none\)'),
        ('path,speaker,emotion\n', 'no utterances'),
        (
            'path,speaker,emotion\nx.wav,1,sad\ny.wav,1,jolly\n',
            "line 3: unknown emotion 'jolly'. Expected emotions: angry, anxious",
        ),
        ('path,speaker,emotion\nx.wav,1,\n', 'line 2: no emotion'),
        ('path,speaker,emotion\nx.wav,1,nan\n', 'line 2: no emotion'),
        ('path,speaker,emotion,end\nx.wav,1,sad,inf\n', "line 2: end 'inf' is not a number of"),
        ('path,speaker,emotion\nx.wav,1\n', 'line 2: more or fewer cells'),
        ('path,speaker,emotion\nx.wav,1,sad,2\n', 'line 2: more or fewer cells'),
        ('path,speaker,emotion,start\nx.wav,1,sad,soon\n', "line 2: start 'soon'"),
        (
            'path,speaker,emotion,split\nx.wav,1,sad,trian\n',
            "line 2: split 'trian' is neither train nor dev nor test",
        ),
        (
            'path,speaker,emotion,start,end\nx.wav,1,sad,-1,1\n',
            'line 2: start -1 is before the beginning of the file',
        ),
        (
            'path,speaker,emotion,start,end\nx.wav,1,sad,2,1\n',
            'line 2: the segment from 2 to 1 s has no length',
        ),
        ('path,speaker,emotion,sex\nx.wav,1,sad,1\n', "line 2: sex '1' .*empty if it is unknown"),
        ('path,speaker,emotion,mood\nx.wav,1,sad\n', 'line 2: more or fewer cells'),
        ('My list,,\npath,speaker,emotion\nx.wav,1,sad\n', 'The first line must have the names'),
        ('path\tspeaker\temotion\n1\tx.wav\t1\tsad\n', 'as R writes them'),
        ('"path" "speaker" "emotion"\n"1" "x.wav" "1" "sad"\n', 'line 1, .*not separated by'),
        ('path,speaker,emotion\nx.wav,1,NA\n', 'line 2: no emotion'),
        (
            'path,speaker,emotion,arousal\nx.wav,1,sad,0.5\ny.wav,1,sad,1.5\n',
            "line 3: arousal '1.5' is not a number from -1 to 1",
        ),
        (
            'path,speaker,emotion,arousal\nx.wav,1,sad,-1.01\n',
            "line 2: arousal '-1.01' is not a number",
        ),
        (
            'path,speaker,emotion,valence\nx.wav,1,sad,inf\n',
            "line 2: valence 'inf' is not a number from -1 to 1",
        ),
        (
            'path,speaker,emotion,dominance\nx.wav,1,sad,high\n',
            "line 2: dominance 'high' is not a number from -1 to 1",
        ),
        (
            'path,speaker,emotion\nx.wav,1,sad\nx.wav,2,sad\n',
            r'more than once.*: x\.wav on lines 2, 3',
        ),
        ('path,speaker,emotion\n"x.wav,1,sad\n', 'line 2, is not CSV'),
        (
            'path,speaker,emotion\n\nx.wav,1,sad\ny.wav,"2,sad\nz.wav,2,sad\nz.wav,"a",sad\n',
            'line 4, is not CSV: .*quotation mark is missing or too many in the row that begins',
        ),
        ('path,speaker,emotion\n\nx.wav,"1\n\n2",sad,\n', 'line 3: more or fewer cells'),
    ],
)
def test_a_wrong_list_is_refused_with_what_is_wrong_and_where(text, message, tmp_path):
    with pytest.raises(UserError, match=message):
        folder.walk(write_list(tmp_path, text))


def test_a_mistake_in_many_rows_is_reported_once(tmp_path):
    """With the number of rows and the first lines; the known emotions are listed once."""
    rows = [f'{n}.wav,1,zap\n{n}b.wav,1,sad\n' for n in range(38)]
    path = write_list(tmp_path, 'path,speaker,emotion\n' + ''.join(rows) + 'x.wav,1,fun\n')
    with pytest.raises(UserError) as error:
        folder.walk(path)
    message = str(error.value)
    assert '39 rows that cannot be used' in message
    assert "unknown emotion 'zap' in 38 rows (lines 2, 4, 6, ...); line 78: unknown" in message
    assert message.count('angry') == message.count("'zap'") == 1


def test_spaces_at_the_ends_of_cells_are_ignored(tmp_path):
    """Otherwise a speaker would be two people, perhaps one on each side of a split."""
    text = 'path,speaker,emotion\na.wav,s1,sad\nb.wav,s1 , sad\n'
    utterances = folder.walk(write_list(tmp_path, text))
    assert {(u.speaker, u.emotion) for u in utterances} == {('s1', 'sad')}


def test_texts_must_be_utf_8_but_paths_may_be_any_bytes(tmp_path):
    path = tmp_path / 'list.csv'
    path.write_bytes('path,speaker,emotion\nx.wav,Jürgen,sad\n'.encode('latin-1'))
    with pytest.raises(UserError, match=r'line 2: text that is not UTF-8\. Save the list as UTF-8'):
        folder.walk(path)
    path.write_bytes('path,speaker,Gefühl\nx.wav,1,sad\n'.encode('latin-1'))
    with pytest.raises(UserError, match=r'first line of .* has text that is not UTF-8'):
        folder.walk(path)
    path.write_bytes('path,speaker,emotion\nJürgen.wav,1,sad\n'.encode('latin-1'))
    (utterance,) = folder.walk(path)
    assert os.fsencode(utterance.path.name) == 'Jürgen.wav'.encode('latin-1')
    utterance.name.encode()  # no surrogates: the name is stored in the shards


@pytest.mark.parametrize('delimiter', [',', ';', '\t'])
@pytest.mark.parametrize('newline', ['\n', '\r\n', '\r'])
def test_cells_are_separated_as_spreadsheets_do_it(delimiter, newline, tmp_path):
    """Names of columns may have blanks and capitals, and rows may be empty."""
    rows = ['\ufeffPath, speaker,EMOTION ', 'x.wav, 1, sad', ',,', 'y.wav,2,angry']
    text = newline.join(rows).replace(',', delimiter) + newline
    path = tmp_path / 'list.csv'
    path.write_bytes(text.encode())
    first, second = folder.walk(path)
    assert (first.path, first.speaker, first.emotion) == (tmp_path / 'x.wav', '1', 'sad')
    assert (second.path, second.speaker, second.emotion) == (tmp_path / 'y.wav', '2', 'angry')


def test_decimal_commas_are_read_where_no_comma_separates(tmp_path):
    text = 'path;speaker;emotion;start;end;arousal;sentence\nx.wav;1;sad;0,5;2;-0,25;1,5\n'
    (utterance,) = folder.walk(write_list(tmp_path, text))
    assert (utterance.start, utterance.end, utterance.arousal) == (0.5, 2.0, -0.25)
    assert utterance.sentence == '1,5'


@pytest.mark.parametrize('name', ['', 'Unnamed: 0', 'Unnamed: 0.1'])
def test_row_numbers_without_a_name_are_ignored_and_named(name, tmp_path, capsys):
    """pandas writes them; an empty column at the end is ignored, too."""
    text = f'{name},path,speaker,emotion,\n0,x.wav,1,sad,\n5,y.wav,2,angry,\n'
    assert len(folder.walk(write_list(tmp_path, text))) == 2
    output = capsys.readouterr().out
    assert 'list.csv has no name. It has row numbers' in output
    assert 'Column 5 of' in output


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('path,speaker,emotion\nx.wav,1,sad\n'.encode('utf-16'), 'UTF-16'),
        ('path,speaker,emotion\nx.wav,1,sad\n'.encode('utf-16-le'), 'UTF-16'),
        (b'PK\x03\x04' + b'\0' * 26 + b'xl/workbook.xml', 'Excel'),
        (b'PK\x03\x04' + bytes(range(200)), 'Excel'),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n', 'Git LFS'),
        (b'<!DOCTYPE html><html></html>', 'HTML'),
        (b'PAR1' + bytes(20), 'Parquet'),
        (b'SQLite format 3\0' + bytes(20), 'SQLite'),
        (b'{\\rtf1 path,speaker,emotion}', 'RTF'),
        (b'RIFF' + bytes(20), 'no text'),
    ],
)
def test_a_file_that_is_no_table_is_called_what_it_is(content, message, tmp_path):
    path = tmp_path / 'list.csv'
    path.write_bytes(content)
    with pytest.raises(UserError, match=f'list.csv is not CSV: it is .*{message}'):
        folder.walk(path)


def test_the_case_of_words_is_ignored(tmp_path):
    text = 'path,speaker,emotion,sex,split\nx.wav,1,Angry,Male,Train\ny.wav,2, SAD ,FEMALE,dev\n'
    first, second = folder.walk(write_list(tmp_path, text))
    assert (first.emotion, first.sex, first.split) == ('angry', 'male', 'train')
    assert (second.emotion, second.sex, second.split) == ('sad', 'female', 'dev')


@pytest.mark.parametrize('missing', ['NA', 'nan', 'n/a', '#N/A', '?', ''])
def test_cells_without_a_value_are_empty(missing, tmp_path):
    """R writes NA, pandas nan, spreadsheets #N/A."""
    columns = 'start,end,channel,sex,session,split,arousal'
    row = ','.join(['x.wav,1,sad'] + [missing] * 7)
    text = f'path,speaker,emotion,{columns}\n{row}\n'
    (utterance,) = folder.walk(write_list(tmp_path, text))
    assert (utterance.name, utterance.start, utterance.end) == ('x.wav', 0, None)
    assert (utterance.channel, utterance.arousal) == (0, None)
    assert (utterance.sex, utterance.session, utterance.split) == ('', '', '')


def test_numbers_that_pandas_writes_with_a_point_are_whole(tmp_path):
    """It does so in a column with empty cells."""
    text = 'path,speaker,emotion,channel\nx.wav,1,0.0,2.0\ny.wav,1,1.0,\n'
    options = folder.make_options(emotions='0=sad,1=angry')
    first, second = folder.walk(write_list(tmp_path, text), options)
    assert (first.emotion, first.channel) == ('sad', 2)
    assert (second.emotion, second.channel) == ('angry', 0)


def test_usual_words_for_the_sexes_and_parts_are_read(tmp_path):
    rows = 'a.wav,1,sad,F,val\nb.wav,2,sad,M.,Training\nc.wav,3,sad,Weiblich,testing\n'
    text = 'path,speaker,emotion,sex,split\n' + rows
    utterances = folder.walk(write_list(tmp_path, text))
    assert [u.sex for u in utterances] == ['female', 'male', 'female']
    assert [u.split for u in utterances] == ['dev', 'train', 'test']


@pytest.mark.parametrize('start', ['sep=;\n', '"sep=;"\n', '\ufeffsep=;\n', '\n\n', '\ufeff\ufeff'])
def test_what_spreadsheets_write_before_the_header_is_passed_over(start, tmp_path):
    """Lines are counted from the beginning of the file."""
    path = write_list(tmp_path, f'{start}path;speaker;emotion\nx.wav;1;sad\n')
    (utterance,) = folder.walk(path)
    assert (utterance.speaker, utterance.emotion) == ('1', 'sad')
    path.write_text(path.read_text().replace('sad', 'wrong'))
    with pytest.raises(UserError, match=f'line {2 + start.count(chr(10))}: unknown emotion'):
        folder.walk(path)


def test_names_of_columns_may_have_what_cannot_be_seen(tmp_path):
    text = '\u200bpath,\uff53peaker, emotion\u200b\nx.wav,1,sad\u200b\n'
    (utterance,) = folder.walk(write_list(tmp_path, text))
    assert (utterance.path.name, utterance.emotion) == ('x.wav', 'sad')


def test_own_words_and_codes_are_mapped_and_the_message_says_how(tmp_path):
    path = write_list(tmp_path, 'path,speaker,emotion\nx.wav,1,Angyr\ny.wav,2,0\nz.wav,2,sad\n')
    with pytest.raises(UserError, match=r'--emotions "Angyr=angry", and') as error:
        folder.walk(path)
    assert "Did you mean 'angry' for 'Angyr'?" in str(error.value)
    assert "after a comma, in the same way, '0' with an emotion" in str(error.value)
    pasted = re.search('--emotions "(.*?)"', str(error.value))[1]
    assert folder.make_options(emotions=pasted).class_by_word == {'angyr': 'angry'}
    options = folder.make_options(emotions='ANGYR=angry, 0 = Fear')
    assert [u.emotion for u in folder.walk(path, options)] == ['angry', 'fear', 'sad']


def test_common_words_of_many_languages_are_read_and_said(tmp_path, capsys):
    """Upper case, accents and their absence do not matter."""
    words = ['Wut', 'colere', 'KIZGIN', 'радость', '高兴', 'ፍርሃት', 'Überraschung', 'joy']
    rows = [f'{n}.wav,1,{word}\n' for n, word in enumerate(words)]
    utterances = folder.walk(write_list(tmp_path, 'path,speaker,emotion\n' + ''.join(rows)))
    emotions = [utterance.emotion for utterance in utterances]
    assert emotions == ['angry'] * 3 + ['happy'] * 2 + ['fear', 'surprise', 'happy']
    printed = capsys.readouterr().out
    assert 'wut -> angry: 1 row,' in printed
    assert 'Warning: 3 words of this list count as angry: colere, kizgin, wut.' in printed


def test_a_map_gives_words_any_class_and_leaves_words_out(tmp_path, capsys):
    path = write_list(
        tmp_path, 'path,speaker,emotion\na.wav,1,0\nb.wav,1,1\nc.wav,1,2\nd.wav,1,joy\n'
    )
    map_file = tmp_path / 'map.csv'
    map_file.write_text('word;emotion\n0;Fröhlich und laut\n1;sad\n2;\n3;fear\n')
    options = folder.make_options(label_map=map_file)
    emotions = [utterance.emotion for utterance in folder.walk(path, options)]
    assert emotions == ['fröhlich und laut', 'sad', 'other', 'happy']
    printed = capsys.readouterr().out
    assert 'Left out of training, by --labels: 2: 1 row.' in printed
    assert 'Classes of your own: fröhlich und laut.' in printed
    assert "No row has the word '3'" in printed


def test_a_header_of_a_map_that_was_taken_as_a_word_is_said(tmp_path, capsys):
    """Not if some row has that word."""
    map_file = tmp_path / 'map.csv'
    map_file.write_text('Wort;Klasse\nzap;sad\nzup;fear\n')
    options = folder.make_options(label_map=map_file)
    folder.walk(write_list(tmp_path, 'path,speaker,emotion\na.wav,1,zap\n'), options)
    printed = capsys.readouterr().out
    assert 'Line 1 of --labels (Wort;Klasse) was taken as a word, which no row has.' in printed
    assert 'If it is a header, write word,emotion.' in printed
    assert "No row has the word 'zup', which" in printed
    folder.walk(write_list(tmp_path, 'path,speaker,emotion\na.wav,1,WORT\n'), options)
    assert 'Line 1' not in capsys.readouterr().out


def test_an_unknown_word_is_shown_as_the_list_has_it(tmp_path):
    """In the problem, in what may be meant and in the option to paste; small or not, one word."""
    rows = 'a.wav,1,Q\nb.wav,1,q\nc.wav,1,Angrry\n'
    with pytest.raises(UserError) as error:
        folder.walk(write_list(tmp_path, 'path,speaker,emotion\n' + rows))
    message = str(error.value)
    assert "unknown emotion 'Q' in 2 rows (lines 2, 3)" in message
    assert "Did you mean 'angry' for 'Angrry'?" in message
    assert '--emotions "Angrry=angry"' in message


def test_words_can_be_classes_as_they_are(tmp_path):
    path = write_list(tmp_path, 'path,speaker,emotion\na.wav,1,joy\nb.wav,1,Zap\n')
    options = folder.make_options(label_map='as_is')
    assert [utterance.emotion for utterance in folder.walk(path, options)] == ['joy', 'zap']


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a,happy,1\n', 'line 1: .*Expected two columns'),
        ('0,happy\n0,sad\n', "two emotions for '0'"),
        ('word,emotion\n', 'has no words'),
        ('0;a/b\n', "'a/b' cannot be the name of a class"),
        ('PK\x03\x04', 'is not CSV'),
    ],
)
def test_a_wrong_map_is_refused(text, message, tmp_path):
    path = tmp_path / 'map.csv'
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        folder.make_options(label_map=path)
    with pytest.raises(UserError, match=r'is not a file.*--labels as_is'):
        folder.make_options(label_map=tmp_path / 'none.csv')


def test_other_names_of_columns_are_read_and_said(tmp_path, capsys):
    """With the decimal commas of a column that is renamed; a column with our name is first."""
    text = 'File Name;spk;Label;gender;begin\na.wav;anna;sad;female;0,5\n'
    (utterance,) = folder.walk(write_list(tmp_path, text))
    assert (utterance.path.name, utterance.speaker, utterance.sex) == ('a.wav', 'anna', 'female')
    assert utterance.start == 0.5
    assert 'file name -> path, spk -> speaker, label -> emotion' in capsys.readouterr().out
    for columns in ('wav,file,speaker,emotion', 'file,wav,speaker,emotion'):
        with pytest.raises(UserError, match='several that may be it'):
            folder.walk(write_list(tmp_path, f'{columns}\na.wav,b.wav,1,sad\n'))


def test_the_columns_of_common_voice_are_read(tmp_path):
    text = 'client_id\tpath\tsentence\tgender\tlocale\temotion\n3f\ta.wav\tno\tfemale\ttr\tsad\n'
    (utterance,) = folder.walk(write_list(tmp_path, text))
    assert (utterance.speaker, utterance.sex, utterance.language) == ('3f', 'female', 'tr')


def test_columns_can_be_named(tmp_path):
    """Also in place of a column with our name."""
    text = 'where,emotion,who,mood\na.wav,x,1,sad\n'
    options = folder.make_options(columns='path=where, speaker=Who,emotion=mood')
    (utterance,) = folder.walk(write_list(tmp_path, text), options)
    assert (utterance.path.name, utterance.speaker, utterance.emotion) == ('a.wav', '1', 'sad')
    options = folder.make_options(columns='path=were,speaker=who')
    with pytest.raises(UserError, match=r"no column 'were'.*Did you mean 'where'"):
        folder.walk(write_list(tmp_path, text), options)
    for wrong, message in (
        ('path', 'expected COLUMN=NAME'),
        ('speakr=a', "Did you mean 'speaker'"),
        ('path=a,path=b', 'two names for path'),
        ('path=a,speaker=a', "the column 'a' twice"),
    ):
        with pytest.raises(UserError, match=message):
            folder.make_options(columns=wrong)


def test_ratings_on_another_scale_are_mapped(tmp_path):
    text = 'path,speaker,emotion,arousal,valence\na.wav,1,sad,1,3\nb.wav,1,sad,5,\n'
    path = write_list(tmp_path, text)
    with pytest.raises(UserError, match='name your scale, such as --scale 1 5 or --scale 1 7'):
        folder.walk(path)
    first, second = folder.walk(path, folder.make_options(scale=(1, 5)))
    assert (first.arousal, first.valence) == (-1, 0)
    assert (second.arousal, second.valence) == (1, None)
    with pytest.raises(UserError, match='is not a number from 1 to 4'):
        folder.walk(path, folder.make_options(scale=(1, 4)))
    with pytest.raises(UserError, match='the lowest and the highest rating'):
        folder.make_options(scale=(5, 1))


def test_the_range_of_each_rating_is_printed_with_a_warning_for_half_a_scale(tmp_path, capsys):
    text = 'path,speaker,emotion,arousal,valence\na.wav,1,sad,1,2.5\nb.wav,1,sad,5,\n'
    folder.walk(write_list(tmp_path, text), folder.make_options(scale=(1, 7)))
    printed = capsys.readouterr().out
    assert 'arousal: 2 rows, 1 to 5 on the scale 1 to 7.\n' in printed
    assert 'valence: 1 row, 2.5 to 2.5 on the scale 1 to 7; 1 row without it.\n' in printed
    assert 'dominance: ' not in printed
    assert 'Warning: all ratings of valence are in one half of the scale' in printed
    folder.walk(write_list(tmp_path, text), folder.make_options(scale=(0, 5)))
    assert 'Warning' not in capsys.readouterr().out


@pytest.mark.parametrize('rows', ['a.wav,1,0.5,\nb.wav,1,-1,\n', 'a.wav,1,,0\nb.wav,1,,\n'])
def test_a_list_with_ratings_needs_no_emotions(rows, tmp_path, capsys):
    path = write_list(tmp_path, f'path,speaker,arousal,valence\n{rows}')
    utterances = folder.walk(path)
    assert [utterance.emotion for utterance in utterances] == ['undecided', 'undecided']
    printed = capsys.readouterr().out
    assert '2 rows of' in printed
    assert 'it is undecided, because the list has ratings' in printed


def test_empty_emotions_are_undecided_only_if_the_list_has_ratings(tmp_path, capsys):
    rows = 'path,speaker,emotion,arousal\na.wav,1,sad,{0}\nb.wav,1,,{0}\n'
    utterances = folder.walk(write_list(tmp_path, rows.format(0.5)))
    assert [utterance.emotion for utterance in utterances] == ['sad', 'undecided']
    assert '1 row of' in capsys.readouterr().out
    with pytest.raises(UserError, match='line 3: no emotion'):
        folder.walk(write_list(tmp_path, rows.format('')))
    without_column = rows.replace(',emotion', '').replace(',sad', '').replace(',,', ',')
    with pytest.raises(UserError, match='no emotion in 2 rows'):
        folder.walk(write_list(tmp_path, without_column.format('')))


def test_every_rating_that_is_off_the_scale_is_named(tmp_path):
    """Also if a row has several, and the row is counted once."""
    text = 'path,speaker,arousal,valence,dominance\na.wav,1,5,0,4\nb.wav,1,5,3,0\n'
    with pytest.raises(UserError) as error:
        folder.walk(write_list(tmp_path, text))
    message = str(error.value)
    assert '2 rows that cannot be used' in message
    assert "arousal '5' is not a number from -1 to 1 in 2 rows (lines 2, 3)" in message
    assert "line 2: dominance '4' is not" in message
    assert "line 3: valence '3' is not" in message


def test_a_named_corpus_is_one_corpus(tmp_path, capsys):
    text = 'path,speaker,emotion,corpus\na.wav,1,sad,x\nb.wav,1,sad,y\n'
    utterances = folder.walk(write_list(tmp_path, text), folder.make_options('mine'))
    assert {utterance.corpus for utterance in utterances} == {'mine'}
    assert 'column corpus of' in capsys.readouterr().out


def test_many_values_of_one_mistake_are_one_message(tmp_path):
    rows = [f'{n}.wav,1,sad,{n + 2}\n' for n in range(50)]
    path = write_list(tmp_path, 'path,speaker,emotion,arousal\n' + ''.join(rows))
    with pytest.raises(UserError) as error:
        folder.walk(path)
    message = str(error.value)
    assert "arousal ('2', '3', '4', and 47 more) is not a number from -1 to 1 in 50 rows" in message
    assert '(lines 2, 3, 4, ...)' in message


def test_an_empty_speaker_is_allowed(tmp_path):
    """The speaker is unknown, as in some corpora."""
    (utterance,) = folder.walk(write_list(tmp_path, 'path,speaker,emotion\nx.wav,,sad\n'))
    assert utterance.speaker == ''


VARIANTS = [
    ('a\\u0.wav', 'backslashes'),
    ('a/u0.wav ', 'blanks at the ends'),
    (' a/u0.wav', 'blanks at the ends'),
    ("'a/u0.wav'", 'quotation marks'),
    ('A/U0.WAV', '(upper and lower case)'),
    ('a/u0.wav\u200b', '(invisible characters)'),
    ('a/U0\u200b.wav', '(upper and lower case, invisible characters)'),
    ('a/\uff550.wav', '(Unicode form)'),
    ('%61/u0.wav', 'codes such as %20'),
    ('a/u0.flac', 'suffix'),
    ('a/u0', 'suffix'),
    ('a\\U0.wav', '(backslashes, upper and lower case)'),
    ('file://{folder}/a/u0.wav', 'file://'),
    ('file://localhost{folder}/a/u0%2Ewav', 'file://'),
    ('~/a/u0.wav', '(~)'),
]


@pytest.mark.parametrize(('written', 'kind'), VARIANTS)
def test_a_path_that_is_written_otherwise_is_read_and_said(
    written, kind, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a/u0.wav').touch()
    written = written.format(folder=tmp_path)
    (utterance,) = folder.walk(write_list(tmp_path, f'path,speaker,emotion\n{written},1,sad\n'))
    assert utterance.path == tmp_path / 'a/u0.wav'
    output = capsys.readouterr().out
    assert '1 path of the list is not written as the file is named' in output
    assert kind in output
    assert "a/u0.wav'" in output


def test_a_path_in_the_letters_of_windows_is_found(tmp_path, capsys):
    (tmp_path / 'J\u00fcrgen.wav').touch()
    path = tmp_path / 'list.csv'
    path.write_bytes('path,speaker,emotion\nJ\u00fcrgen.wav,1,sad\n'.encode('cp1252'))
    (utterance,) = folder.walk(path)
    assert utterance.path == tmp_path / 'J\u00fcrgen.wav'
    assert 'Windows-1252' in capsys.readouterr().out


@pytest.mark.parametrize('forms', [('NFC', 'NFD'), ('NFD', 'NFC')])
def test_names_in_another_unicode_form_are_found(forms, tmp_path, capsys):
    """macOS writes NFD."""
    listed, existing = (unicodedata.normalize(form, 'J\u00fcrgen/\u00e4.wav') for form in forms)
    (tmp_path / existing).parent.mkdir()
    (tmp_path / existing).touch()
    (utterance,) = folder.walk(write_list(tmp_path, f'path,speaker,emotion\n{listed},1,sad\n'))
    assert utterance.path == tmp_path / existing
    assert 'Unicode form' in capsys.readouterr().out


def test_a_path_is_taken_as_written_where_there_is_such_a_file(tmp_path, capsys):
    """Also if the file without the blank, or in other case, exists; two such files are a doubt."""
    for name in ('u.wav ', 'u.wav', 'V.wav', 'v.WAV'):
        (tmp_path / name).touch()
    rows = 'u.wav ,1,sad\nv.wav,1,sad\nmissing.wav,1,sad\n'
    utterances = folder.walk(write_list(tmp_path, 'path,speaker,emotion\n' + rows))
    assert [u.path.name for u in utterances] == ['u.wav ', 'v.wav', 'missing.wav']
    assert 'not written as the file is named' not in capsys.readouterr().out


def test_the_names_of_a_folder_are_folded_once_for_many_paths(tmp_path, monkeypatch, capsys):
    """Once for each path would be most of an hour for 100,000 paths."""
    names = [f'u{n}.wav' for n in range(100)]
    for name in names:
        (tmp_path / name).touch()
    rows = ''.join([f'{name.upper()},1,sad\n' for name in names])
    path = write_list(tmp_path, 'path,speaker,emotion\n' + rows)
    folded = []
    normalize = unicodedata.normalize

    def count(form: str, text: str) -> str:
        folded.append(text)
        return normalize(form, text)

    monkeypatch.setattr(unicodedata, 'normalize', count)
    assert [u.path.name for u in folder.walk(path)] == names
    assert '100 paths of the list are not written as the file' in capsys.readouterr().out
    assert len(folded) < 20 * len(names)


def test_paths_relative_to_the_current_folder_are_refused(tmp_path, monkeypatch):
    (tmp_path / 'lists').mkdir()
    (tmp_path / 'x.wav').touch()
    monkeypatch.chdir(tmp_path)
    path = write_list(tmp_path / 'lists', 'path,speaker,emotion\nx.wav,1,sad\n')
    with pytest.raises(UserError, match='Paths are relative to the list'):
        folder.walk(path)


def test_many_unknown_words_are_listed_with_their_counts(tmp_path):
    """The most frequent first; a quotation mark in a word does not matter."""
    words = [f"o'{n}" for n in range(25)] + ["o'7"] * 2
    rows = [f'{n}.wav,1,{word}\n' for n, word in enumerate(words)]
    with pytest.raises(UserError) as error:
        folder.walk(write_list(tmp_path, 'path,speaker,emotion\n' + ''.join(rows)))
    listed = str(error.value).split(';')[0].split('. Expected')[0]
    assert """unknown emotion ("o'7": 3 rows, "o'0": 1 row, """ in listed
    assert ', and 5 more) in 27 rows (lines 2, 3, 4, ...)' in listed
    assert listed.count(': 1 row') == 19


def test_a_refusal_names_all_that_has_to_be_corrected(tmp_path):
    """Also several spellings of a speaker, and files that do not exist."""
    (tmp_path / 'a.wav').touch()
    rows = 'a.wav,Anna,\nb.wav,anna,zap\nc.wav,ben,sad\n'
    with pytest.raises(UserError) as error:
        folder.walk(write_list(tmp_path, 'path,speaker,emotion\n' + rows))
    message = str(error.value)
    assert "line 2: no emotion; line 3: unknown emotion 'zap'" in message
    assert 'without training on it, write other as its emotion' in message
    assert "1 speaker with several spellings of the name: 'Anna' = 'anna'." in message
    assert "2 paths without a file: 'b.wav', 'c.wav'." in message


def test_audio_files_that_the_list_does_not_name_are_counted(tmp_path, capsys):
    """Those beside the list, and those beside the files that it names."""
    for name in ('a/x.wav', 'a/y.WAV', 'a/notes.txt', 'a/._x.wav', 'z.mp3', 'b/w.wav'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    path = write_list(tmp_path, 'path,speaker,emotion\n./a/x.wav,1,sad\n')
    folder.walk(path)
    printed = capsys.readouterr().out
    assert (
        '2 audio files in the folders of the list and of its files are not in '
        f"{path}: 'z.mp3', 'y.WAV'." in printed
    )
    path.write_text('path,speaker,emotion\na/x.wav,1,sad\na/y.WAV,1,sad\nz.mp3,1,sad\n')
    folder.walk(path)
    assert not capsys.readouterr().out


def test_files_with_absolute_paths_are_in_a_list_with_a_relative_path(
    tmp_path, capsys, monkeypatch
):
    (tmp_path / 'x.wav').touch()
    write_list(tmp_path, f'path,speaker,emotion\n{tmp_path}/x.wav,1,sad\n')
    monkeypatch.chdir(tmp_path)
    folder.walk(Path('list.csv'))
    assert not capsys.readouterr().out


def test_names_are_shown_as_a_terminal_shows_them(tmp_path, capsys):
    (tmp_path / 'Ma\u0308rz.wav').touch()
    (tmp_path / 'a b.wav').touch()
    folder.walk(write_list(tmp_path, 'path,speaker,emotion\na\u00a0b.wav,1,sad\n'))
    assert r"(blanks), and is read as: 'a b.wav' for 'a\xa0b.wav'." in capsys.readouterr().out
    folder.walk(write_list(tmp_path, 'path,speaker,emotion\nM\u00e4rz.wav,1,sad\n'))
    assert "(Unicode form), and is read as: 'Ma\u0308rz.wav' for 'M\u00e4rz.wav'." in (
        capsys.readouterr().out
    )


def test_codes_of_languages_are_no_missing_values(tmp_path):
    """The code of Nauruan is na."""
    text = 'path,speaker,emotion,language\na.wav,1,sad,NA\nb.wav,1,sad,n/a\n'
    utterances = folder.walk(write_list(tmp_path, text))
    assert [utterance.language for utterance in utterances] == ['NA', '']
