"""What people read about finished sweeps: tables, figures and pages; nothing here imports JAX."""
