"""What a pretrained speech encoder makes of sound as features, or what it hears: what they are called, how sound becomes them.

The encoder is jaxser/upstream.py's. It is imported only where its folder is read or Whisper's log-mel is made; nothing else in
preparing needs JAX.
"""

import collections
import dataclasses
import hashlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from data_pipelines.corpora import Utterance, load
from data_pipelines.log_mel import LogMel, Rejected, decode, described, log_mel, stored
from data_pipelines.refusal import Refusal

if TYPE_CHECKING:
    import numpy as np

    from jaxser.upstream import Upstream

FORMAT = 1  # raise it whenever the same encoder would give other numbers
KEPT = ('pooled', 'all')  # of an utterance: mean and standard deviation over its frames, as one frame; or every frame
HEARD = 'heard'  # kept instead: what the encoder hears, for training that goes through it
MODELS = ('wav2vec2', 'hubert', 'wavlm', 'whisper')
NAME = re.compile(rf'({"|".join(MODELS)})-(\d+)x(\d+)-({"|".join(KEPT)})-([0-9a-f]{{8}})')
HEARD_NAME = re.compile(rf'(wave|whisper)-(\d+)-{HEARD}-([0-9a-f]{{8}})')
HOP = 160  # samples: 10 ms
AHEAD = 256  # utterances that wait for others of their length, at most
SOUND = LogMel()  # of 16 kHz, as every upstream hears; its log-mel is what the audit compares


@dataclasses.dataclass(frozen=True)
class States:
    """Which states of which encoder, which is their identity, and their name tells all of it."""

    model: str  # model_type of the folder's config.json
    layers: int  # the input's state, and one a layer
    width: int  # of a state
    kept: str  # one of KEPT
    digest: str  # eight digits that change with the weights, with what is done with them, and with the format
    sha256: str = dataclasses.field(default='', compare=False)  # of the weights, where the encoder has been read
    folder: str = dataclasses.field(default='', compare=False)  # where the encoder is, for whoever computes states

    @classmethod
    def of(cls, folder: str | Path, kept: str) -> 'States':
        """Those of the encoder in a Hugging Face folder; refuses one that is damaged or unknown."""
        from jaxser import upstream

        if kept not in KEPT:
            raise Refusal(f'{kept!r} of the states are to be kept; expected one of {", ".join(KEPT)}.')
        return dataclasses.replace(cls.of_encoder(upstream.kept(folder), kept), folder=os.path.abspath(folder))

    @classmethod
    def of_encoder(cls, encoder: 'Upstream', kept: str) -> 'States':
        """Those of an encoder that has been read."""
        digest = hashlib.sha256(repr((FORMAT, encoder.sha256, encoder.facts)).encode()).hexdigest()[:8]
        return cls(encoder.config['model_type'], encoder.layers, encoder.width, kept, digest, encoder.sha256)

    @classmethod
    def named(cls, name: str) -> 'States':
        """Those of that name."""
        if not (m := NAME.fullmatch(name)):
            raise Refusal(f'{name!r} names no states of an upstream; expected as in whisper-5x384-pooled-0123abcd.')
        return cls(m[1], int(m[2]), int(m[3]), m[4], m[5])

    @property
    def name(self) -> str:
        """As in `whisper-5x384-pooled-0123abcd`."""
        return f'{self.model}-{self.layers}x{self.width}-{self.kept}-{self.digest}'

    @property
    def packed_name(self) -> str:
        """Of an .npz."""
        return f'{self.name}.npz'

    @property
    def pooled(self) -> bool:
        """Whether an utterance is one frame."""
        return self.kept == 'pooled'

    @property
    def bands(self) -> int:
        """Numbers in a frame: layer after layer, of each its state, or the mean of its states and then their deviation."""
        return self.layers * self.width * (1 + self.pooled)

    def record(self) -> dict:
        """What prepared.json says of them."""
        return {'upstream': {'name': self.name, **dataclasses.asdict(self), 'format': FORMAT}}

    def heard(self, utterance: Utterance) -> 'dict | Rejected':
        """What a worker makes of an utterance: its samples, and what is stored beside its states."""
        try:
            wave = decode(utterance, SOUND)
            mel_TxM = log_mel(wave, SOUND)
        except Rejected as reason:
            return reason
        return {'wave': wave} | described(wave, mel_TxM, SOUND)

    def finish(self, results: Iterable[tuple[Utterance, 'dict | Rejected']]) -> Iterator[tuple[Utterance, 'dict | Rejected']]:
        """In their order, with the states in place of the samples; those of like length go through the encoder together."""
        from jaxser import upstream

        encoder = upstream.Frozen(upstream.kept(self.folder), self.pooled)
        waiting: collections.deque = collections.deque()  # utterances in their order
        alike = collections.defaultdict(list)  # those of a length that have no states yet

        def compute(length: int) -> None:
            some = alike.pop(length)
            for known, states_TxM in zip(some, encoder([known.pop('wave') for known in some])):
                known |= stored(states_TxM)

        for u, known in results:
            waiting.append((u, known))
            if isinstance(known, dict):
                length = encoder.bucket(known['wave'])
                alike[length].append(known)
                if len(alike[length]) == encoder.at_once(length):
                    compute(length)
            if len(waiting) == AHEAD and 'wave' in (first := waiting[0][1]):
                compute(encoder.bucket(first['wave']))
            while waiting and (isinstance(waiting[0][1], Rejected) or 'wave' not in waiting[0][1]):
                yield waiting.popleft()
        for length in sorted(alike):
            compute(length)
        yield from waiting
        if encoder.cut:
            said = f'{encoder.cut} of them are longer than the {encoder.longest:g} s that this encoder hears: cut there.'
            print(said, file=sys.stderr)  # TFDS's own words, on stdout, are left out


