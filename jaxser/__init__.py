"""Speech emotion recognition that forgets the speaker, by domain-adversarial training in JAX."""


def load(folder, **options):
    """Returns a `jaxser.serving.predictor.Predictor` of the model of a finished sweep.

    `folder` is the sweep's workdir, or the folder model/ in it. `options` are those of
    `jaxser.serving.predictor.load_predictor`.

    Examples:
      >>> jaxser.load('runs/dann_demo').predict(wave, 16_000)['posterior']

      A model of ratings (config.task=ratings) predicts numbers from -1 to 1:

      >>> jaxser.load('runs/msp_ratings').predict(wave, 16_000)['arousal']

      With a model that was trained with config.data.normalise=speaker_enrolled, a few recordings of
      a speaker, without labels, improve the predictions for that speaker:

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


def train(config, workdir=None, changes=None):
    """Trains, measures leakage, saves the model and the report, as the command jaxser.main does.

    A finished sweep is not trained again, and an interrupted one resumes. Progress is printed.

    Examples:
      >>> sweep = jaxser.train('configs/dann_demo.py', 'runs/demo', {'train.epochs': 10})
      >>> sweep.results[['method', 'fold', 'uar', 'speaker_strongest']]

    Args:
      config: A file such as 'configs/dann_demo.py' or 'FILE.py:ARGUMENT', or a configuration
        (`configs.base.get_config()`), which is not changed. A file that does not exist is looked
        for among the installed configurations.
      workdir: The folder for the results; of a file, by default runs/ and its name.
      changes: Values of keys, such as {'train.epochs': 10, 'sweep.lam': [0, 0.1]}.

    Returns:
      A `jaxser.api.Sweep`: `results` is a pandas.DataFrame of the runs, `table` one of the
      settings, and `report_path` the page.

    Raises:
      UserError: If the configuration or the data are wrong; the message says what to do.
    """
    from jaxser import api

    return api.train(config, workdir, changes)


def results(workdir):
    """Returns the runs of a finished sweep as a pandas.DataFrame, one row each.

    The columns are the swept keys and the other hyper-parameters (`seed` and `fold` among them),
    the results on dev and test (`dev_uar`, `uar`, `wa`, `f1`; for ratings `dev_ccc`, `ccc`,
    `pearson` and `rmse`), and the leakage, if it was measured:
    `speaker_strongest` is the recall of the strongest attacker, `speaker_chance` that of guessing,
    and `unseen_speaker_strongest` the recall for unseen speakers.
    """
    from jaxser.analysis import frames

    return frames.results_frame(workdir)


def prepare(source, name='folder', out='data', importer='folder', **options):
    """Prepares a corpus, as the command data_pipelines.prepare does; returns the data set's folder.

    Examples:
      >>> jaxser.prepare('turev.csv', 'turev')
      >>> jaxser.prepare('/corpora/emodb', 'emodb', features='upstream:whisper-tiny.en')
      >>> jaxser.prepare(frame, 'mine')  # columns path, speaker and emotion
      >>> jaxser.prepare('saved_data_set', 'mine', importer='huggingface')

    Args:
      source: The folder of a corpus, the file with the list of your own, or that list as a
        pandas.DataFrame. Relative paths in a frame are relative to the current folder. None is for
        a corpus that is synthesised (demo).
      name: The name of a known corpus, or that of your own.
      out: The folder of all data sets.
      importer: The format of your own data: 'folder' (a CSV list or a frame), 'huggingface',
        'audformat' or 'emobox'.
      **options: The options of the command, such as `emotions='wut=angry'`, `workers=2`, or
        `allow_partial=True`.

    Raises:
      UserError: If the source or an option is wrong; the message says what to do.
    """
    from jaxser import api

    return api.prepare(source, name, out, importer, **options)
