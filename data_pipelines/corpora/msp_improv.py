"""MSP-IMPROV: twelve actors in six dyadic sessions; `Audio/session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav`.

C. Busso, S. Parthasarathy, A. Burmania, M. AbdelWahab, N. Sadoughi, E. Mower Provost (2017), MSP-IMPROV: An Acted Corpus of
Dyadic Interactions to Study Emotion Perception, IEEE Transactions on Affective Computing 8(1). The labels are in `Evalution.txt`
(so spelt), in lines `UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:2.8; V:3.2; D:3.0; ...` rated from 1 to 5, each before its listeners'
votes. Readers of the release disagree on which end of its activation is active, so no arousal is stored rather than its opposite.
"""

import re
from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance, scale_rating
from data_pipelines.errors import UserError

EMOTIONS = {'A': 'angry', 'H': 'happy', 'N': 'neutral', 'S': 'sad', 'O': 'other', 'X': 'undecided'}
STYLES = {
    'R': 'scripted',
    'T': 'improvised',
    'S': 'improvised',
    'P': 'natural',
}  # target read, target improvised, others, breaks
NAME_PATTERN = r'MSP-IMPROV-S(\d\d)[AHNS]-([FM])(\d\d)-([RTSP])-[FM]{2}\d+'
LABEL_PATTERN = re.compile(r'([AHNSOX]);\s*A:[^;]*;\s*V:\s*([^;]*?)\s*;\s*D:\s*([^;]*?)\s*;.*')


def walk(root: Path) -> list[Utterance]:
    """The utterances that the list of labels in `root` names, in its order, whether or not their audio is there."""
    lists = [p for p in (root / 'Evalution.txt', root / 'Evaluation.txt') if p.is_file()]
    if not lists:
        raise UserError(
            f'No Evalution.txt in {root}; --source is the folder with Evalution.txt and Audio.'
        )
    audio = {
        path.stem: path
        for path, _ in audio_files.find_audio_files(
            root, NAME_PATTERN, 'Audio/session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav'
        )
    }
    utterances = []
    for number, line in enumerate(
        lists[0].read_text(encoding='utf-8-sig', errors='replace').split('\n'), 1
    ):
        if not line.startswith('UTD-IMPROV-'):
            continue
        name, _, rest = line.partition('.avi;')
        name = name.replace('UTD', 'MSP', 1)
        try:
            label, *ratings = LABEL_PATTERN.fullmatch(rest.strip()).groups()
            sentence, sex, session, kind = re.fullmatch(NAME_PATTERN, name).groups()
            valence, dominance = (scale_rating(r, 1, 5) for r in ratings)
        except (AttributeError, ValueError):
            raise UserError(
                f'{lists[0]}, line {number}, is {line!r}; expected UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:2.8; V:3.2; D:3.0; '
                f'or the like, with one of {", ".join(EMOTIONS)}. Compare the file with the release.'
            ) from None
        utterances.append(
            Utterance(
                name=name,
                path=audio.get(
                    name, root / f'Audio/session{int(session)}/{name[11:15]}/{kind}/{name}.wav'
                ),
                speaker=sex + session,
                emotion=EMOTIONS[label],
                language='en',
                corpus='msp_improv',
                sex={'F': 'female', 'M': 'male'}[sex],
                session=session,
                sentence=sentence if kind in 'RT' else '',
                style=STYLES[kind],
                valence=valence,
                dominance=dominance,
            )
        )
    return utterances


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
