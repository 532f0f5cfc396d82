"""Releases in small, made up: of each corpus the files of a few speakers, in the form that its documentation gives them."""

import itertools
from pathlib import Path

import numpy as np

LAYOUTS = {1: 'mono', 2: 'stereo'}
WORDS = ('DFA', 'IEO', 'IOM', 'ITH')
FORMS = {  # speakers, two emotions, and what a file of theirs is called: n is 1 to 4, k 0 to 7
    'casia': (('liuchanhg', 'wangzhe', 'zhaoquanyin'), ('angry', 'sad'), '{s}/{e}/20{n}.wav'),
    'crema_d': (('1001', '1002', '1003'), ('ANG', 'SAD'), 'AudioWAV/{s}_{w}_{e}_XX.wav'),
    'emodb': (('03', '08', '09'), ('W', 'T'), 'wav/{s}a0{n}{e}a.wav'),
    'emovo': (('f1', 'f2', 'm1'), ('rab', 'tri'), '{s}/{e}-{s}-b{n}.wav'),
    'enterface': (('1', '2', '43'), ('an', 'sa'), 'subject {s}/{e}/sentence {n}/s{s}_{e}_{n}.avi'),
    'esd': (('0001', '0002', '0011'), ('00035', '00105'), '{s}/Emotion/train/{s}_{e}{n}.wav'),
    'iemocap': (
        ('1F', '1M', '2F'), ('ang', 'sad'), 'Session{s[0]}/sentences/wav/Ses0{s[0]}F_impro01/Ses0{s[0]}F_impro01_{s[1]}00{k}.wav',
    ),
    'jl': (('female1', 'female2', 'male1'), ('angry', 'anxious'), 'JL(wav+txt)/{s}_{e}_{n}a_1.wav'),
    'mesd': (('C', 'F', 'M'), ('Anger', 'Sadness'), '{e}_{s}_A_{w}.wav'),
    'msp_improv': (('F01', 'M01', 'F02'), ('A', 'S'), 'Audio/session{s[2]}/S01A/P/MSP-IMPROV-S01A-{s}-P-FM0{k}.wav'),
    'msp_podcast': (('1', '2', '3'), ('A', 'S'), 'Audios/MSP-PODCAST_000{s}_000{k}.wav'),
    'ravdess': (('01', '02', '03'), ('05', '04'), 'Actor_{s}/03-01-{e}-01-01-0{n}-{s}.wav'),
    'savee': (('DC', 'JE', 'JK'), ('a', 'sa'), 'AudioData/{s}/{e}0{n}.wav'),
    'shemo': (('F01', 'F02', 'M01'), ('A', 'S'), 'female/{s}{e}0{n}.wav'),
    'subesco': (('F_01', 'F_02', 'M_01'), ('ANGRY', 'SAD'), '{s}_NAME_S_{n}_{e}_1.wav'),
    'tess': (('OAF', 'YAF'), ('angry', 'sad'), '{s}_{e}/{s}_{w}_{e}.wav'),
    'urdu': (('SF1', 'SF2', 'SM1'), ('A', 'S'), 'Angry/{s}_F1_{e}0{n}.wav'),
}  # fmt: skip


def audio(name: str) -> list[tuple[str, str, str]]:
    """Path, speaker and emotion of eight utterances of each speaker."""
    speakers, emotions, form = FORMS[name]
    return [
        (
            form.format(
                s=s, e=e, n=k % 4 + 1, k=k, w=(str.lower if name == 'tess' else str)(WORDS[k % 4])
            ),
            s,
            e,
        )
        for s, (k, e) in itertools.product(
            speakers, enumerate(e for e in emotions for _ in range(4))
        )
    ]


def lists(name: str) -> dict[str, str]:
    """Path and text of what the release has beside its audio."""
    texts = {}
    if name == 'crema_d':
        texts['VideoDemographics.csv'] = (
            'ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Caucasian,Not Hispanic\n1002,21,Female,,\n'
        )
    if name == 'msp_podcast':
        rows = [f'{Path(p).name},{e},5.5,2.5,4,{s},Female,Train\n' for p, s, e in audio(name)]
        texts['Labels/labels_consensus.csv'] = (
            'FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n' + ''.join(rows)
        )
    if name == 'msp_improv':
        lines = [f'UTD{Path(p).stem[3:]}.avi; {e}; A:2.5; V:2.0; D:3.5 ; N:4.0;\nann-1; Angry; Angry; A:2; V:2; D:3; N:4;\n\n'
                 for p, s, e in audio(name)]  # fmt: skip
        texts['Evalution.txt'] = ''.join(lines)
    if name == 'iemocap':
        for path, _, e in audio(name):
            session, dialogue = path.split('/')[0], Path(path).parent.name
            file = f'{session}/dialog/EmoEvaluation/{dialogue}.txt'
            turn = f'[6.2901 - 8.2357]\t{Path(path).stem}\t{e}\t[2.5000, 4.0000, 3.0000]\nC-E2:\tNeutral;\t()\n\n'
            texts[file] = (
                texts.get(file, '% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n') + turn
            )
    return texts


def film(path: Path, wave: np.ndarray, rate: int, subtype: str = 'pcm_s16le') -> None:
    """An .avi of a black square and of `wave`, float in shape (time,) or (time, channels)."""
    import av

    channels = wave.reshape(len(wave), -1).T
    with av.open(path, 'w') as file:
        picture, sound = (
            file.add_stream('mpeg4', rate=25),
            file.add_stream(subtype, rate=rate, layout=LAYOUTS[len(channels)]),
        )
        picture.width = picture.height = 16
        for _ in range(25 * len(wave) // rate):
            file.mux(picture.encode(av.VideoFrame(16, 16, 'yuv420p')))
        file.mux(picture.encode())
        samples = np.ascontiguousarray((channels.T * 32768).round().astype(np.int16).reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(samples, 's16', LAYOUTS[len(channels)])
        frame.sample_rate = rate
        file.mux(sound.encode(frame))
        file.mux(sound.encode())


def lay(root: Path, name: str, write=lambda path, speaker, emotion: path.touch()) -> Path:
    """The tree of a corpus below `root`, its audio by `write`."""
    for path, speaker, emotion in audio(name):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        write(root / path, speaker, emotion)
    for path, text in lists(name).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root
