"""Every key of a configuration, with its default; the other files of this folder change a few keys.

Any key can be set on the command line, e.g. --config.train.epochs=10 --config.sweep.lam=0,0.1,1
"""

import dataclasses

from ml_collections import ConfigDict, FieldReference

from data_pipelines.features.log_mel import LogMel


def get_config() -> ConfigDict:
    """Returns the defaults."""
    config = ConfigDict()

    # The training method, a file of jaxser/methods:
    #   erm           plain training
    #   dann          domain-adversarial training (gradient reversal)
    #   cdann         dann with an adversary for each emotion
    #   confusion     an encoder that is trained to make the domain head uncertain
    #   similarity    a penalty on the similarity of utterances of one speaker; no domain head
    #   crossgrad     features perturbed along the domain gradient
    #   labelgrad     its control: features perturbed along the emotion gradient
    #   speaker_norm  gradient ascent on the speaker loss of batches of its own
    #   leace         linear erasure of the domain after plain training
    #   projection    plain training on features without the training speakers' mean deviations
    # and for a target that training adapts to (config.protocol.adapt):
    #   coral         alignment of covariances
    #   mmd           alignment by kernels (maximum mean discrepancy)
    #   didan         alignment by sparse mixtures
    config.method = 'dann'
    # The domain that the method removes from the representation: speaker | language | corpus, or
    # several: 'speaker+language'.
    config.domain = 'speaker'
    # Width of the hidden layer of a domain head.
    config.domain_hidden = 64
    # What the model predicts: emotion (a class of data.labels) | ratings (listeners' mean ratings,
    # as numbers: data.ratings) | emotion+ratings (both at once, a head for each).
    config.task = 'emotion'
    # The part that speaker_norm trains by gradient ascent on the speaker loss: tap (the encoder) |
    # snp (a layer on top of it).
    config.speaker_norm = 'tap'
    # The pairs of examples that similarity compares: conditional (of one emotion; labelled examples
    # only) | unconditional (all pairs).
    config.similarity = 'conditional'
    # After training, measures the leakage of each run's representation with newly trained
    # classifiers (python -m jaxser.probe).
    config.probe = True

    config.data = data_section()
    config.protocol = protocol_section()
    config.model = model_section()
    config.train = train_section()
    config.sweep = sweep_section()

    # Shows the runs in a tracker, too: '' (none) | mlflow | wandb. It must be installed, as with
    # pip install 'jaxser[mlflow]'. Variables such as MLFLOW_TRACKING_URI and WANDB_MODE=offline say
    # where to.
    config.track = ''

    # How runs are distributed over devices: jit (over a mesh) | pmap (the same result).
    config.parallel = 'jit'
    # Number of devices that share the batch of a run; BatchNorm uses the whole batch. If there are
    # several runs, 1 is faster: each device then has runs of its own.
    config.data_devices = 1
    # Precision of float32 products on TPU and GPU: default | high | highest.
    config.matmul_precision = 'default'

    return config.lock()


