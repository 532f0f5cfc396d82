"""Small synthetic releases of every corpus, laid out as the corpus's documentation says.

A release has two or three speakers with eight utterances each: four of one emotion, then four of
another.
"""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

CHANNEL_LAYOUTS = {1: 'mono', 2: 'stereo'}
WORDS = ('DFA', 'IEO', 'IOM', 'ITH')
UTTERANCES_PER_EMOTION = 4
FRAMES_PER_SECOND = 25  # of films


class Release(NamedTuple):
    """The speakers, the codes of two emotions, and the name of a file.

    In a name, {s} is the speaker, {e} the emotion, {k} is 0 to 7 and counts the speaker's
    utterances, {n} is 1 to 4 and counts those of one emotion, and {w} is a word for each {n}.
    """

    speakers: tuple[str, ...]
    emotions: tuple[str, str]
    name: str


# Corpora whose classes are other words than ours.
OTHER_CLASSES = {'baved': {'low', 'normal', 'high'}, 'emns': {'sarcastic'}}

RELEASES = {
    'aesdd': Release(('1', '2', '6'), ('a', 's'), '{e}/{e}0{n} ({s}).wav'),
    'ased': Release(('01', '02', '65'), ('a5', 's4'), '{e}/{e}-0{n}-01-01-{s}.wav'),
    'baved': Release(('0', '46', '103'), ('2', '0'), '{n}/{s}-m-20-{n}-{e}-1{k}.wav'),
    'cafe': Release(('01', '02', '12'), ('C', 'T'), 'Emotion/Fort/{s}-{e}-2-{n}.wav'),
    'casia': Release(
        ('liuchanhg', 'wangzhe', 'zhaoquanyin'), ('angry', 'sad'), '{s}/{e}/20{n}.wav'
    ),
    'crema_d': Release(('1001', '1002', '1003'), ('ANG', 'SAD'), 'AudioWAV/{s}_{w}_{e}_XX.wav'),
    'emns': Release(('3',), ('Angry', 'Sad'), 'cleaned_webm/recorded_{k}.wav'),
    'emodb': Release(('03', '08', '09'), ('W', 'T'), 'wav/{s}a0{n}{e}a.wav'),
    'emovo': Release(('f1', 'f2', 'm1'), ('rab', 'tri'), '{s}/{e}-{s}-b{n}.wav'),
    'enterface': Release(
        ('1', '2', '43'), ('an', 'sa'), 'subject {s}/{e}/sentence {n}/s{s}_{e}_{n}.avi'
    ),
    'esd': Release(
        ('0001', '0002', '0011'), ('00035', '00105'), '{s}/Emotion/train/{s}_{e}{n}.wav'
    ),
    'iemocap': Release(
        ('1F', '1M', '2F'),
        ('ang', 'sad'),
        'Session{s[0]}/sentences/wav/Ses0{s[0]}F_impro01/Ses0{s[0]}F_impro01_{s[1]}00{k}.wav',
    ),
    'jl': Release(
        ('female1', 'female2', 'male1'), ('angry', 'anxious'), 'JL(wav+txt)/{s}_{e}_{n}a_1.wav'
    ),
    # Each part has a speaker of its own, who is called like the part.
    'meld': Release(('train', 'dev', 'test'), ('anger', 'sadness'), '{s}/dia{n}_utt{k}.wav'),
    'mesd': Release(('C', 'F', 'M'), ('Anger', 'Sadness'), '{e}_{s}_A_{w}.wav'),
    'msp_improv': Release(
        ('F01', 'M01', 'F02'),
        ('A', 'S'),
        'Audio/session{s[2]}/S01A/P/MSP-IMPROV-S01A-{s}-P-FM0{k}.wav',
    ),
    'msp_podcast': Release(('1', '2', '3'), ('A', 'S'), 'Audios/MSP-PODCAST_000{s}_000{k}.wav'),
    'nemo': Release(('EB0', 'KS0', 'WR0'), ('anger', 'sadness'), 'samples/{s}_{e}_{n}.wav'),
    'ravdess': Release(('01', '02', '03'), ('05', '04'), 'Actor_{s}/03-01-{e}-01-01-0{n}-{s}.wav'),
    'savee': Release(('DC', 'JE', 'JK'), ('a', 'sa'), 'AudioData/{s}/{e}0{n}.wav'),
    'shemo': Release(('F01', 'F02', 'M01'), ('A', 'S'), 'female/{s}{e}0{n}.wav'),
    'subesco': Release(('F_01', 'F_02', 'M_01'), ('ANGRY', 'SAD'), '{s}_NAME_S_{n}_{e}_1.wav'),
    'tess': Release(('OAF', 'YAF'), ('angry', 'sad'), '{s}_{e}/{s}_{w}_{e}.wav'),
    'turev_db': Release(
        ('1157', '1234', '7895'), ('kz', 'hl'), 'Sound Source/Emotion/{s}_{e}_{w}.wav'
    ),
    'urdu': Release(('SF1', 'SF2', 'SM1'), ('A', 'S'), 'Angry/{s}_F1_{e}0{n}.wav'),
}


