"""Encoders: one file each, found by its name; see `jaxser.interfaces.Encoder`."""
