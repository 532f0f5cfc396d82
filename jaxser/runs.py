"""TODO: jaxser.runs."""

from data_pipelines.protocols.subsets import Subset

SYNTHETIC_WARNING = 'Synthetic speech (eSpeak NG): these figures say nothing about people.'

SYNTHETIC_CORPORA = frozenset(('demo', 'testbed'))  # spoken by eSpeak NG; all others are recorded


def method_name(setting: dict) -> str:
    """What a run trains by, e.g. 'erm', 'speaker_norm tap', 'dann, lam = 0'."""
    which = f' {setting["speaker_norm"]}' if setting['method'] == 'speaker_norm' else ''
    return f'{setting["method"]}{which}{", lam = 0" if setting.get("lam") == 0 else ""}'


def format_setting(row: dict, key: str) -> str:
    """The value of a key as people write it; nothing where it is another method's."""
    foreign = key == 'speaker_norm' and row.get('method', key) != key
    return '' if foreign else format_value(row.get(key))


def setting_title(row: dict, keys: list[str]) -> str:
    """What a setting is called among those that differ in `keys`, e.g. 'speaker_norm tap, lam = 0.1'."""
    name = (
        [' '.join(filter(None, (row['method'], format_setting(row, 'speaker_norm'))))]
        if 'method' in keys
        else []
    )
    rest = [
        k
        for k in keys
        if k not in (('method', 'speaker_norm') if name else ()) and row.get(k) is not None
    ]
    return ', '.join([*name, *(f'{k} = {format_value(row[k])}' for k in rest)])


def synthetic_note(facts: dict) -> str:
    """Returns the warning that the corpora used call for; '' where all speech is recorded.

    `facts` is results.json or model.json. A CSV may call its corpus "demo": that is recorded.
    """
    named, used = set(facts.get('corpora', ())), _corpora_used(facts)
    synthetic = named & used & SYNTHETIC_CORPORA
    if not synthetic:
        return ''
    if used <= SYNTHETIC_CORPORA and 'folder' not in named:
        return SYNTHETIC_WARNING
    names = ', '.join(sorted(synthetic))
    return f'Partly synthetic speech (eSpeak NG, {names}): figures on it say nothing about people.'


def _corpora_used(facts: dict) -> set[str]:
    """The corpora of the utterances where that is known, or else all that were named."""
    used = set(facts.get('data', ()))  # of model.json
    for speaker in facts.get('speakers', {}).values():
        used.update(filter(None, speaker.get('corpus', '').split('+')))
    return used or set(facts.get('corpora', ()))


TRAINING_KEYS = ('lr', 'weight_decay', 'dropout', 'time_mask', 'band_mask')  # what every method has

SHARED_KEYS = (*TRAINING_KEYS, *Subset._fields)  # what makes two methods' runs comparable


def flatten(tree, prefix: str = '') -> dict:
    """{'a.b': value} of nested dictionaries."""
    pairs = ((f'{prefix}{k}', v) for k, v in tree.items())
    return {
        name: leaf
        for k, v in pairs
        for name, leaf in (flatten(v, f'{k}.') if hasattr(v, 'items') else {k: v}).items()
    }


def varying_keys(runs: list[dict]) -> list[str]:
    """The hyper-parameters in which the runs differ, and in any case coefficient, training part and seed; not the fold."""
    keys = dict.fromkeys(k for r in runs for k in r)
    differ = [k for k in keys if len(distinct_values(runs, k)) > 1]
    return [
        k for k in keys if k != 'fold' and (k in differ or k in ('lam', 'seed', *Subset._fields))
    ]


def distinct_values(runs: list[dict], key: str) -> list:
    """The values of a hyper-parameter, in order, each once; a run that has none says nothing."""
    return list(dict.fromkeys(r[key] for r in runs if r.get(key) is not None))


def run_label(run: dict, label_keys: list[str]) -> str:
    """A run's name without its fold, e.g. 'lam=0.3 seed=1'."""
    return ' '.join(f'{k}={format_value(run[k])}' for k in label_keys if run.get(k) is not None)


def older_labels(runs: list[dict]) -> dict[tuple[str, int], list[str]]:
    """Returns the labels of runs by the (label, fold) of earlier versions, where these differ.

    Those cut numbers to six digits, so that one of their labels may be that of several runs.
    """
    keys = varying_keys(runs)
    labels = {(run_label(run, keys), run['fold']) for run in runs}
    found: dict[tuple[str, int], list[str]] = {}
    for run in runs:
        cut = {k: f'{v:g}' if isinstance(v, int | float) else v for k, v in run.items()}
        if (older := (run_label(cut, keys), run['fold'])) not in labels:
            found.setdefault(older, []).append(run_label(run, keys))
    return found


def format_value(value) -> str:
    """Returns a value as text, '' for None.

    Numbers have six digits where these are exact, or else as many as it takes.
    """
    if value is None:
        return ''
    if not isinstance(value, int | float):
        return str(value)
    short = f'{value:g}'
    if float(short) == value:
        return short
    return str(value)


def pluralize(count: int, noun: str) -> str:
    """'1 run', '2 runs'."""
    return f'{count} {noun}{"" if count == 1 else "s"}'
