"""Speech emotion recognition that forgets who is speaking."""


def load(folder, **options):
    """The model of a finished sweep's workdir, or of its folder model/, as a `jaxser.predict.Predictor`.

    >>> jaxser.load('runs/dann_demo').predict(wave, 16_000)['posterior']
    """
    from jaxser.serving import predictor  # JAX is imported where it is needed

    return predictor.load_predictor(folder, **options)
