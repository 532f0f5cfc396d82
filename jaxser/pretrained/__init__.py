"""Pretrained speech encoders: their checkpoints, their networks, their states."""