def data_section() -> ConfigDict:
    """Returns the keys that choose utterances, labels, features and batches."""
    data = ConfigDict()
    # Folder in which `python -m data_pipelines.prepare` put the shards.
    data.dir = 'data'
    # Names of files in data_pipelines/corpora, and of corpora of your own. The protocol
    # source_target ignores them: it uses protocol.source and protocol.target.
    data.corpora = ('demo',)
    # The label space, one of data_pipelines/labels.py: native | calm_neutral (native, with
    # calm as neutral) | four (angry, happy + excited, neutral, sad) | emodb_enterface | emodb_casia
    # | enterface_casia | arousal | valence (derived from the emotion) | rated_arousal |
    # rated_valence | rated_dominance (from listeners' ratings) | the name of a corpus of your own:
    # its classes (prepare folder --name NAME --labels MAP.csv).
    data.labels = 'native'
    # The ratings that the tasks `ratings` and `emotion+ratings` predict: one, two or all three of
    # arousal, valence, dominance. Utterances without one of them are left out. With the task
    # `ratings`, data.labels is not used.
    data.ratings = ('arousal', 'valence', 'dominance')
    # Uses only utterances with this value in a column, or one of several values:
    # 'style=improvised', 'language=en,fr'; or all but these: 'speaker!=6'. '' uses all.
    data.only = ''
    # The parameters of the log-mel features (data_pipelines/features/log_mel.py): rate, window,
    # hop, bands, low, high, floor. They must be those that `prepare` used.
    data.features = ConfigDict(dataclasses.asdict(LogMel()))
    # The beginning of the name of prepared encoder states, e.g. 'whisper', to use them in place of
    # log-mel features. `prepare --features upstream:FOLDER` makes them. 'any' is those of the only
    # encoder that is prepared; '' uses log-mel.
    data.upstream = ''
    # Normalises each band to zero mean and unit variance: global (of the fold's training part) |
    # utterance | speaker (of a speaker's utterances seen in training; an unseen speaker by
    # utterance) | speaker_transductive (of all utterances of a speaker, test included) |
    # speaker_enrolled (global, and an offset from the enrolled utterances of each speaker: see
    # protocol.enrol) | none.
    data.normalise = 'global'
    # Frames of a training example: longer utterances are cut at random, shorter ones padded.
    data.frames = 300
    # Training examples of a fold per step. similarity compares pairs of one speaker and one emotion
    # within a batch: set 128, and four times as many epochs as with 32.
    data.batch = 32
    # Whole utterances of a fold per evaluation step. Predictions do not depend on it.
    data.eval_batch = 32
    # Keeps all features on the device: on | off (streams them) | auto (on if they fit).
    data.resident = 'auto'
    # Seed of the order of the training data. sweep.seed sets initialisation, dropout and
    # augmentation.
    data.order_seed = 0
    return data


def protocol_section() -> ConfigDict:
    """Returns the keys that divide the utterances into training, dev and test."""
    protocol = ConfigDict()
    # Within a corpus:
    #   speaker_folds | leave_one_speaker_out | leave_one_session_out
    #                      one part is tested, the next is dev, the others train
    #   official           the corpus' own partition, with unknown speakers in training only
    #   speaker_dependent  random utterances; test speakers are training speakers
    #   sentence_folds     one part of the sentences is tested, the next is dev, the others train;
    #                      test speakers are training speakers
    #   speaker_sentence_folds
    #                      one part of the speakers is tested with one part of the sentences, the
    #                      next is dev; training has other speakers and other sentences
    #   auto               one of these, by the number of known speakers: up to 3
    #                      speaker_dependent, up to 12 leave_one_speaker_out, else speaker_folds
    # Across corpora (the target is tested, the source trains, a fifth of its speakers are dev):
    #   leave_one_corpus_out | leave_one_language_out | source_target
    protocol.name = 'speaker_folds'
    # Number of parts of speaker_folds, speaker_dependent, sentence_folds and
    # speaker_sentence_folds, and of the target if adapt is 'others'.
    protocol.folds = 5
    # For source_target: names of corpora, e.g. ('emodb',).
    protocol.source = ()
    protocol.target = ()
    # The speech that training uses without its emotions, as half of every batch: none | others
    # (speakers of the target that are not tested; each is tested in one fold) | transductive (the
    # test part itself).
    protocol.adapt = 'none'
    # For speaker_norm and similarity: corpora whose speakers fill the identity batches in place of
    # the training speakers, e.g. ('ravdess',). They are read in addition to data.corpora and are in
    # no other part. Their emotions are not used; `global` normalises them like the rest.
    # ('emodb_speed',) is EMO-DB at other speeds (prepare emodb --speed 0.86,0.93,1.08,1.16): each
    # speaker at each speed is a new speaker, and a fold uses only copies of its `train` utterances.
    protocol.identity = ()
    # For the official partition: the part that is tested: test, test2, ...
    protocol.test = 'test'
    # Leaks that the audit allows and every result states: speaker, audio. Set by --allow_leak.
    protocol.allow_leak = ''
    # Share of each training speaker's utterances, from 0 to below 0.9, that is withheld from
    # training, stratified by emotion. The probe tests its attackers on them. With 0 it tests them
    # on 20 % of the training utterances, where it underestimates what a method has left.
    protocol.withhold = 0.0
    # The number of utterances from which the offset of a dev or test speaker is estimated, without
    # labels: none (nothing is set aside) | 0 or more | all. Unless it is none, half of the
    # utterances of each speaker are set aside for enrolment, and are in no score. Use it with
    # data.normalise='speaker_enrolled'; enrol=0 with 'global' is the reference.
    protocol.enrol = FieldReference('none', field_type=object)
    # What may be enrolled of a speaker: any | one (one emotion, at random) | neutral.
    protocol.enrol_from = 'any'
    # Whether one of each group of identical or nearly identical recordings is kept, and the others
    # are left out of all parts. Set by --drop_copies.
    protocol.drop_copies = False
    return protocol


