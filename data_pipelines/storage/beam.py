"""What the worker processes do as an Apache Beam pipeline, for corpora that are too large for one machine.

Whoever runs it finds source and data set under the paths that they have here.
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
from data_pipelines.features.log_mel import LogMel
from data_pipelines.storage import builder, schema


def make_pipeline_options(arguments: list[str], workers: int) -> PipelineOptions:
    """Beam's options from `name=value` and `flag`; without a runner among them, that many processes on this machine.

    Beam's own default, DirectRunner, would download a program.
    """
    here = [
        'runner=FnApiRunner',
        'direct_running_mode=multi_processing',
        f'direct_num_workers={workers}',
    ]
    quiet = 'default_sdk_harness_log_level=WARNING'
    found = PipelineOptions([f'--{word}' for word in (*here, quiet, *arguments)])
    try:
        beam.Pipeline(options=found)
    except (ValueError, ImportError) as e:
        raise UserError(f'Beam cannot run with {" ".join(arguments)}: {e}') from None
    return found


def write_with_beam(
    corpus: Corpus,
    utterances: list[Utterance],
    spec: LogMel,
    folder: Path,
    options: PipelineOptions,
) -> tuple[Path, list[dict | str]]:
    """Writes the data set below `folder`; returns its place and, for each utterance, its facts or why it was rejected."""
    walked, outcomes = folder.absolute() / 'utterances.json', folder.absolute() / 'outcomes.json'
    listed = [dataclasses.asdict(u) | {'path': os.fspath(u.path)} for u in utterances]
    walked.write_text(
        json.dumps(listed)
    )  # a pipeline that held them would be larger than some runners take
    try:
        shards = builder.write_shards(
            corpus, spec, ExampleTransform(walked, outcomes, spec), folder.absolute(), options
        )
    except Exception:
        if outcomes.exists():  # perhaps nothing else was wrong
            builder.check_any_accepted(utterances, json.loads(outcomes.read_text()))
        raise
    return shards, json.loads(outcomes.read_text())


class ExampleTransform(beam.PTransform):
    """From nothing to (number, example) of each utterance that has features; `outcomes` gets what became of each, as JSON."""

    def __init__(self, utterances_file: Path, outcomes_file: Path, spec: LogMel):
        super().__init__()
        self.utterances_file, self.outcomes_file, self.spec = utterances_file, outcomes_file, spec

    def expand(self, pipeline):
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
    """`log_mel.features` of a numbered utterance: an example unless it is rejected, and tagged `outcome`, facts or reason."""

    def __init__(self, spec: LogMel):
        self.spec = spec

    def setup(self):
        import numpy  # noqa: F401 (the limit holds for what is loaded)

        self.limit = threadpoolctl.threadpool_limits(
            1
        )  # the last bit of a product depends on the number of threads

    def process(self, numbered: tuple[int, Utterance]) -> Iterator:
        n, u = numbered
        result = self.spec.process_utterance(u)
        if isinstance(result, Rejection):
            yield beam.pvalue.TaggedOutput('outcome', (n, str(result)))
        else:
            yield beam.pvalue.TaggedOutput('outcome', (n, schema.audio_summary(result)))
            yield n, schema.label_columns(u) | result

    def teardown(self):
        self.limit.restore_original_limits()


def read_numbered_utterances(utterances_file: Path) -> Iterator[tuple[int, Utterance]]:
    """The utterances with their numbers, by which the shards are ordered."""
    for n, fields in enumerate(json.loads(utterances_file.read_text())):
        yield n, Utterance(**fields | {'path': Path(fields['path'])})


def save_outcomes(outcomes: list[tuple[int, dict | str]], file: Path) -> None:
    """Writes the outcomes in the order of the utterances, whole or not at all, since Beam may do so twice."""
    part = file.with_name(f'{file.name}.{os.getpid()}')
    part.write_text(json.dumps([outcome for _, outcome in sorted(outcomes, key=lambda o: o[0])]))
    part.rename(file)
