"""MSP-IMPROV: twelve actors in six dyadic sessions, labelled by listeners.

Layout: the labels are in `Evalution.txt` (spelt like this), the audio is in files like
`Audio/session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav`. A line of labels is like
`UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:2.8; V:3.2; D:3.0; ...` with ratings from 1 to 5; the votes of
the single listeners follow it and are ignored. Users of the release disagree on which end of its
activation scale is active, so arousal is not stored.

Source: C. Busso, S. Parthasarathy, A. Burmania, M. AbdelWahab, N. Sadoughi, E. Mower Provost
(2017), MSP-IMPROV: An Acted Corpus of Dyadic Interactions to Study Emotion Perception, IEEE
Transactions on Affective Computing 8(1).
"""

import re
from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance, scale_rating
from data_pipelines.errors import UserError

EMOTIONS = {'A': 'angry', 'H': 'happy', 'N': 'neutral', 'S': 'sad', 'O': 'other', 'X': 'undecided'}
SEXES = {'F': 'female', 'M': 'male'}
# The target sentence read (R) and improvised (T), other improvised turns (S), and breaks (P).
STYLES = {'R': 'scripted', 'T': 'improvised', 'S': 'improvised', 'P': 'natural'}
TARGET_SENTENCE_KINDS = ('R', 'T')
# Sentence, sex, session and kind of turn.
NAME_PATTERN = r'MSP-IMPROV-S(\d\d)[AHNS]-([FM])(\d\d)-([RTSP])-[FM]{2}\d+'
# Emotion, valence and dominance.
LABEL_PATTERN = re.compile(r'([AHNSOX]);\s*A:[^;]*;\s*V:\s*([^;]*?)\s*;\s*D:\s*([^;]*?)\s*;.*')


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances that the list of labels in `root` names, in its order.

    An utterance whose audio is missing is returned too.
    """
    list_path = root / 'Evalution.txt'
    if not list_path.is_file():
        list_path = root / 'Evaluation.txt'
    if not list_path.is_file():
        raise UserError(
            f'No Evalution.txt in {root}; --source is the folder with Evalution.txt and Audio.'
        )
    files = audio_files.find_audio_files(
        root, NAME_PATTERN, 'Audio/session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav'
    )
    audio_by_name = {path.stem: path for path, _ in files}
    utterances = []
    text = list_path.read_text(encoding='utf-8-sig', errors='replace')
    for number, line in enumerate(text.split('\n'), 1):
        if not line.startswith('UTD-IMPROV-'):
            continue
        try:
            utterance = parse_line(line, root, audio_by_name)
        except ValueError:
            raise UserError(
                f'{list_path}, line {number}, is {line!r}; expected a line like '
                'UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:2.8; V:3.2; D:3.0; with one of '
                f'{", ".join(EMOTIONS)}. Compare the file with the release.'
            ) from None
        utterances.append(utterance)
    audio_files.print_left_out(
        root,
        audio_by_name.values(),
        [utterance.path for utterance in utterances],
        f'since {list_path.name} does not list them',
    )
    return utterances


def parse_line(line: str, root: Path, audio_by_name: dict[str, Path]) -> Utterance:
    """Returns the utterance of a line of labels; raises a ValueError for any other line."""
    name, _, labels = line.partition('.avi;')
    name = name.replace('UTD', 'MSP', 1)
    name_match = re.fullmatch(NAME_PATTERN, name)
    label_match = LABEL_PATTERN.fullmatch(labels.strip())
    if not name_match or not label_match:
        raise ValueError(line)
    sentence, sex, session, kind = name_match.groups()
    emotion, valence, dominance = label_match.groups()
    scene = name.split('-')[2]
    default_path = root / f'Audio/session{int(session)}/{scene}/{kind}/{name}.wav'
    return Utterance(
        name=name,
        path=audio_by_name.get(name, default_path),
        speaker=sex + session,
        emotion=EMOTIONS[emotion],
        language='en',
        corpus='msp_improv',
        sex=SEXES[sex],
        session=session,
        sentence=sentence if kind in TARGET_SENTENCE_KINDS else '',
        style=STYLES[kind],
        valence=scale_rating(valence, 1, 5),
        dominance=scale_rating(dominance, 1, 5),
    )


CORPUS = Corpus(
    name='msp_improv',
    title='MSP-IMPROV',
    languages=('en',),
    speakers=12,
    expected_counts=(
        {'angry': 792, 'happy': 2644, 'neutral': 3477, 'sad': 885, 'other': 85, 'undecided': 555},
    ),
    licence='by agreement with UT Dallas, research only',
    homepage='https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Improv.html',
    walk=walk,
)