@dataclasses.dataclass(frozen=True)
class Heard:
    """What an encoder hears, a frame every 10 ms: its 160 samples as they are, or Whisper's log-mel; whatever its weights."""

    what: str  # 'wave' or 'whisper'
    bands: int

    @classmethod
    def of(cls, folder: str | Path) -> 'Heard':
        """What the encoder in a Hugging Face folder hears; refuses one that is damaged or unknown."""
        from jaxser import upstream

        encoder = upstream.kept(folder)
        return cls('wave', HOP) if encoder.hears == 'wave' else cls('whisper', encoder.config['num_mel_bins'])

    @property
    def name(self) -> str:
        """As in `wave-160-heard-` and eight digits that change with the format."""
        digest = hashlib.sha256(repr((FORMAT, self.what, self.bands)).encode()).hexdigest()[:8]
        return f'{self.what}-{self.bands}-{HEARD}-{digest}'

    @property
    def packed_name(self) -> str:
        """Of an .npz."""
        return f'{self.name}.npz'

    def record(self) -> dict:
        """What prepared.json says of them."""
        return {HEARD: dataclasses.asdict(self)}

    def heard(self, utterance: Utterance) -> 'dict | Rejected':
        """What a worker makes of an utterance: all that is stored of its sound."""
        try:
            wave = decode(utterance, SOUND)
            return stored(self.frames(wave)) | described(wave, log_mel(wave, SOUND), SOUND)
        except Rejected as reason:
            return reason

    def finish(self, results: Iterable) -> Iterable:
        """What is left to do with what the workers make, utterance by utterance: nothing."""
        return results

    def frames(self, wave: 'np.ndarray') -> 'np.ndarray':
        """frames_TxM in float16 of samples at 16 kHz; the last ones that fill no 10 ms are left out."""
        import numpy as np

        if self.what == 'whisper':
            from jaxser.models import whisper

            return whisper.log_mel(wave, self.bands).astype(np.float16)
        if (peak := np.abs(wave).max()) > np.finfo(np.float16).max:
            raise Rejected(f'samples as large as {peak:g}, where full scale is 1')
        return wave[: len(wave) // HOP * HOP].reshape(-1, HOP).astype(np.float16)


def named(name: str) -> States | Heard:
    """The features of that name."""
    if (m := HEARD_NAME.fullmatch(name)) and (heard := Heard(m[1], int(m[2]))).name == name:
        return heard
    return States.named(name)


def chosen(out: str | Path, corpora: Iterable[str], asked: str) -> str:
    """The name of the prepared features of all `corpora` in `out` that begins with `asked`; refuses none, and more than one.

    States go before what is heard: Whisper's have one beginning.
    """
    there = {name: {p.name.removesuffix('.npz') for p in (Path(out) / name).glob(f'{asked}*')} for name in corpora}
    there = {name: {n for n in found if NAME.fullmatch(n) or HEARD_NAME.fullmatch(n)} for name, found in there.items()}
    both = set.intersection(*there.values())
    both = {n for n in both if NAME.fullmatch(n)} or both
    if len(both) == 1:
        return both.pop()
    if both:
        raise Refusal(f'config.data.upstream is {asked!r}, and there are {" and ".join(sorted(both))}: name one of them.')
    options = '--features upstream:FOLDER' + f' --states {HEARD}' * (asked.startswith('wave') or f'-{HEARD}-' in asked)
    lacking = [name for name, found in there.items() if not found] or list(there)
    source = {name: '' if load(name).make else ' --source PATH' for name in lacking}
    lines = '\n'.join(f'  python -m data_pipelines.prepare {name}{source[name]} --out {out} {options}' for name in lacking)
    found = '; '.join(f'{name}: {", ".join(sorted(f))}' for name, f in there.items() if f)
    raise Refusal(
        f'{" and ".join(lacking)} {"is" if len(lacking) == 1 else "are"} not prepared in {out}/ with features of an upstream '
        f'that begin with {asked!r}{f" (there are {found})" if found else ""}. First, with the Hugging Face folder of the '
        f'encoder:\n{lines}'
    )
