"""The stages of a sweep: training, leakage, enrolment, the model, and the report."""

from etils import epath

from jaxser import distributed
from jaxser.probing import enrolment_curve, prober
from jaxser.reporting import page, terminal
from jaxser.serving import bundling
from jaxser.training import experiment, tracked_runs
from jaxser.training.shared_task import share_task


def run_stages(config, workdir, profile: bool = False, start_time: float | None = None) -> None:
    """Trains, measures leakage and enrolment if configured, saves the model, prints results.

    With `profile` a trace of one epoch is written. `start_time` is that of the command, in seconds
    as of time.time(). UserError if the configuration or the data are wrong.
    """
    with share_task():
        results = experiment.run_experiment(config, workdir, profile, start_time)
        data, encoder = config.data.dir, config.model.upstream
        if config.probe:
            results = prober.probe_sweep(workdir, data, encoder)
        if config.data.normalise == 'speaker_enrolled':
            results = enrolment_curve.run_curve(workdir, data, encoder)
        bundling.bundle_model(workdir, data, upstream=encoder)
    if distributed.is_main_process():
        terminal.print_results(results, epath.Path(workdir))
        page.write_report(epath.Path(workdir))
        tracked_runs.track_results(workdir, config, results)
        print(
            'To predict your own files: '
            f'python -m jaxser.predict --workdir {workdir} FILE_OR_FOLDER ...'
        )
