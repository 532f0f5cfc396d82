"""Computes and writes a prepared data set by an Apache Beam pipeline, on many machines.

All machines must see the source and the data set under the paths that they have here.
"""

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import threadpoolctl
from apache_beam.options.pipeline_options import PipelineOptions

from data_pipelines.corpora import Corpus, Utterance
from data_pipelines.errors import UserError
from data_pipelines.features.decode import Rejection
from data_pipelines.features.upstream import FeatureSpec
from data_pipelines.storage import builder, schema


def make_pipeline_options(arguments: list[str], workers: int) -> PipelineOptions:
    """Returns Beam's options from `name=value` and `flag`; UserError if Beam cannot run with them.

    If they name no runner, that many processes run on this machine. (Beam's own default,
    DirectRunner, would download a program.)
    """
    if any('DaskRunner' in argument for argument in arguments):
        raise UserError(
            "Beam's DaskRunner cannot run this pipeline: it mixes the outputs of a step that has "
            'several. To use a Dask cluster, give --dask SCHEDULER in place of --beam.'
        )
    defaults = [
        'runner=FnApiRunner',
        'direct_running_mode=multi_processing',
        f'direct_num_workers={workers}',
        'default_sdk_harness_log_level=WARNING',
    ]
    options = PipelineOptions([f'--{argument}' for argument in defaults + arguments])
    try:
        beam.Pipeline(options=options)
    except (ValueError, ImportError) as error:
        raise UserError(f'Beam cannot run with {" ".join(arguments)}: {error}') from None
    return options


def write_with_beam(
    corpus: Corpus,
    utterances: list[Utterance],
    spec: FeatureSpec,
    folder: Path,
    options: PipelineOptions,
) -> tuple[Path, list[dict | str]]:
    """Writes the shards below `folder`.

    Returns their folder and the outcomes: for each utterance its `schema.audio_summary`, or the
    reason why it was rejected.
    """
    absolute_folder = folder.absolute()  # workers may have another working folder
    utterances_file = absolute_folder / 'utterances.json'
    outcomes_file = absolute_folder / 'outcomes.json'
    write_utterances(utterances, utterances_file)
    examples = ExampleTransform(utterances_file, outcomes_file, spec)
    try:
        shards = builder.write_shards(corpus, spec, examples, absolute_folder, options)
    except Exception as error:
        # The cause may only be that no utterance was accepted.
        if outcomes_file.exists():
            builder.check_any_accepted(utterances, json.loads(outcomes_file.read_text()))
        check_program_found(error)
        raise
    shards = folder / shards.relative_to(absolute_folder)
    return shards, json.loads(outcomes_file.read_text())


def check_program_found(error: Exception) -> None:
    """Raises UserError if Beam could not download the program of a runner."""
    if 'Unable to fetch remote' in str(error):
        raise UserError(
            f'{error}. Beam downloads a program for this runner. Without internet, name the '
            'downloaded file: --beam ... flink_job_server_jar=FILE, spark_job_server_jar=FILE or '
            'prism_location=FILE.'
        ) from error


class ExampleTransform(beam.PTransform):
    """Yields (number, example) of each accepted utterance; writes all outcomes to a JSON file."""

    def __init__(self, utterances_file: Path, outcomes_file: Path, spec: FeatureSpec):
        super().__init__()
        self.utterances_file = utterances_file
        self.outcomes_file = outcomes_file
        self.spec = spec

    def expand(self, pipeline):
        """Adds the steps to the pipeline."""
        features = (
            pipeline
            | beam.Create([self.utterances_file])
            | 'Walk' >> beam.FlatMap(read_numbered_utterances)
            | beam.Reshuffle()
            | 'Features'
            >> beam.ParDo(FeatureDoFn(self.spec)).with_outputs('outcome', main='example')
        )
        _ = (
            features.outcome
            | beam.combiners.ToList()
            | 'Outcomes' >> beam.Map(save_outcomes, self.outcomes_file)
        )
        return features.example


class FeatureDoFn(beam.DoFn):
    """Computes the features of a numbered utterance.

    Yields (number, example) unless it is rejected, and tagged `outcome`, (number, outcome).
    """

    def __init__(self, spec: FeatureSpec):
        self.spec = spec

    def setup(self):
        """Limits this process to one thread: a product's last bit depends on their number."""
        import numpy  # noqa: F401 (the limit applies to libraries that are loaded)

        self.limit = threadpoolctl.threadpool_limits(1)

    def process(self, numbered: tuple[int, Utterance]) -> Iterator:
        """Yields the outcome, and the example if there is one."""
        number, utterance = numbered
        result = self.spec.process_utterance(utterance)
        if isinstance(result, Rejection):
            yield beam.pvalue.TaggedOutput('outcome', (number, str(result)))
        else:
            yield beam.pvalue.TaggedOutput('outcome', (number, schema.audio_summary(result)))
            yield number, schema.label_columns(utterance) | result

    def teardown(self):
        """Removes the limit."""
        self.limit.restore_original_limits()


def write_utterances(utterances: list[Utterance], file: Path) -> None:
    """Writes the utterances as JSON: some runners do not take a pipeline that contains them."""
    rows = []
    for utterance in utterances:
        path = os.fspath(utterance.path.absolute())
        rows.append(dataclasses.asdict(utterance) | {'path': path})
    file.write_text(json.dumps(rows))


def read_numbered_utterances(utterances_file: Path) -> Iterator[tuple[int, Utterance]]:
    """Yields the utterances with their numbers, by which the shards are ordered."""
    for number, fields in enumerate(json.loads(utterances_file.read_text())):
        fields['path'] = Path(fields['path'])
        yield number, Utterance(**fields)


def save_outcomes(outcomes: list[tuple[int, dict | str]], file: Path) -> None:
    """Writes the outcomes in the order of the utterances.

    The file is replaced in one step, since Beam may run this twice.
    """
    ordered = sorted(outcomes, key=_utterance_number)
    temporary_file = file.with_name(f'{file.name}.{os.getpid()}')
    temporary_file.write_text(json.dumps([outcome for _, outcome in ordered]))
    temporary_file.rename(file)


def _utterance_number(numbered: tuple[int, dict | str]) -> int:
    return numbered[0]
