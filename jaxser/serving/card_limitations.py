"""The limitations in the model card that follow from model.json and the finished sweep."""

from data_pipelines.features import decode, log_mel
from data_pipelines.features.upstream import AUDIO_SPEC
from data_pipelines.protocols.protocol import SHARED_SPEAKER_PROTOCOLS
from data_pipelines.wording import pluralize
from jaxser.analysis.finished import SweepAnalysis
from jaxser.analysis.leakage import HEADLINE_QUESTIONS, question_title
from jaxser.analysis.measure import main_measure
from jaxser.runs import SYNTHETIC_WARNING, synthetic_note
from jaxser.serving import predictor
from jaxser.serving.card_usage import encoder_states, training_languages
from jaxser.serving.enrolment import NORMALISATION
from jaxser.serving.markdown import escape_text, join_words
from jaxser.serving.model import is_fine_tuned

# The verdicts that are limitations, and their meaning.
ALARMING_VERDICTS = {
    'inert': 'the representation leaks nearly as much as that of plain training, or more',
    'collapsed': 'the {target} forgotten too, or the run diverged',
}


def limitations(metadata: dict, analysis: SweepAnalysis | None, row: dict | None) -> list[str]:
    """Returns the limitations as Markdown sentences.

    `row` is the setting's row in the summary of the sweep, if the sweep is available.
    """
    sentences = _limits_of_speech(metadata) + _limits_of_training(metadata)
    if analysis:
        sentences += _limits_of_results(analysis, row)
    return sentences + _limits_of_input(metadata)


def _limits_of_speech(metadata: dict) -> list[str]:
    sentences = []
    corpora = metadata['data'].values()
    warning = synthetic_note(metadata)
    if warning:
        sentences.append(warning)
    styles = set()
    for corpus in corpora:
        styles.update(corpus['styles'])
    if 'acted' in styles and warning != SYNTHETIC_WARNING:
        sentences.append(
            f'The speech is {_words(sorted(styles))}. Acted speech shows how people think that '
            'emotions sound.'
        )
    speakers = pluralize(sum(corpus['speakers'] for corpus in corpora), 'speaker')
    sentences.append(
        f'The data have {speakers}, from {_words(metadata["data"])}. The intervals are about other '
        'speakers recorded in the same way, not about other rooms, microphones, languages or '
        'styles of speaking.'
    )
    return sentences


def _limits_of_training(metadata: dict) -> list[str]:
    sentences = []
    protocol = metadata['config']['protocol']
    target = 'emotions' if metadata['classes'] else 'ratings'
    languages = training_languages(metadata)
    if languages:
        sentences.append(f'The model was trained on {_words(languages)} only.')
    else:
        sentences.append('The language of the training data is not recorded.')
    sentences += _limits_of_outputs(metadata)
    if protocol['name'] in SHARED_SPEAKER_PROTOCOLS:
        sentences.append(
            'The tested speakers were seen in training: expect a lower '
            f'{main_measure(metadata["config"]).title} for unseen speakers.'
        )
    if protocol['adapt'] != 'none':
        sentences.append(
            f'Training has seen speech of the target domain, without its {target} '
            f'(`adapt={protocol["adapt"]}`).'
        )
    normalisation = metadata['normalisation']
    if normalisation == NORMALISATION:
        sentences.append(
            f'Training normalised by `{NORMALISATION}`. Without enrolment, the speech of a speaker '
            'is normalised by the training data alone. Results with enrolment are transductive.'
        )
    elif normalisation.startswith('speaker'):
        sentences.append(
            f'Training normalised by `{normalisation}`. In prediction every speaker is unseen, and '
            'each utterance is normalised by its own statistics.'
        )
    return sentences


def _limits_of_outputs(metadata: dict) -> list[str]:
    """Returns what the classes and the ratings cannot say."""
    sentences = []
    if metadata['classes']:
        *first_classes, last_class = metadata['classes']
        sentences.append(
            f'The prediction is always {_words(first_classes)} or {escape_text(last_class)}: there '
            'is no class for other emotions, or for audio without speech.'
        )
    if metadata.get('ratings'):
        sentences.append(
            'Predicted ratings imitate the mean over the raters of these corpora. Other raters may '
            'rate differently. Audio without speech is rated, too. The ratings come without an '
            'interval, and are not calibrated.'
        )
    return sentences


def _limits_of_results(analysis: SweepAnalysis, row: dict) -> list[str]:
    sentences = []
    for kind in analysis.results['audit'].get('leaks', []):
        sentences.append(
            f'Leak of {kind} allowed: some training and test utterances have the same {kind}.'
        )
    for verdict, count in (row['adversary'] or {}).items():
        if verdict in ALARMING_VERDICTS:
            runs = pluralize(count, 'run')
            target = 'emotion was' if analysis.classes else 'ratings were'
            meaning = ALARMING_VERDICTS[verdict].format(target=target)
            sentences.append(f'The method was {verdict} in {runs}: {meaning}.')
    return sentences + _below_chance_warning(row)


def _below_chance_warning(row: dict) -> list[str]:
    """Returns a warning if an attacker of speakers is significantly below chance."""
    names = []
    for question in HEADLINE_QUESTIONS:
        if ((row['probe'] or {}).get(question) or {}).get('below_chance'):
            names.append(question_title(question))
    if not names:
        return []
    return [
        f'Leakage of {", ".join(names)}: an attacker is significantly below chance, which is a '
        'leak too.'
    ]


def _limits_of_input(metadata: dict) -> list[str]:
    sentences = []
    states = encoder_states(metadata)
    spec = AUDIO_SPEC
    if not states:
        spec = log_mel.LogMel(**metadata['config']['data']['features'])
    elif states.model == 'whisper':
        phase = 'Testing' if is_fine_tuned(metadata) else 'Training'
        sentences.append(
            f"{phase} used only the beginning of utterances longer than the Whisper encoder's "
            'limit (usually 30 s); `jaxser.predict` cuts nothing off.'
        )
    sentences.append(
        f'Audio is resampled to {spec.rate} Hz and must have {decode.MIN_SECONDS:g} s or more. '
        f'For more than {predictor.MAX_UTTERANCE_SECONDS:g} s, `jaxser.predict` returns the mean '
        f'over windows of {predictor.WINDOW_SECONDS:g} s; a program takes utterances as they are.'
    )
    return sentences


def _words(values) -> str:
    return escape_text(join_words(values))
