"""Describes the setting of a model: its method, and the swept values."""

from data_pipelines.wording import pluralize
from jaxser.analysis import summary
from jaxser.analysis.measure import main_measure
from jaxser.runs import USUAL_VARIANTS, format_value, method_name


def describe_values(metadata: dict) -> str:
    """Returns the swept values of the setting, such as 'lam = 0.3', without its method.

    `metadata` is model.json. Says so if the setting is plain training. The number of enrolled
    utterances is left out: the model is the same with every number.
    """
    row = metadata['row']
    is_plain = method_name(metadata['config'] | row) in summary.PLAIN_METHODS[:-1]
    left_out = {'method', 'enrol', *USUAL_VARIANTS}
    values = []
    for key in summary.swept_keys(row):
        value = row[key]
        if key in left_out or value is None:
            continue
        text = f'{key} = {format_value(value)}'
        if key == 'lam' and value == 0 and is_plain:
            text += ', which is plain training'
        values.append(text)
    return ', '.join(values)


def describe_networks(metadata: dict) -> str:
    """Returns the setting of a model and the number of its networks, for predict and export."""
    setting = metadata['config']['method']
    if 'row' in metadata:  # models of earlier versions lack it
        setting = _name_setting(metadata)
    runs = metadata.get('runs')
    networks = f', {pluralize(len(runs), "network")}' if runs else ''
    return f'Model: {setting}{networks}.'


def describe_setting(metadata: dict, is_named: bool = False) -> str:
    """Returns a sentence that says which setting the model is, and how it was chosen.

    `is_named`: the user has named the setting with --setting; by dev it may be the best, too.
    """
    setting = _name_setting(metadata)
    measure = main_measure(metadata['config'])
    if metadata['row'].get(f'dev_{measure.key}') is None:
        return f'The model is {setting}.'
    if metadata.get('chosen_by') == 'user':
        return f'The model is {setting}, chosen with --setting, not by dev {measure.title}.'
    if is_named:
        return f'The model is {setting}, chosen with --setting.'
    return f'The model is {setting}, chosen by dev {measure.title}.'


def _name_setting(metadata: dict) -> str:
    """Returns the method with the swept values, such as 'dann (lam = 0.3)'."""
    method, _, _ = method_name(metadata['config'] | metadata['row']).partition(',')
    values = describe_values(metadata)
    return f'{method} ({values})' if values else method
