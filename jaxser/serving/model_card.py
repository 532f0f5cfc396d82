"""Renders the model card of an exported model: Markdown with a YAML head for the Hugging Face Hub.

The card describes the intended use, the data, results, leakage, limitations, and how to run the
model. Its facts come from model.json and, if it is available, from the finished sweep; unknown
facts are left out. The texts are in templates/.
"""

from data_pipelines import corpora, speed_copies
from data_pipelines.features.upstream import EncoderStates
from data_pipelines.wording import pluralize
from jaxser.analysis.finished import SweepAnalysis
from jaxser.analysis.measure import main_measure
from jaxser.pretrained.encoder import PretrainedEncoder
from jaxser.reporting.formats import format_folds
from jaxser.runs import SYNTHETIC_WARNING, method_name, synthetic_note
from jaxser.serving.card_enrolment import describe_enrolled, enrolment_section
from jaxser.serving.card_limitations import limitations
from jaxser.serving.card_results import (
    calibration_section,
    groups_section,
    leakage_section,
    results_section,
)
from jaxser.serving.card_usage import (
    encoder_states,
    has_program,
    program_file,
    training_languages,
    usage_section,
)
from jaxser.serving.enrolment import offset_shape
from jaxser.serving.markdown import render
from jaxser.serving.model import ENCODER_FOLDER, Model, is_fine_tuned
from jaxser.serving.setting import describe_values

CLASS_METRICS = ['recall', 'accuracy', 'f1']
RATING_METRICS = ['ccc', 'pearsonr', 'rmse']
TAGS = ['speech-emotion-recognition', 'audio-classification', 'jax']


def render_card(
    model: Model,
    analysis: SweepAnalysis | None,
    saved_model: bool = False,
    encoder: PretrainedEncoder | None = None,
) -> str:
    """Returns the model card.

    Args:
      model: the exported model.
      analysis: the sweep that made it, if it is available.
      saved_model: whether the export has a SavedModel.
      encoder: the pretrained encoder, if it is copied too.
    """
    metadata = model.metadata
    row = _find_row(metadata, analysis) if analysis else None
    limits = limitations(metadata, analysis, row)
    sections = {
        'Intended use': intended_use(metadata),
        'Out-of-scope use': render('out_of_scope'),
        'Data': data_section(metadata, analysis),
        'Scale of the ratings': ratings_section(metadata),
        'Pretrained encoder': encoder_section(metadata, encoder),
        'Results': results_section(metadata, analysis, row),
        'Results by group': groups_section(analysis, row, describe_enrolled(metadata)),
        'Leakage': leakage_section(analysis, row, describe_enrolled(metadata, 'each speaker')),
        'Calibration': calibration_section(metadata),
        'Limitations': '\n'.join(f'- {sentence}' for sentence in limits),
        'Usage': usage_section(metadata, saved_model, encoder, offset_shape(model)),
        'Speaker enrolment': enrolment_section(model, encoder),
        'Versions': versions_section(metadata, analysis),
    }
    # The head names no licence, which only the owner of the model can choose, and no data sets,
    # which have other names on the Hub.
    card = render(
        'model_card',
        languages=training_languages(metadata),
        tags=[*TAGS, 'stablehlo'] if has_program(metadata, encoder) else TAGS,
        metrics=list_metrics(metadata),
        introduction=introduction(metadata),
        sections=sections,
    )
    return f'{card}\n'


def _find_row(metadata: dict, analysis: SweepAnalysis) -> dict:
    """Returns the row of the model's setting in the summary of its sweep."""
    for row in analysis.rows:
        if all(row.get(key) == metadata['row'].get(key) for key in analysis.setting_keys):
            return row
    raise LookupError(f'The sweep has no setting {metadata["row"]}.')


def list_metrics(metadata: dict) -> list[str]:
    """Returns the measures of the card's results, for its head."""
    metrics = CLASS_METRICS if metadata['classes'] else []
    return metrics + (RATING_METRICS if metadata.get('ratings') else [])


