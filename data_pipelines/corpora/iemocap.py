"""IEMOCAP: ten actors in five dyadic sessions, improvised and scripted, labelled by listeners.

Layout: the labels are in `SessionN/dialog/EmoEvaluation/<dialogue>.txt`, the audio is in
`SessionN/sentences/wav/<dialogue>/`. Below each turn, lines such as `C-E1: Neutral; ()` have the
choices of single listeners, which are its votes. A listener may choose several emotions, and each
is a vote. The actors' own choices (C-F1, C-M1) are not among them, as they are not in the mean
ratings. The subfolders of EmoEvaluation are ignored. The utterance `Ses01F_impro01_M003` is of
session 1 and spoken by its man: the F in the name of the dialogue says who wore the markers.
Valence, activation and dominance were rated from 1 to 5; a mean outside that scale counts as no
rating.

Source: C. Busso et al. (2008), IEMOCAP: interactive emotional dyadic motion capture database,
Language Resources and Evaluation 42(4).
"""

import dataclasses
import re
from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance, scale_rating
from data_pipelines.errors import UserError
from data_pipelines.terminal import print_text
from data_pipelines.wording import pluralize

EMOTIONS = {
    'ang': 'angry',
    'hap': 'happy',
    'exc': 'excited',
    'neu': 'neutral',
    'sad': 'sad',
    'fru': 'frustrated',
    'sur': 'surprise',
    'fea': 'fear',
    'dis': 'disgust',
    'oth': 'other',
    'xxx': 'undecided',
}
SEXES = {'F': 'female', 'M': 'male'}
STYLES = {'impro': 'improvised', 'script': 'scripted'}
# [6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5, 2.5, 2.5]: valence, activation, dominance
TURN_PATTERN = re.compile(r'\[[\d.]+ - [\d.]+\]\t(\S+)\t(\S+)\t\[([^]]*)')
NAME_PATTERN = re.compile(r'(Ses\d\d)[FM]_(impro|script)\w*_([FM])\D*\d+')
# C-E2:	Neutral; Other;	(curious): what one listener chose, and a comment
VOTE_PATTERN = re.compile(r'C-E\d+:\s*([^()]*)')
VOTE_WORDS = {
    'anger': 'angry',
    'disgust': 'disgust',
    'excited': 'excited',
    'fear': 'fear',
    'frustration': 'frustrated',
    'happiness': 'happy',
    'neutral': 'neutral',
    'neutral state': 'neutral',
    'other': 'other',
    'sadness': 'sad',
    'surprise': 'surprise',
}
# The subset that most work uses, with happy and excited as one class.
FOUR_CLASS_COUNTS = {'angry': 1103, 'happy': 595, 'excited': 1041, 'neutral': 1708, 'sad': 1084}
FULL_COUNTS = FOUR_CLASS_COUNTS | {
    'frustrated': 1849,
    'surprise': 107,
    'fear': 40,
    'disgust': 2,
    'other': 3,
    'undecided': 2507,
}


def walk(root: Path) -> list[Utterance]:
    """Returns the labelled utterances of the sessions in `root`, sorted by dialogue.

    An utterance whose audio is missing is returned too.
    """
    paths = sorted(root.glob('Session*/dialog/EmoEvaluation/*.txt'))
    # Some copies hold AppleDouble files, which begin with ._ and are not text.
    evaluations = [path for path in paths if not path.name.startswith('._')]
    if not evaluations:
        raise UserError(
            f'No Session1/dialog/EmoEvaluation/*.txt in {root}; --source is the folder with '
            'Session1 to Session5 (IEMOCAP_full_release).'
        )
    utterances = []
    odd_lines: list[str] = []
    for evaluation in evaluations:
        utterances.extend(read_dialogue(evaluation, odd_lines))
    if not any(utterance.votes for utterance in utterances):
        print_text(
            'No line of EmoEvaluation has the choice of a single listener (C-E1: Neutral; ()), so '
            'there are no votes. Only soft labels need them.'
        )
    if odd_lines:
        print_text(
            f'{pluralize(len(odd_lines), "line")} of EmoEvaluation left out, since a turn with a '
            f'label and three ratings has another form: {odd_lines[0]}'
            f'{", ..." if len(odd_lines) > 1 else ""}'
        )
    audio_files.print_left_out(
        root,
        root.glob('Session*/sentences/wav/**/*'),
        [utterance.path for utterance in utterances],
        'since no file of EmoEvaluation labels them',
    )
    return utterances


