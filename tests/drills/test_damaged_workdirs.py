"""150 damaged files of a workdir: each command refuses it by name, or answers as without damage."""

import json
from pathlib import Path

import pytest
from drills import damage
from drills.drill import Difference, Drill
from helpers import tiny_config

pytestmark = [pytest.mark.drill, pytest.mark.filterwarnings('default')]
FILES = (
    'results.json',
    'config.json',
    'predictions.csv',
    'metrics.jsonl',
    'choices.json',
    'checksums.json',
    'groups/0/outcome.json',
)
RESULTS_LEFT_OUT = ('seconds', 'groups')  # they contain times


def report(workdir: Path, data: Path) -> bytes:
    """Writes the report; returns the page."""
    from jaxser.reporting import page

    page.write_report(workdir)
    return (workdir / 'report.html').read_bytes()


def resume(workdir: Path, data: Path) -> str:
    """Continues the sweep; returns its results without times."""
    from jaxser.training import experiment

    config = tiny_config.get_config()
    config.update_from_flattened_dict({'data.dir': str(data), 'train.epochs': 2})
    results = experiment.run_experiment(config, workdir)
    kept = {key: value for key, value in results.items() if key not in RESULTS_LEFT_OUT}
    return json.dumps(kept, sort_keys=True)


class Killed(BaseException):
    """In place of a kill."""


@pytest.fixture(scope='module')
def unfinished(data, tmp_path_factory) -> Path:
    """Returns the workdir of a sweep that was killed just before it had results."""
    from jaxser.workdir import Workdir

    def be_killed(self, results):
        raise Killed

    workdir = tmp_path_factory.mktemp('unfinished') / 'swept'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Workdir, 'save_results', be_killed)
        with pytest.raises(Killed):
            resume(workdir, data)
    return workdir


def bundle(workdir: Path, data: Path) -> bytes:
    """Makes the model again; returns its weights."""
    from jaxser.serving import bundling

    bundling.bundle_model(workdir, str(data))
    return (workdir / 'model' / 'model.safetensors').read_bytes()


COMMANDS = {'report': report, 'resume': resume, 'finish': resume, 'bundle': bundle}
UNFINISHED_FILES = (*FILES[1:], 'groups/0/predictions.csv')


def test_damaged_files_of_a_workdir_are_refused_or_make_no_difference(
    swept, unfinished, data, tmp_path
):
    drill = Drill('damaged workdir files')
    workdir = tmp_path / 'swept'
    source_of = dict.fromkeys(COMMANDS, swept) | {'finish': unfinished}
    right = {}
    for name, command in COMMANDS.items():
        damage.replace_by_copy(source_of[name], workdir)
        right[name] = command(workdir, data)
    for number, random in drill.cases(150):
        name = list(COMMANDS)[random.integers(len(COMMANDS))]
        damage.replace_by_copy(source_of[name], workdir)
        files = UNFINISHED_FILES if name == 'finish' else FILES
        file = workdir / files[random.integers(len(files))]
        has_checksums = random.random() < 0.5
        done = damage.damage_file(file, random)
        if not has_checksums and file.name != 'checksums.json':
            (workdir / 'checksums.json').unlink(missing_ok=True)
        case = f'case {number}: {name}, {file.name}, {done}, checksums: {has_checksums}'

        def run(name=name, has_checksums=has_checksums):
            # Without checksums, another value is another sweep.
            if COMMANDS[name](workdir, data) != right[name] and has_checksums:
                raise Difference('the result')

        drill.attempt(case, run)
    drill.fail_if_any()
