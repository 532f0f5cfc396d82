"""Names of runs and settings, and how their values are written."""

from data_pipelines.protocols.subsets import Subset

SYNTHETIC_WARNING = 'Synthetic speech (eSpeak NG): these figures say nothing about people.'

SYNTHETIC_CORPORA = frozenset(('demo', 'testbed'))  # spoken by eSpeak NG; all others are recorded

# The hyper-parameters of every method.
TRAINING_KEYS = ('lr', 'weight_decay', 'dropout', 'time_mask', 'band_mask')

# Methods of which one key of the configuration, which has their name, chooses the variant, and the
# variant that goes without saying.
USUAL_VARIANTS = {'speaker_norm': None, 'similarity': 'conditional'}

# The keys whose values must be equal if runs of two methods are compared.
SHARED_KEYS = (*TRAINING_KEYS, *Subset._fields)

# The end of a method's name where a negative coefficient trains the encoder to keep the domain.
NEGATIVE_LAM_ENDING = ', lam < 0'


def method_name(setting: dict) -> str:
    """Returns the method of a run, e.g. 'erm', 'dann', 'dann, lam = 0' or 'dann, lam < 0'."""
    name = _with_variant(setting)
    lam = setting.get('lam')
    if lam is None or lam > 0:
        return name
    return name + (', lam = 0' if lam == 0 else NEGATIVE_LAM_ENDING)


def _with_variant(setting: dict) -> str:
    """Returns the method and its variant, e.g. 'similarity unconditional' or 'dann'."""
    method = setting['method']
    variant = setting.get(method)
    if method not in USUAL_VARIANTS or variant in (None, USUAL_VARIANTS[method]):
        return method
    return f'{method} {variant}'


def format_setting(row: dict, key: str) -> str:
    """Returns the value of a key as text, '' if the row's method does not use the key."""
    if key in USUAL_VARIANTS and row.get('method', key) != key:
        return ''
    return format_value(row.get(key))


def setting_title(row: dict, keys: list[str]) -> str:
    """Returns the title of a setting among those that differ in `keys`.

    For example 'speaker_norm tap, lam = 0.1'.
    """
    parts = []
    in_name = ()
    if 'method' in keys:
        parts.append(_with_variant(row))
        in_name = ('method', *USUAL_VARIANTS)
    for key in keys:
        if key not in in_name and row.get(key) is not None:
            parts.append(f'{key} = {format_value(row[key])}')
    return ', '.join(parts)


def synthetic_note(facts: dict) -> str:
    """Returns a warning if the corpora used are synthetic, in part or all; '' otherwise.

    `facts` is the content of results.json or model.json. A corpus that a user's CSV calls "demo"
    is recorded.
    """
    named = set(facts.get('corpora', ()))
    used = _corpora_used(facts)
    synthetic = named & used & SYNTHETIC_CORPORA
    if not synthetic:
        return ''
    if used <= SYNTHETIC_CORPORA and 'folder' not in named:
        return SYNTHETIC_WARNING
    names = ', '.join(sorted(synthetic))
    return f'Partly synthetic speech (eSpeak NG, {names}): figures on it say nothing about people.'


def _corpora_used(facts: dict) -> set[str]:
    """Returns the corpora of the utterances if they are known, or else all that are named."""
    used = set(facts.get('data', ()))  # of model.json
    for speaker in facts.get('speakers', {}).values():
        corpora = speaker.get('corpus', '')
        if corpora:
            used.update(corpora.split('+'))
    return used or set(facts.get('corpora', ()))


def flatten(tree, prefix: str = '') -> dict:
    """Returns {'a.b': value} of nested dictionaries."""
    leaves = {}
    for key, value in tree.items():
        path = f'{prefix}{key}'
        if hasattr(value, 'items'):
            leaves |= flatten(value, f'{path}.')
        else:
            leaves[path] = value
    return leaves


def varying_keys(runs: list[dict]) -> list[str]:
    """Returns the hyper-parameters by which runs are named.

    They are those in which the runs differ, and in any case the coefficient, the seed and the
    subset of the training part; never the fold.
    """
    always = ('lam', 'seed', *Subset._fields)
    all_keys = {}
    for run in runs:
        all_keys |= dict.fromkeys(run)
    keys = []
    for key in all_keys:
        if key != 'fold' and (key in always or len(distinct_values(runs, key)) > 1):
            keys.append(key)
    return keys


def distinct_values(runs: list[dict], key: str) -> list:
    """Returns the distinct values of a hyper-parameter in order; runs without it do not count."""
    values = {}
    for run in runs:
        if run.get(key) is not None:
            values[run[key]] = None
    return list(values)


def with_run_values(config: dict, runs: list[dict]) -> dict:
    """Returns a configuration with the method and the domain that all runs have.

    A sweep over a single method takes it from config.sweep. Then no label of a run has it, and
    config.method may be another one. Values in which the runs differ stay as they are.
    """
    common = {}
    for key in ('method', 'domain', *USUAL_VARIANTS):
        values = distinct_values(runs, key)
        if len(values) == 1:
            common[key] = values[0]
    return config | common


def run_label(run: dict, label_keys: list[str]) -> str:
    """Returns the name of a run without its fold, e.g. 'lam=0.3 seed=1'."""
    parts = []
    for key in label_keys:
        if run.get(key) is not None:
            parts.append(f'{key}={format_value(run[key])}')
    return ' '.join(parts)


def older_labels(runs: list[dict]) -> dict[tuple[str, int], list[str]]:
    """Returns the labels of runs by the (label, fold) of earlier versions, where these differ.

    Earlier versions wrote numbers with six digits, so that several runs may share one label.
    """
    keys = varying_keys(runs)
    labels = {(run_label(run, keys), run['fold']) for run in runs}
    renamed: dict[tuple[str, int], list[str]] = {}
    for run in runs:
        rounded = {}
        for key, value in run.items():
            rounded[key] = f'{value:g}' if isinstance(value, int | float) else value
        older = (run_label(rounded, keys), run['fold'])
        if older not in labels:
            renamed.setdefault(older, []).append(run_label(run, keys))
    return renamed


def format_value(value) -> str:
    """Returns a value as text, '' for None.

    A number has six digits where these are exact, or else as many as it needs.
    """
    if value is None:
        return ''
    if not isinstance(value, int | float):
        return str(value)
    short = f'{value:g}'
    if float(short) == value:
        return short
    return str(value)