def model_section() -> ConfigDict:
    """Returns the keys of the encoder: its file, its sizes and its BatchNorm."""
    model = ConfigDict()
    # A file of jaxser/models: tdnn_lstm | cnn | layer_sum (over data.upstream) | fine_tuned.
    model.name = 'tdnn_lstm'
    # The examples of which BatchNorm uses the statistics, where training adapts to a target: joint
    # (source and target together) | separate (each of the two by itself, with one running average)
    # | domain (each by itself, in testing too) | source (only the source) | none (no
    # normalisation).
    model.batch_norm = 'joint'

    # tdnn_lstm: (kernel, dilation, stride) of each layer. With these strides the LSTM sees every
    # 4th frame.
    model.tdnn = ((5, 1, 2), (3, 1, 2), (3, 1, 1))
    model.width = 64  # channels of a TDNN layer
    model.hidden = 64  # units of the LSTM

    # cnn: channels of each block. A block halves the frames and the bands.
    model.channels = (8, 16, 32)

    # layer_sum: the full name of the states, of which data.upstream is the beginning. The command
    # fills it in.
    model.states = ''

    # fine_tuned, a pretrained encoder that is trained too (jaxser/models/fine_tuned.py):
    # Its Hugging Face folder, or its name on the Hub. Prepare the corpora with
    # --features upstream:FOLDER --states heard.
    model.upstream = ''
    # The hash of its weights. The command fills it in.
    model.weights = ''
    # 0 trains the whole transformer; r > 0 trains changes of rank r of queries and values (LoRA)
    # and freezes all else.
    model.lora = 0
    # The learning rate of its weights, as a fraction of sweep.lr.
    model.upstream_rate = 0.05
    # The learning rate of each layer, as a fraction of that of the layer above.
    model.layer_decay = 1.0
    # Computes products in bfloat16, summed in float32. Parameters are float32 either way.
    model.bfloat16 = False
    # Computes layers again in the backward pass: slower, but in less memory.
    model.remat = False
    # Number of parts of a batch that are computed one after another, in less memory. Their
    # gradients are added.
    model.accumulate = 1

    # All encoders: size of the representation.
    model.dim = 64
    return model


