"""The section of the model card on enrolling speakers: how, and what it gains."""

from typing import NamedTuple

from data_pipelines.wording import pluralize
from jaxser.analysis.enrolment import SOURCES, rows_from
from jaxser.analysis.measure import main_measure
from jaxser.pretrained.encoder import PretrainedEncoder
from jaxser.reporting.formats import format_interval, format_number
from jaxser.serving.card_usage import (
    READ_SPEECH,
    call_code,
    describe_input,
    encoder_states,
    features_file,
    has_program,
    predict_code,
    program_arguments,
    program_file,
)
from jaxser.serving.enrolment import OFFSET_NAME, can_enrol, is_clear, offset_shape
from jaxser.serving.markdown import render
from jaxser.serving.model import Model
from jaxser.serving.output_names import OutputNames


class CurveRow(NamedTuple):
    """A row of the table of results by the number of enrolled utterances; texts."""

    enrolled: str
    source: str
    value: str
    interval: str
    difference: str
    difference_interval: str


def enrolment_section(model: Model, encoder: PretrainedEncoder | None) -> str:
    """Returns how to enrol a speaker and what it gains; '' if the model cannot.

    `encoder` is the pretrained encoder, if it is copied too.
    """
    shape = offset_shape(model)
    if not shape:
        return ''
    metadata = model.metadata
    measure = main_measure(metadata['config'])
    rows = metadata.get('enrolment', [])
    speakers = metadata['row'].get('tested_speakers')
    description = describe_input(metadata, encoder)
    names = OutputNames.from_metadata(metadata)
    arguments = program_arguments(description, OFFSET_NAME)
    return render(
        'enrolment',
        needs_folder=encoder_states(metadata) is not None and not encoder,
        program_file=program_file(metadata) if has_program(metadata, encoder) else '',
        offset_name=OFFSET_NAME,
        offset_shape=shape,
        input=description,
        file=features_file(description),
        predict_code=predict_code(names, f'speaker.predict({READ_SPEECH})'),
        call_code=call_code(names, f'program.call({arguments})'),
        measure=measure.title,
        rows=_curve_rows(rows, measure.key),
        has_unclear=any(row['delta_ci95'] and not is_clear(row['delta_ci95']) for row in rows),
        speakers=pluralize(speakers, 'tested speaker') if speakers else '',
    )


def describe_enrolled(metadata: dict, speakers: str = 'each tested speaker') -> str:
    """Returns how many utterances of the speakers the results are with; '' if none can be enrolled.

    For example 'with 8 enrolled utterances of each tested speaker'.
    """
    if not can_enrol(metadata):
        return ''
    protocol = metadata['config']['protocol']
    count = enrolled_in_results(metadata)
    if count == '0':
        return 'with no enrolled utterance'
    source = protocol['enrol_from']
    kind = '' if source == 'any' else f' ({SOURCES[source]})'
    if count == 'all':
        return f'with all set-aside utterances{kind} of {speakers} enrolled'
    return f'with {pluralize(int(count), "enrolled utterance")}{kind} of {speakers}'


def enrolled_in_results(metadata: dict) -> str:
    """Returns the number of enrolled utterances of the model's results, or 'all'."""
    return str(metadata['row'].get('enrol', metadata['config']['protocol']['enrol']))


def row_without_enrolment(metadata: dict) -> dict | None:
    """Returns the row of the curve with no enrolled utterance; None if it was not measured."""
    if not can_enrol(metadata) or not metadata.get('enrolment'):
        return None
    source = metadata['config']['protocol']['enrol_from']
    rows = rows_from(metadata['enrolment'], source) or rows_from(metadata['enrolment'], 'any')
    return next((row for row in rows if row['enrol'] == 0), None)


def _curve_rows(rows: list[dict], key: str) -> list[CurveRow]:
    """Returns the rows of the curve; `key` is that of the measure."""
    curve = []
    for row in rows:
        enrolled = str(row['enrol'])
        if row['enrol'] == 'all':
            enrolled = f'all ({row["utterances"]:.0f} on average)'
        curve.append(
            CurveRow(
                enrolled,
                SOURCES[row['enrol_from']],
                format_number(row[key]),
                format_interval(row[f'{key}_ci95']),
                format_number(row[f'delta_{key}'], '+z.3f'),
                format_interval(row['delta_ci95'], '+z.3f'),
            )
        )
    return curve
