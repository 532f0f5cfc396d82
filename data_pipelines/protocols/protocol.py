"""Protocols: how one or several corpora are divided into folds."""

import dataclasses

from data_pipelines.errors import UserError
from data_pipelines.speed_copies import check_no_copies

LEAK_KINDS = ('speaker', 'audio')

AUTO = 'auto'  # in a configuration: chosen by the number of speakers (choice.py)

WITHIN_CORPUS_PROTOCOLS = (
    'speaker_folds',
    'leave_one_speaker_out',
    'leave_one_session_out',
    'official',
    'speaker_dependent',
    'sentence_folds',
    'speaker_sentence_folds',
)

# Test speakers are training speakers by design.
SHARED_SPEAKER_PROTOCOLS = ('speaker_dependent', 'sentence_folds')
# Test sentences are in no other part.
SEPARATE_SENTENCE_PROTOCOLS = ('sentence_folds', 'speaker_sentence_folds')

# The column in which source and target differ.
CROSS_CORPUS_PROTOCOLS = {
    'leave_one_corpus_out': 'corpus',
    'leave_one_language_out': 'language',
    'source_target': 'corpus',
}

# What the title of a protocol says of each mode.
ADAPTATION_MODES = {
    'none': '',
    'others': ', adapts to other speakers of the target',
    'transductive': ', transductive: training uses the test audio without its emotions',
}


# The values of config.protocol.enrol_from, and what the title of a protocol says of each.
ENROLMENT_SOURCES = {
    'any': '',
    'one': ' (of one emotion)',
    'neutral': ' (neutral ones)',
}


def parse_allowed_leaks(text: str) -> tuple[str, ...]:
    """Returns the kinds of leak in a comma-separated list, sorted; UserError if one is unknown."""
    kinds = {word.strip() for word in text.split(',')} - {''}
    unknown = sorted(kinds - set(LEAK_KINDS))
    if unknown:
        raise UserError(
            f'There is no kind of leak {unknown[0]!r}. '
            f'--allow_leak accepts {", ".join(LEAK_KINDS)}.'
        )
    return tuple(sorted(kinds))


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How one or several corpora are divided into folds; configs/base.py explains the fields."""

    name: str = 'speaker_folds'
    folds: int = 5
    source: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    adapt: str = 'none'
    identity: tuple[str, ...] = ()
    test: str = 'test'
    allow_leak: str = ''
    withhold: float = 0.0
    enrol: int | str = 'none'
    enrol_from: str = 'any'
    drop_copies: bool = False

    def __post_init__(self):
        self._check_modes()
        self._check_corpora()
        self._check_enrolment()

    def _check_modes(self) -> None:
        """Raises a UserError for an unknown protocol or mode of adaptation."""
        protocols = (*WITHIN_CORPUS_PROTOCOLS, *CROSS_CORPUS_PROTOCOLS)
        if self.name not in protocols:
            raise UserError(
                f'There is no protocol {self.name!r}; expected one of '
                f'{", ".join((*protocols, AUTO))}.'
            )
        if self.adapt not in ADAPTATION_MODES:
            raise UserError(
                f'config.protocol.adapt is {self.adapt!r}; '
                f'expected one of {", ".join(ADAPTATION_MODES)}.'
            )
        if self.adapt == 'others' and self.name in WITHIN_CORPUS_PROTOCOLS:
            raise UserError(
                'config.protocol.adapt=others needs a target that is separate from the source; '
                f'{self.name} has none. Choose one of {", ".join(CROSS_CORPUS_PROTOCOLS)}.'
            )

    def _check_corpora(self) -> None:
        """Raises a UserError where source, target and identity corpora are missing or overlap."""
        for key in ('source', 'target'):
            check_no_copies(getattr(self, key), f'protocol.{key}')
        is_pair = self.name == 'source_target'
        if is_pair and not (self.source and self.target):
            raise UserError(
                'source_target needs a source and a target, '
                'e.g. --config.protocol.source=emodb --config.protocol.target=urdu.'
            )
        if not is_pair and (self.source or self.target):
            raise UserError(
                'config.protocol.source and .target belong to the protocol source_target, '
                f'not to {self.name}.'
            )
        shared = set(self.source) & set(self.target)
        if shared:
            raise UserError(f'{min(shared)} is both source and target. Remove it from one of them.')
        shared = set(self.identity) & {*self.source, *self.target}
        if shared:
            raise UserError(
                f'{min(shared)} is source or target, and cannot fill the identity batches too '
                '(config.protocol.identity).'
            )

    def _check_enrolment(self) -> None:
        """Raises a UserError for what cannot be enrolled."""
        is_number = isinstance(self.enrol, int) and not isinstance(self.enrol, bool)
        if self.enrol not in ('none', 'all') and not (is_number and self.enrol >= 0):
            raise UserError(
                f'config.protocol.enrol is {self.enrol!r}; expected a number of utterances of each '
                'speaker from 0, all, or none.'
            )
        if self.enrol_from not in ENROLMENT_SOURCES:
            raise UserError(
                f'config.protocol.enrol_from is {self.enrol_from!r}; '
                f'expected one of {", ".join(ENROLMENT_SOURCES)}.'
            )

    @property
    def title(self) -> str:
        """Returns the protocol in words, as every result states it."""
        words = self.name
        if self.source:
            words += f' {"+".join(self.source)} -> {"+".join(self.target)}'
        if self.name == 'official' and self.test != 'test':
            words += f' ({self.test})'
        if self.separates_sentences:
            words += ', test sentences are not in training'
        if self.shares_speakers:
            words += ', speakers are shared between training and test'
        words += ADAPTATION_MODES[self.adapt]
        if self.identity:
            words += f', identity batches from {"+".join(self.identity)}'
        if self.withhold > 0:
            percent = 100 * self.withhold
            words += f', attackers are tested on {percent:g} % withheld utterances'
        if self.enrol != 'none':
            words += ', half of the utterances of each speaker are set aside for enrolment'
            words += ENROLMENT_SOURCES[self.enrol_from]
        if self.drop_copies:
            words += ', without copies of recordings'
        return words

    @property
    def shares_speakers(self) -> bool:
        """Returns whether test speakers are training speakers by design."""
        return self.name in SHARED_SPEAKER_PROTOCOLS

    @property
    def separates_sentences(self) -> bool:
        """Returns whether test sentences are in no other part by design."""
        return self.name in SEPARATE_SENTENCE_PROTOCOLS

    @property
    def is_transductive(self) -> bool:
        """Returns whether training uses the test part's audio, without its emotions."""
        return self.adapt == 'transductive'