def read_dialogue(evaluation: Path, odd_lines: list[str]) -> list[Utterance]:
    """Returns the utterances that one file of EmoEvaluation labels.

    Lines that begin as a turn, but are none, are appended to `odd_lines`.
    """
    session = evaluation.parents[2]
    audio_folder = session / 'sentences/wav' / evaluation.stem
    audio_by_name = {}
    for path in audio_folder.glob('*'):
        if path.suffix.lower() in audio_files.AUDIO_SUFFIXES:
            audio_by_name[path.stem] = path
    sentences = read_scripted_sentences(session / 'dialog/transcriptions' / evaluation.name)
    utterances = []
    lines = evaluation.read_text(errors='replace').split('\n')
    votes_by_turn = read_votes(lines)
    for number, line in enumerate(lines, 1):
        turn = TURN_PATTERN.match(line)
        if line.startswith('[') and not turn:
            odd_lines.append(f'{evaluation}, line {number}: {line!r}')
        if turn:
            name, label, ratings = turn.groups()
            path = audio_by_name.get(name, audio_folder / f'{name}.wav')
            line_name = f'{evaluation}, line {number},'
            utterance = make_utterance(name, label, ratings, path, sentences, line_name)
            votes = votes_by_turn.get(name)
            utterances.append(dataclasses.replace(utterance, votes=votes or None))
    return utterances


def read_votes(lines: list[str]) -> dict[str, dict[str, int]]:
    """Returns the votes by turn: how many listeners chose which emotion.

    A word that the form of the corpus does not have counts as `other`.
    """
    votes_by_turn: dict[str, dict[str, int]] = {}
    votes: dict[str, int] = {}
    for line in lines:
        turn = TURN_PATTERN.match(line)
        if line.startswith('['):
            votes = votes_by_turn.setdefault(turn[1], {}) if turn else {}
        choice = VOTE_PATTERN.match(line)
        for word in choice[1].split(';') if choice else []:
            if word.strip():
                emotion = VOTE_WORDS.get(word.strip().casefold(), 'other')
                votes[emotion] = votes.get(emotion, 0) + 1
    return votes_by_turn


def make_utterance(
    name: str, label: str, ratings: str, path: Path, sentences: dict[str, str], line_name: str
) -> Utterance:
    """Returns the utterance of one turn; raises a UserError that names its line if it is wrong."""
    match = NAME_PATTERN.fullmatch(name)
    if label not in EMOTIONS or not match:
        raise UserError(
            f'{line_name} labels {name} as {label}; expected a name like Ses01F_impro01_M003 and '
            f'one of {", ".join(EMOTIONS)}. Compare the file with the release.'
        )
    try:
        valence, arousal, dominance = [scale_rating(r.strip(), 1, 5) for r in ratings.split(',')]
    except ValueError:
        raise UserError(
            f'{line_name} rates {name} as [{ratings}]; expected three numbers. '
            'Compare the file with the release.'
        ) from None
    session, style, sex = match.groups()
    return Utterance(
        name=name,
        path=path,
        speaker=session + sex,
        emotion=EMOTIONS[label],
        language='en',
        corpus='iemocap',
        sex=SEXES[sex],
        session=session,
        sentence=sentences.get(name, ''),
        style=STYLES[style],
        arousal=arousal,
        valence=valence,
        dominance=dominance,
    )


def read_scripted_sentences(transcription: Path) -> dict[str, str]:
    """Returns the words of each utterance of a scripted dialogue, in lower case.

    Returns nothing for an improvised dialogue, or if the file does not exist. Every session has the
    same scripts, so equal words identify a sentence. The number of a turn does not: actors split,
    skip and repeat lines. In improvised speech, equal words are a coincidence.
    """
    if '_script' not in transcription.name or not transcription.is_file():
        return {}
    text = transcription.read_text(errors='replace')
    sentences = {}
    for name, words in re.findall(r'^(\S+) \[[^]]*\]: *(.*)$', text, re.MULTILINE):
        sentences[name] = ' '.join(re.findall(r"[\w']+", words.lower()))
    return sentences


CORPUS = Corpus(
    name='iemocap',
    title='IEMOCAP',
    languages=('en',),
    speakers=10,
    expected_counts=(FULL_COUNTS, FOUR_CLASS_COUNTS),
    licence='by agreement with USC, research only',
    homepage='https://sail.usc.edu/iemocap/',
    walk=walk,
)
