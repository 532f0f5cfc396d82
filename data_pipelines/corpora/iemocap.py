"""IEMOCAP: ten actors in five dyadic sessions, improvised and scripted, labelled by several listeners.

C. Busso et al. (2008), IEMOCAP: interactive emotional dyadic motion capture database, Language Resources and Evaluation 42(4).

The labels are in `SessionN/dialog/EmoEvaluation/<dialogue>.txt`; its subfolders hold the single listeners' votes. An utterance
`Ses01F_impro01_M003` is of session 1 and spoken by its man: the F of the dialogue's name says who wore the markers. Valence,
activation and dominance were rated from 1 to 5; a mean that is not on that scale is no rating.
"""

import re
from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance, scale_rating
from data_pipelines.errors import UserError

EMOTIONS = {
    'ang': 'angry', 'hap': 'happy', 'exc': 'excited', 'neu': 'neutral', 'sad': 'sad', 'fru': 'frustrated', 'sur': 'surprise',
    'fea': 'fear', 'dis': 'disgust', 'oth': 'other', 'xxx': 'undecided',
}  # fmt: skip
# [6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5, 2.5, 2.5], the last being valence, activation, dominance
TURN_PATTERN = re.compile(r'\[[\d.]+ - [\d.]+\]\t(\S+)\t(\S+)\t\[([^]]*)')
NAME_PATTERN = re.compile(r'(Ses\d\d)[FM]_(impro|script)\w*_([FM])\D*\d+')
FOUR_CLASS_COUNTS = {'angry': 1103, 'happy': 595, 'excited': 1041, 'neutral': 1708, 'sad': 1084}


def walk(root: Path) -> list[Utterance]:
    """The labelled utterances of the sessions in `root`, in the order of their dialogues, whether or not their audio is there."""
    evaluations = sorted(
        p for p in root.glob('Session*/dialog/EmoEvaluation/*.txt') if not p.name.startswith('._')
    )
    if not evaluations:
        raise UserError(
            f'No Session1/dialog/EmoEvaluation/*.txt in {root}; --source is the folder with Session1 to Session5 '
            '(IEMOCAP_full_release).'
        )
    return [utterance for path in evaluations for utterance in read_dialogue(path)]


def read_dialogue(evaluation: Path) -> list[Utterance]:
    """The utterances that one file of EmoEvaluation labels."""
    session, utterances = evaluation.parents[2], []
    audio = {
        p.stem: p
        for p in (session / 'sentences/wav' / evaluation.stem).glob('*')
        if p.suffix.lower() in audio_files.AUDIO_SUFFIXES
    }
    said = read_scripted_sentences(session / 'dialog/transcriptions' / evaluation.name)
    for number, line in enumerate(evaluation.read_text(errors='replace').split('\n'), 1):
        if not (turn := TURN_PATTERN.match(line)):
            continue
        name, label, ratings = turn.groups()
        if label not in EMOTIONS or not (m := NAME_PATTERN.fullmatch(name)):
            raise UserError(
                f'{evaluation}, line {number}, labels {name} as {label}; expected a name like Ses01F_impro01_M003 and one of '
                f'{", ".join(EMOTIONS)}. Compare the file with the release.'
            )
        try:
            valence, arousal, dominance = (
                scale_rating(r.strip(), 1, 5) for r in ratings.split(',')
            )
        except ValueError:
            raise UserError(
                f'{evaluation}, line {number}, rates {name} as [{ratings}]; expected three numbers. Compare it with the release.'
            ) from None
        utterances.append(
            Utterance(
                name=name,
                path=audio.get(name, session / 'sentences/wav' / evaluation.stem / f'{name}.wav'),
                speaker=m[1] + m[3],
                emotion=EMOTIONS[label],
                language='en',
                corpus='iemocap',
                sex={'F': 'female', 'M': 'male'}[m[3]],
                session=m[1],
                sentence=said.get(name, ''),
                style={'impro': 'improvised', 'script': 'scripted'}[m[2]],
                arousal=arousal,
                valence=valence,
                dominance=dominance,
            )
        )
    return utterances


def read_scripted_sentences(transcription: Path) -> dict[str, str]:
    """The words of each utterance of a scripted dialogue, which recur in every session; none where the file is not there.

    The number of a line in its dialogue does not say which line of the script it is: actors split, skip and repeat. So a tree
    without transcriptions has no sentences, and improvised speech has none anyway: where it agrees, it agrees by chance.
    """
    if '_script' not in transcription.name or not transcription.is_file():
        return {}
    lines = re.findall(
        r'^(\S+) \[[^]]*\]: *(.*)$', transcription.read_text(errors='replace'), re.MULTILINE
    )
    return {name: ' '.join(re.findall(r"[\w']+", words.lower())) for name, words in lines}


CORPUS = Corpus(
    name='iemocap',
    title='IEMOCAP',
    languages=('en',),
    speakers=10,
    expected_counts=(
        FOUR_CLASS_COUNTS
        | {
            'frustrated': 1849,
            'surprise': 107,
            'fear': 40,
            'disgust': 2,
            'other': 3,
            'undecided': 2507,
        },
        FOUR_CLASS_COUNTS,  # the subset of the literature
    ),
    licence='by agreement with USC, research only',
    homepage='https://sail.usc.edu/iemocap/',
    walk=walk,
)
