"""For all tests: eight devices on the CPU, so that sharding is tested wherever the tests run."""

import importlib.metadata
import os

# A tenth of the time to compile. What is promised to the bit is compiled with the defaults, by the test that says so.
QUICK = '--xla_backend_optimization_level=0'
if importlib.metadata.version('jax').startswith('0.10.'):
    QUICK += ' --xla_cpu_use_fusion_emitters=false'  # jax 0.12 no longer knows it, and XLA aborts on a flag that it does not know
os.environ.setdefault('XLA_FLAGS', QUICK)

import jax  # noqa: E402

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_enable_compilation_cache', False)  # what an earlier version compiled shall prove nothing
if not os.environ.get('JAX_PLATFORMS'):
    jax.config.update('jax_platforms', 'cpu')
