"""Parts of networks that encoders and methods share."""
