"""Speech emotion recognition that forgets the speaker, by domain-adversarial training in JAX."""


def load(folder, **options):
    """Returns a `jaxser.serving.predictor.Predictor` of the model of a finished sweep.

    `folder` is the sweep's workdir, or the folder model/ in it. `options` are those of
    `jaxser.serving.predictor.load_predictor`.

    >>> jaxser.load('runs/dann_demo').predict(wave, 16_000)['posterior']

    With a model that was trained with config.data.normalise=speaker_enrolled, a few recordings of a
    speaker, without labels, improve the predictions for that speaker:

    >>> speaker = jaxser.load('runs/enrolment').enrol([wave_1, wave_2, wave_3], 16_000)
    >>> speaker.predict(wave, 16_000)['posterior']
    >>> speaker = jaxser.load('runs/enrolment').enrol_files(['earlier_calls', 'first.wav'])
    >>> speaker.enrolment.save('speaker.safetensors')
    >>> speaker = jaxser.load('runs/enrolment', enrolment='speaker.safetensors')
    """
    from data_pipelines import surroundings

    # As every command begins. Without a folder for caches librosa cannot be imported.
    surroundings.provide_cache_folder()
    from jaxser.serving import predictor  # imports JAX, which `import jaxser` should not

    return predictor.load_predictor(folder, **options)
