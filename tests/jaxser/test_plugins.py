"""Methods and encoders are found by the name of their module."""

import pytest
from ml_collections import ConfigDict

from data_pipelines.errors import UserError
from jaxser import plugins


def test_plugins_are_the_modules_without_an_underscore():
    """Helpers such as methods/_adversarial.py are no plug-ins."""
    methods = plugins.plugin_names('methods')
    assert {'erm', 'dann', 'cdann', 'confusion', 'coral', 'mmd'} <= set(methods)
    assert not any(name.startswith('_') for name in methods)
    assert plugins.plugin_names('models') == ['cnn', 'fine_tuned', 'layer_sum', 'tdnn_lstm']


@pytest.mark.parametrize('package', ['methods', 'models'])
def test_every_plugin_has_a_make_function(package):
    """It is what a configuration's name selects."""
    for name in plugins.plugin_names(package):
        assert callable(plugins.load_plugin(package, name).make), name


@pytest.mark.parametrize('name', ['dan', '_adversarial', 'dann.py', ''])
def test_an_unknown_plugin_is_refused(name):
    """The message lists the plug-ins."""
    with pytest.raises(UserError, match=r'in jaxser/methods; expected one of cdann, .*, dann, '):
        plugins.load_plugin('methods', name)


@pytest.mark.parametrize(
    ('package', 'name', 'similar'), [('methods', 'dan', 'dann'), ('models', 'cn', 'cnn')]
)
def test_a_similar_plugin_is_suggested(package, name, similar):
    with pytest.raises(UserError, match=rf"Did you mean '{similar}'\?"):
        plugins.load_plugin(package, name)


@pytest.mark.parametrize('domain', ['speakers', 'speaker+speaker', 'speaker,language', ''])
def test_an_unknown_or_repeated_domain_is_refused(domain):
    """The message lists the domains."""
    config = ConfigDict({'domain': domain})
    with pytest.raises(UserError, match='expected one of speaker, language, corpus, or several'):
        plugins.make_method(config, plugins.DUMMY_SIZES)
