"""Training methods: one file each, found by its name; see `jaxser.interfaces.Method`."""