def introduction(metadata: dict) -> str:
    """Returns the title, a note on synthetic speech if needed, and a paragraph on the model."""
    config, runs = metadata['config'], metadata['runs']
    method, _, _ = method_name(config | metadata['row']).partition(',')
    return render(
        'introduction',
        corpora=metadata['corpora'],
        synthetic_note=synthetic_note(metadata),
        classes=metadata['classes'],
        ratings=metadata.get('ratings', []),
        run_count=len(runs),
        folds=format_folds(sorted({run['fold'] for run in runs}), metadata.get('protocol_folds')),
        seeds=pluralize(len({run['seed'] for run in runs}), 'seed'),
        method=method,
        setting=describe_values(metadata),
        version=metadata['versions']['jaxser'],
        encoder_name=config['model']['name'],
        states=encoder_states(metadata),
        is_fine_tuned=is_fine_tuned(metadata),
    )


def intended_use(metadata: dict) -> str:
    """Returns the section on the intended use."""
    return render(
        'intended_use',
        is_synthetic=synthetic_note(metadata) == SYNTHETIC_WARNING,
        languages=training_languages(metadata),
        classes=metadata['classes'],
        ratings=metadata.get('ratings', []),
    )


def ratings_section(metadata: dict) -> str:
    """Returns how to convert the ratings to a scale; '' for a model of classes."""
    ratings = metadata.get('ratings', [])
    return render('ratings', ratings=ratings) if ratings else ''


def data_section(metadata: dict, analysis: SweepAnalysis | None) -> str:
    """Returns a table of the corpora with their licences, and how the data were split."""
    described = []
    for name, facts in metadata['data'].items():
        described.append(facts | _describe_corpus(name, metadata['corpora']))
    return render(
        'data',
        corpora=described,
        labels=metadata['labels'],
        classes=metadata['classes'],
        ratings=metadata.get('ratings', []),
        trained_labels=describe_trained_labels(metadata),
        measure=main_measure(metadata['config']).title,
        protocol=metadata['protocol'],
        selection=analysis.results['selection'] if analysis else '',
        chosen_by=metadata.get('chosen_by', ''),
        normalisation=metadata['normalisation'],
        split_sha256=metadata['split_sha256'],
    )


def describe_trained_labels(metadata: dict) -> str:
    """Returns what training uses as labels, e.g. 'emotion', "raters' votes" or 'ratings'."""
    parts = []
    if metadata['classes']:
        has_votes = metadata['config']['train'].get('soft_labels', False)
        parts.append("raters' votes" if has_votes else 'emotion')
    if metadata.get('ratings'):
        parts.append('ratings')
    return ' and '.join(parts)


def _describe_corpus(name: str, named_corpora: list[str]) -> dict[str, str]:
    """Returns title, licence and homepage of a corpus; a corpus from a CSV list has only a name."""
    source = speed_copies.source_corpus(name) or name
    is_own = source not in corpora.corpus_names()
    if is_own or name not in named_corpora or name == 'folder':
        title = f'{name} (from a CSV list)'
        return {'title': title, 'licence': 'not known to jaxser', 'homepage': ''}
    corpus = corpora.load_corpus(name)
    return {'title': corpus.title, 'licence': corpus.licence, 'homepage': corpus.homepage}


def encoder_section(metadata: dict, encoder: PretrainedEncoder | None) -> str:
    """Returns which pretrained encoder the model uses; '' for a model on log-mel."""
    states: EncoderStates | None = encoder_states(metadata)
    if not states:
        return ''
    return render(
        'encoder',
        states=states,
        size=f'{pluralize(states.layers, "state")}, {states.width} wide',
        is_fine_tuned=is_fine_tuned(metadata),
        rank=metadata['config']['model'].get('lora'),
        sha256=metadata['upstream']['sha256'],
        is_carried=encoder is not None,
        program_file=program_file(metadata),
        encoder_folder=ENCODER_FOLDER,
    )


def versions_section(metadata: dict, analysis: SweepAnalysis | None) -> str:
    """Returns the versions of the packages, and of jaxser's repository, that trained the model."""
    versions = []
    for package, version in metadata['versions'].items():
        if version:
            versions.append(f'{package} {version}')
    commit = analysis.metadata['git_commit'] if analysis else None
    return render('versions', versions=versions, commit=commit)