def train_section() -> ConfigDict:
    """Returns the keys of training: length, optimiser, loss weights and selection of the epoch."""
    train = ConfigDict()
    train.epochs = 30
    # Share of the training in which the learning rate rises. Afterwards it falls as half a cosine.
    train.warmup = 0.1
    # adamw | sgd (plain gradient descent; set sweep.lr to about 0.1). Both with `warmup`.
    train.optimizer = 'adamw'
    # Largest norm of the gradient of the encoder, and of that of each head.
    train.clip = 5.0
    # Weighs the classes equally in the emotion loss, whatever their counts in training.
    train.balanced = True
    # The loss of ratings: ccc (1 minus the concordance correlation of the batch, mean over the
    # ratings; use batches of 32 or more) | mse (squared error).
    train.rating_loss = 'ccc'
    # The weight of the loss of the ratings in the task emotion+ratings.
    train.rating_weight = 1.0
    # Trains on the distribution of the raters' votes for the classes, where the corpus has votes,
    # in place of the class on which they agree. The loss is the Kullback-Leibler divergence
    # KL(votes || posterior).
    train.soft_labels = False
    # With soft_labels: the probability with which each vote is left out, drawn anew in every step.
    train.annotator_dropout = 0.0
    # 'best dev UAR', 'best dev CCC' (the task `ratings` takes this one in place of UAR) or 'last
    # epoch'.
    train.select = 'best dev UAR'
    # Epochs before this share of the training are not selected, because lam is still rising.
    train.select_from = 0.5
    # Least number of seconds between two checkpoints; 0 saves one every epoch.
    train.checkpoint_seconds = 10.0
    return train


def sweep_section() -> ConfigDict:
    """Returns the swept keys, each a tuple of values. The runs are the product of all tuples.

    () uses the method's default value.
    """
    sweep = ConfigDict()
    # Subsets of a fold's training part, applied in this order; () is all of it. dev and test are
    # not changed, and an epoch has as many steps as over the whole part. Subsets are nested (the 8
    # speakers include the 4), and depend only on data.order_seed and the fold.
    #
    # Number of training speakers; equally many of each sex, where that is known.
    sweep.speakers = ()
    # From 0 to 1: each speaker is given one class, and this share of the speaker's utterances of
    # other classes is left out.
    sweep.confounded = ()
    # Largest number of utterances of each class.
    sweep.per_class = ()
    # Numbers of enrolled utterances in place of protocol.enrol: (0, 1, 2, 4, 8, 16, 'all').
    # Training does not depend on them. Training speakers are enrolled with the same number when
    # leakage is measured.
    sweep.enrol = ()

    # dann, cdann: the coefficient of gradient reversal; if it is negative, the encoder learns to
    # keep the domain. confusion, similarity, coral, mmd, didan: the weight of their loss.
    # speaker_norm: the step of its ascent.
    sweep.lam = ()
    # dann, cdann: the weight of the domain loss for its head. For the encoder, the weight is this
    # value times lam.
    sweep.domain_weight = ()
    # dann, cdann: the learning rate of the domain heads, as a multiple of sweep.lr.
    sweep.head_rate = ()
    # crossgrad, labelgrad: the step by which features are moved, as a multiple of the gradient.
    sweep.eps = ()
    # crossgrad, labelgrad: the weight of the loss on moved features, from 0 to 1.
    sweep.alpha = ()
    # didan: the weight of the sparsity penalty of the mixtures.
    sweep.tau = ()

    # Peak learning rate.
    sweep.lr = (2e-3,)
    sweep.weight_decay = (1e-2,)
    sweep.dropout = (0.1,)
    # SpecAugment: largest width of a mask over frames, as a share of the utterance. Two masks are
    # drawn.
    sweep.time_mask = (0.1,)
    # The same over mel bands.
    sweep.band_mask = (0.1,)
    sweep.seed = (0,)
    # 'all', or the numbers of some folds: 2, (0, 2).
    sweep.fold = FieldReference('all', field_type=object)

    # A list of runs in place of a product: dictionaries such as
    # ({'lam': 0.1, 'lr': 1e-3}, {'lam': 1.0, 'lr': 3e-4}), each crossed with the other keys.
    sweep.runs = ()

    # Structural keys: each value is compiled as a program of its own, and all are in one table. ()
    # uses the key of the same name above, such as config.method.
    sweep.method = ()
    sweep.domain = ()
    sweep.speaker_norm = ()
    sweep.similarity = ()
    sweep.model = ConfigDict()
    sweep.model.width = ()
    sweep.model.hidden = ()
    sweep.model.dim = ()
    sweep.model.batch_norm = ()
    sweep.model.lora = ()
    return sweep
