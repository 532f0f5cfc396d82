"""The section of the model card on enrolling speakers: how, and what it gains."""

from typing import NamedTuple

from jaxser.analysis.enrolment import SOURCES
from jaxser.pretrained.encoder import PretrainedEncoder
from jaxser.reporting.formats import format_interval, format_number
from jaxser.serving.card_usage import PROGRAM_FILE, encoder_states, has_program
from jaxser.serving.enrolment import OFFSET_NAME, offset_shape
from jaxser.serving.markdown import render
from jaxser.serving.model import Model


class CurveRow(NamedTuple):
    """A row of the table of UAR by the number of enrolled utterances; texts."""

    enrolled: str
    source: str
    uar: str
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
    return render(
        'enrolment',
        needs_folder=encoder_states(metadata) is not None and not encoder,
        program_file=PROGRAM_FILE if has_program(metadata, encoder) else '',
        offset_name=OFFSET_NAME,
        offset_shape=shape,
        rows=_curve_rows(metadata.get('enrolment', [])),
    )


def _curve_rows(rows: list[dict]) -> list[CurveRow]:
    curve = []
    for row in rows:
        enrolled = str(row['enrol'])
        if row['enrol'] == 'all':
            enrolled = f'all ({row["utterances"]:.0f} on average)'
        curve.append(
            CurveRow(
                enrolled,
                SOURCES[row['enrol_from']],
                format_number(row['uar']),
                format_interval(row['uar_ci95']),
                format_number(row['delta_uar'], '+z.3f'),
                format_interval(row['delta_ci95'], '+.3f'),
            )
        )
    return curve