class AudioFile(NamedTuple):
    """An utterance of a release."""

    path: str
    speaker: str
    emotion: str

    @property
    def stem(self) -> str:
        """The name of the file without folders and suffix."""
        return Path(self.path).stem


def list_audio(corpus: str) -> list[AudioFile]:
    """Returns the utterances of a corpus's release, speaker by speaker."""
    release = RELEASES[corpus]
    files = []
    for speaker in release.speakers:
        for k in range(2 * UTTERANCES_PER_EMOTION):
            emotion = release.emotions[k // UTTERANCES_PER_EMOTION]
            n = k % UTTERANCES_PER_EMOTION
            word = WORDS[n].lower() if corpus == 'tess' else WORDS[n]
            path = release.name.format(s=speaker, e=emotion, n=n + 1, k=k, w=word)
            files.append(AudioFile(path, speaker, emotion))
    return files


def make_crema_d_lists() -> dict[str, str]:
    return {
        'VideoDemographics.csv': (
            'ActorID,Age,Sex,Race,Ethnicity\n'
            '1001,51,Male,Caucasian,Not Hispanic\n'
            '1002,21,Female,,\n'
        ),
        'finishedResponses.csv': make_crema_d_responses(),
    }


def make_crema_d_responses() -> str:
    """Returns the responses: two raters hear the emotion, one neutral; those who see it differ."""
    text = (
        '"","localid","pos","ans","ttr","queryType","numTries","clipNum","questNum","subType",'
        '"clipName","sessionNums","respEmo","respLevel","dispEmo","dispVal","dispLevel"\n'
    )
    number = 0
    for file in list_audio('crema_d'):
        letter = file.emotion[0]
        for query, response in ((1, letter), (1, letter), (1, 'N'), (2, 'F'), (3, 'D')):
            number += 1
            text += (
                f'"{number}","A0001",{number},"{response}_50",3000,{query},0,1,1,4,"{file.stem}",1,'
                f'"{response}",50,"{letter}","X",50\n'
            )
    return text


def make_msp_podcast_lists() -> dict[str, str]:
    text = 'FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n'
    for file in list_audio('msp_podcast'):
        text += f'{file.stem}.wav,{file.emotion},5.5,2.5,4,{file.speaker},Female,Train\n'
    detailed = 'FileName,Workers,EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom\n'
    words = {'A': 'Angry', 'S': 'Sad'}
    for file in list_audio('msp_podcast'):
        for worker, word in enumerate([words[file.emotion]] * 3 + ['Neutral', 'Other-confused']):
            detailed += f'{file.stem}.wav,WORKER0000000{worker},{word},"{word},Amused",5,2,4\n'
    return {'Labels/labels_consensus.csv': text, 'Labels/labels_detailed.csv': detailed}


def make_msp_improv_lists() -> dict[str, str]:
    text = ''
    for file in list_audio('msp_improv'):
        name = file.stem.replace('MSP', 'UTD', 1)
        text += (
            f'{name}.avi; {file.emotion}; A:2.5; V:2.0; D:3.5 ; N:4.0;\n'
            'ann-1; Angry; Angry; A:2; V:2; D:3; N:4;\n\n'
        )
    return {'Evalution.txt': text}


def make_iemocap_lists() -> dict[str, str]:
    texts = {}
    for file in list_audio('iemocap'):
        session = Path(file.path).parts[0]
        dialogue = Path(file.path).parent.name
        path = f'{session}/dialog/EmoEvaluation/{dialogue}.txt'
        texts.setdefault(path, '% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n')
        texts[path] += (
            f'[6.2901 - 8.2357]\t{file.stem}\t{file.emotion}\t[2.5000, 4.0000, 3.0000]\n'
            'C-E2:\tNeutral;\t()\n\n'
        )
    return texts


def make_emns_lists() -> dict[str, str]:
    text = 'id|utterance|description|emotion|level|audio_recording|user_id\n'
    for number, file in enumerate(list_audio('emns')):
        text += f'{number}|Once upon a time|calm|{file.emotion}|3|wavs/{file.stem}.webm|3\n'
    return {'metadata.csv': text}


def make_meld_lists() -> dict[str, str]:
    header = 'Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode\n'
    texts = {f'{split}_sent_emo.csv': header for split in ('train', 'dev', 'test')}
    for number, file in enumerate(list_audio('meld')):
        dialogue, utterance = file.stem.removeprefix('dia').split('_utt')
        path = f'{Path(file.path).parts[0]}_sent_emo.csv'
        texts[path] += (
            f'{number},"Oh, hello!",{file.speaker},{file.emotion},neutral,'
            f'{dialogue},{utterance},3,19\n'
        )
    return texts


LIST_MAKERS = {
    'emns': make_emns_lists,
    'meld': make_meld_lists,
    'crema_d': make_crema_d_lists,
    'msp_podcast': make_msp_podcast_lists,
    'msp_improv': make_msp_improv_lists,
    'iemocap': make_iemocap_lists,
}


def make_lists(corpus: str) -> dict[str, str]:
    """Returns the texts by path of the lists that a release has beside its audio."""
    if corpus not in LIST_MAKERS:
        return {}
    return LIST_MAKERS[corpus]()


def write_film(path: Path, wave: np.ndarray, rate: int, codec: str = 'pcm_s16le') -> None:
    """Writes an .avi of a black square with the sound `wave`.

    `wave` is float, of shape (time,) or (time, channels).
    """
    import av

    channels = wave.reshape(len(wave), -1).T
    layout = CHANNEL_LAYOUTS[len(channels)]
    with av.open(path, 'w') as file:
        picture = file.add_stream('mpeg4', rate=FRAMES_PER_SECOND)
        sound = file.add_stream(codec, rate=rate, layout=layout)
        picture.width = picture.height = 16
        for _ in range(FRAMES_PER_SECOND * len(wave) // rate):
            file.mux(picture.encode(av.VideoFrame(16, 16, 'yuv420p')))
        file.mux(picture.encode())
        samples = np.ascontiguousarray((channels.T * 32768).round().astype(np.int16).reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(samples, 's16', layout)
        frame.sample_rate = rate
        file.mux(sound.encode(frame))
        file.mux(sound.encode())


def write_empty(path: Path, speaker: str, emotion: str) -> None:
    """Writes an empty file in place of audio."""
    path.touch()


def write_file(path: Path, text: str = '') -> Path:
    """Writes a text file, with the folders above it, and returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def write_empty_files(root: Path, paths) -> Path:
    """Writes empty files below `root`, and returns `root`."""
    for path in paths:
        write_file(root / path)
    return root


def edit_file(path: Path, old: str, new: str) -> None:
    """Replaces the first `old` in a text file by `new`."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def write_release(
    root: Path, corpus: str, write_audio: Callable[[Path, str, str], None] = write_empty
) -> Path:
    """Writes a corpus's release below `root`, and returns `root`.

    `write_audio` is called with the path, the speaker and the emotion of each utterance.
    """
    for file in list_audio(corpus):
        path = root / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, file.speaker, file.emotion)
    for path, text in make_lists(corpus).items():
        write_file(root / path, text)
    return root


def make_ravdess_paths() -> list[str]:
    """Returns the paths of the speech in the complete release of RAVDESS."""
    paths = []
    for actor, emotion, intensity, statement, repetition in itertools.product(
        range(1, 25), range(1, 9), (1, 2), (1, 2), (1, 2)
    ):
        if (emotion, intensity) == (1, 2):  # neutral has no strong intensity
            continue
        paths.append(
            f'Actor_{actor:02d}/03-01-{emotion:02d}-{intensity:02d}-{statement:02d}-'
            f'{repetition:02d}-{actor:02d}.wav'
        )
    return paths


def write_iemocap_dialogue(
    root: Path, dialogue: str, turns: list[tuple[str, str]], audio: bool = True
) -> None:
    """Writes a file of EmoEvaluation and, with `audio`, empty audio files.

    `turns` are the names of the utterances and their labels.
    """
    session = root / f'Session{int(dialogue[3:5])}'
    lines = ['% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]', '']
    for utterance, label in turns:
        lines += [
            f'[6.2901 - 8.2357]\t{utterance}\t{label}\t[2.5000, 2.5000, 2.5000]',
            'C-E2:\tNeutral;\t()',
            '',
        ]
        if audio:
            write_file(session / f'sentences/wav/{dialogue}/{utterance}.wav')
    write_file(session / f'dialog/EmoEvaluation/{dialogue}.txt', '\n'.join(lines))
