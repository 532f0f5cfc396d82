"""For all tests: eight devices on the CPU, so that sharding is tested wherever the tests run."""

import os

# A tenth of the time to compile. What is promised to the bit is compiled with the defaults, by the test that says so.
os.environ.setdefault('XLA_FLAGS', '--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false')

import jax

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_enable_compilation_cache', False)  # what an earlier version compiled shall prove nothing
if not os.environ.get('JAX_PLATFORMS'):
    jax.config.update('jax_platforms', 'cpu')
